"""What punctuation says about sentences, and how words are written one after another."""

import re
from collections.abc import Sequence
from typing import Protocol

import pysbd
from pysbd.languages import LANGUAGE_CODES

from octavia_stream.asr.transcript import Word
from octavia_stream.languages import Language

_CLOSERS = "\"'”’»)\\]」』）】"
_TERMINAL = re.compile(rf"[.!?…。！？｡।॥؟۔።։။][{_CLOSERS}]*$")
_CLAUSE = re.compile(rf"[,;:،؛，、；：—–][{_CLOSERS}]*$")
_FULL_STOP = re.compile(rf"(?<!\.)\.[{_CLOSERS}]*$")
_INITIAL = re.compile(r"^\W*[A-Z]\.$")
# Abbreviations that more often stand inside a sentence than at its end, for languages without rules of their own.
_ABBREVIATIONS = frozenset(
    {
        "sr", "sra", "srs", "sras", "srta", "dr", "dra", "drs", "dras", "prof", "profa", "profs", "eng", "engo",
        "engª", "arq", "exmo", "exma", "ilmo", "sto", "sta", "av", "pç", "pp", "pág", "págs", "fls", "art", "arts",
        "cap", "vol", "núm", "nº", "obs", "cf", "vs", "aprox", "séc", "tel", "ltda", "cia", "mr", "mrs", "ms", "bzw",
    }
)  # fmt: skip
# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Han and their punctuation.
_SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f]"
)
_SPACELESS_LANGUAGES = frozenset(("zh", "yue", "ja", "th", "lo", "my", "km", "bo"))


class _Segmenter(Protocol):
    def segment(self, text: str) -> list[str]: ...


class Punctuation:
    """Tells the ends of sentences in one language: by pysbd's rules where it has them, else by our own."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._segmenter: _Segmenter | None = None
        if language in LANGUAGE_CODES:
            self._segmenter = pysbd.Segmenter(language=language, clean=False)

    def ends_sentence(self, words: Sequence[Word], following: Sequence[Word]) -> bool:
        """Whether the last of `words` ends the sentence that the first begins; `following` is not empty."""
        last = words[-1].text.strip()
        if not _TERMINAL.search(last):
            return False
        if self._segmenter is None:
            return not (_FULL_STOP.search(last) and _goes_on(last, following[0].text.strip()))
        before = join_words([word.text.strip() for word in words], self._language)
        text = join_words([before, *(word.text.strip() for word in following)], self._language)
        return len(before) in _ends(text, self._segmenter.segment(text))


def join_words(words: Sequence[str], language: Language) -> str:
    """Write words one after another, with spaces where their script has them."""
    text = ""
    for word in words:
        if text and word:
            left, right = bool(_SPACELESS.match(text[-1])), bool(_SPACELESS.match(word[0]))
            tight = (left or right) if language in _SPACELESS_LANGUAGES else (left and right)
            text += word if tight else f" {word}"
        else:
            text += word
    return text


def is_spaceless(word: str) -> bool:
    """Whether a word begins in a script that is written without spaces."""
    return bool(_SPACELESS.match(word))


def ends_clause(word: str) -> bool:
    """Whether a comma, a colon or the like stands at the end of a word."""
    return bool(_CLAUSE.search(word.strip()) or _TERMINAL.search(word.strip()))


def ends_line(word: str, following: str) -> bool:
    """Whether a sentence ends with the last word of a line: where somebody broke the text, a full stop is one."""
    return bool(_TERMINAL.search(word)) and not _goes_on(word, following)


def _goes_on(last: str, following: str) -> bool:
    """Whether a full stop at the end of a word belongs to the word, because the sentence goes on after it."""
    stem = re.sub(r"\W+$", "", last).lower().lstrip("\"'“‘«([")
    return following[:1].islower() or stem in _ABBREVIATIONS or bool(_INITIAL.match(last))


def _ends(text: str, segments: Sequence[str]) -> set[int]:
    """Where the segments end in `text`, trailing spaces left out."""
    ends, position = set(), 0
    for segment in segments:
        stripped = segment.strip()
        start = text.find(stripped, position)
        if start < 0:
            continue
        position = start + len(stripped)
        ends.add(position)
    return ends


def split_sentences(text: str, language: Language, longest: int) -> list[str]:
    """The sentences of a written text, one line each, in order; one of more than `longest` characters in parts."""
    return [
        part
        for line in text.splitlines()
        for sentence in _sentences_of(" ".join(line.split()), language)
        for part in _parts(sentence, longest)
    ]


def _sentences_of(line: str, language: Language) -> list[str]:
    if language in LANGUAGE_CODES:
        found = pysbd.Segmenter(language=language, clean=False).segment(line)
    else:
        found = re.split(rf"(?<=[.!?…])(?=[ {_CLOSERS}])|(?<=[。！？｡।॥؟۔።։။])(?![{_CLOSERS}])", line)
    return [stripped for sentence in found if (stripped := sentence.strip())]


def _parts(sentence: str, longest: int) -> list[str]:
    """Cut after the clause nearest to the middle, else between words, else anywhere."""
    if len(sentence) <= longest:
        return [sentence]
    middle = len(sentence) // 2
    clauses = [found.end() for found in re.finditer(r"[,;:،؛，、；：—–](?=\s|$)", sentence)]
    words = [found.start() for found in re.finditer(r"\s", sentence)]
    places = [place for place in clauses or words if 0 < place < len(sentence)] or [middle]
    cut = min(places, key=lambda place: abs(place - middle))
    halves = sentence[:cut].strip(), sentence[cut:].strip()
    return [part for half in halves if half for part in _parts(half, longest)]
