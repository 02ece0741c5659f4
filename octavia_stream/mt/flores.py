"""FLORES-200 codes (`por_Latn`): what NLLB calls a language."""

from collections.abc import Iterable

from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language, iso_639_2, language_name

# Where FLORES names one language of a macrolanguage, or another code than ISO 639-2.
_INDIVIDUAL = {
    "ar": "arb", "az": "azj", "fa": "pes", "fil": "tgl", "gn": "grn", "ku": "kmr", "lv": "lvs", "mg": "plt",
    "mn": "khk", "ms": "zsm", "ne": "npi", "no": "nob", "om": "gaz", "or": "ory", "ps": "pbt", "qu": "quy", "sq": "als",
    "sw": "swh", "tl": "tgl", "uz": "uzn", "yi": "ydd",
}  # fmt: skip
# The script of the languages that FLORES has in two.
_SCRIPTS = {"zh": "Hans", "ar": "Arab"}


def flores_code(language: Language, known: Iterable[str]) -> str:
    """The code of a language among those that a model knows. Raises UnsupportedLanguage."""
    three = (_INDIVIDUAL.get(language, ""), iso_639_2(language))
    codes = [code for code in known if code.partition("_")[0] in three]
    if not codes:
        raise UnsupportedLanguage(f"This translation model does not know {language_name(language)}; install another.")
    script = _SCRIPTS.get(language, "")
    return min(codes, key=lambda code: (three.index(code[:3]), not code.endswith(script), code))
