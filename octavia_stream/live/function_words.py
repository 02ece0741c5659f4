"""Small words that show where a phrase may end, in the languages spoken most; others do with marks and pauses."""

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPENERS: Mapping[str, frozenset[str]] = {
    "en": _words(
        "and but or so because which who whom whose that if when while where although though since unless until before "
        "after whereas then"
    ),
    "pt": _words(
        "e mas ou porque que quem cujo cuja se quando enquanto onde embora desde então pois porém portanto como"
    ),
    "es": _words("y e pero o u porque que quien cuyo cuya si cuando mientras donde aunque desde entonces pues"),
    "fr": _words("et mais ou car parce que qui dont si quand lorsque pendant où bien puis donc comme"),
    "de": _words("und aber oder denn weil dass der die das wenn als während wo obwohl bis bevor nachdem dann"),
}
"""Words before which a clause may begin."""
PREPOSITIONS: Mapping[str, frozenset[str]] = {
    "en": _words("in on at for with from to by about into through over under between of as without during"),
    "pt": _words(
        "em no na nos nas de do da dos das para por pelo pela com sem sobre entre até a ao à durante num numa"
    ),
    "es": _words("en de del para por con sin sobre entre hasta a al durante"),
    "fr": _words("en dans de du des pour par avec sans sur entre à au aux pendant"),
    "de": _words("in im an am auf für mit von vom zu zum zur bei über unter zwischen ohne aus nach"),
}
LEANING: Mapping[str, frozenset[str]] = {
    "en": _words("the a an this these those my your his her its our their i we you he she they is are was not"),
    "pt": _words("o a os as um uma este esta esse essa meu minha seu sua nosso nossa eu nós ele ela não é foi"),
    "es": _words("el la los las un una este esta ese esa mi tu su nuestro nuestra yo no es se"),
    "fr": _words("le la les un une ce cette ces mon ma son sa notre votre leur je nous vous il elle ne est"),
    "de": _words("der die das den dem des ein eine einen einem einer mein sein ihr unser ich wir er sie es"),
}
"""Words that mean nothing without the next."""
