"""How near what is heard is to what was to be said."""

from collections.abc import Sequence

from octavia_stream.dubbing.punctuation import is_spaceless
from octavia_stream.languages import Language
from octavia_stream.tts.normalisation import spoken_text


def plain_words(text: str, language: Language) -> list[str]:
    """Lower case, numbers as words, no punctuation: what a listener cannot tell apart is the same.

    Scripts without spaces give their characters, one by one.
    """
    words: list[str] = []
    for word in spoken_text(text, language).casefold().split():
        # An apostrophe joins (`it's`), all other marks part words.
        for plain in "".join(_plain(character) for character in word).split():
            words += list(plain) if is_spaceless(plain) else [plain]
    return words


def _plain(character: str) -> str:
    if character.isalnum():
        return character
    return "" if character in "'’" else " "


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Wrong, missing and added words: the Levenshtein distance of two lists."""
    row = list(range(len(heard) + 1))
    for missing, said in enumerate(reference, start=1):
        above, row[0] = row[0], missing
        for place, word in enumerate(heard, start=1):
            above, row[place] = row[place], min(above + (said != word), row[place] + 1, row[place - 1] + 1)
    return row[-1]
