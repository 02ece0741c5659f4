"""Language tags: BCP 47 at the edge, one normal form inside.

Inside, a language is the shortest tag that models distinguish: `pt`, `en`,
`zh`. Regions are kept by whoever needs them (a voice may be `pt-BR`).
"""

from typing import NewType

import langcodes

from octavia_stream.errors import UnsupportedLanguage

Language = NewType("Language", str)
"""A primary language subtag in lower case, such as `en` or `pt`."""


def parse_language(tag: str) -> Language:
    """Reduce a BCP 47 tag (`pt-BR`, `EN`, `por`) to the form used inside (`pt`, `en`, `pt`).

    Raises UnsupportedLanguage when `tag` is not a language.
    """
    try:
        language = langcodes.Language.get(tag.strip())
    except ValueError as error:
        raise UnsupportedLanguage(f"{tag!r} is not a language tag; use one such as 'pt' or 'en'.") from error
    if not language.language or not language.is_valid():
        raise UnsupportedLanguage(f"{tag!r} is not a language tag; use one such as 'pt' or 'en'.")
    return Language(language.language)


def language_name(language: Language) -> str:
    """Its English name: `pt` → `Portuguese`."""
    return langcodes.Language.get(language).language_name()


def iso_639_2(language: Language) -> str:
    """Its three-letter code, as MP4 and Matroska tracks want it: `pt` → `por`."""
    return langcodes.Language.get(language).to_alpha3(variant="T")
