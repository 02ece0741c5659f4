"""How near one text is to another."""

import unicodedata
from collections.abc import Sequence

import jiwer
import sacrebleu

from octavia_stream.languages import Language
from octavia_stream.tts.normalisation import spoken_text


def word_error_rate(reference: str, heard: str, language: Language) -> float:
    """Wrong, missing and added words per word of the reference, after `plain_words` of both."""
    return float(jiwer.wer(plain_words(reference, language), plain_words(heard, language)))


def plain_words(text: str, language: Language) -> str:
    """Lower case, numbers as words, no punctuation: what a listener cannot tell apart is the same."""
    spoken = spoken_text(text, language).casefold()
    kept = (character if character.isalnum() else _instead(character) for character in spoken)
    return " ".join("".join(kept).split())


def _instead(character: str) -> str:
    """Apostrophes join (`it's`), combining marks stay, all else parts words."""
    if unicodedata.category(character).startswith("M"):
        return character
    return "" if character in "'’" else " "


def character_f_score(translations: Sequence[str], references: Sequence[str]) -> float:
    """chrF2 of a whole set, 0 to 100."""
    return float(sacrebleu.corpus_chrf(list(translations), [list(references)]).score)
