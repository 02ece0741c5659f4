"""Whole sentences out of subtitle cues, and their translations back into the same cues.

A sentence often runs over two or three cues. Translated piece by piece it falls apart; so it is translated whole, and
its translation is shared out over its cues by length: the number of cues and their times do not change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from octavia_stream.asr.transcript import Word
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.captions.passages import Passage
from octavia_stream.captions.subtitle_cue import SubtitleCue
from octavia_stream.dubbing.punctuation import Punctuation, ends_clause, ends_line, join_words
from octavia_stream.languages import Language

LONGEST_GAP_MS = 1_200
"""After a longer pause another sentence begins."""
MAX_PASSAGES = 6
MAX_WORDS = 80
"""A text without any full stop is cut somewhere, so that the translation still sees a sentence."""
CAREFUL_WORDS = 100_000
"""Longer files than any film's are told apart by a quicker rule: the careful one takes up to a millisecond a word."""
_LOOKAHEAD_WORDS = 3
_OVERLAP_MS = 100
"""Cues that overlap more are shown side by side, not one after the other."""
_CLAUSE_BONUS = 6
"""How many characters nearer to its place a cut after a clause counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """A passage of the file: the number of its cue, and its own number in that cue."""

    cue: int
    passage: int


@dataclass(frozen=True, slots=True)
class CueSentence:
    """One sentence. Positions in samples at 16 kHz from the start of the timeline."""

    text: str
    places: tuple[tuple[Place, int], ...]
    """Where it stands, in order, and how many of its characters stand there."""
    start: int
    end: int


def cue_sentences(cues: Sequence[SubtitleCue], language: Language) -> list[CueSentence]:
    """All sentences of a file, in order of time."""
    length = sum(passage.text.count(" ") + 1 for cue in cues for passage in cue.passages)
    punctuation = Punctuation(language) if length <= CAREFUL_WORDS else None
    return [_sentence(words, language) for run in _runs(cues) for words in _sentences(_words(cues, run), punctuation)]


def share_out(sentences: Sequence[CueSentence], texts: Sequence[str], language: Language) -> dict[Place, str]:
    """Put the translations of sentences back: what each passage says now. language: of the texts."""
    parts: dict[Place, list[str]] = {}
    for sentence, text in zip(sentences, texts, strict=True):
        shares = split_by_length(text, [weight for _, weight in sentence.places], language)
        for (place, _), share in zip(sentence.places, shares, strict=True):
            parts.setdefault(place, []).append(share)
    return {place: join_words(shares, language) for place, shares in parts.items()}


def new_texts(cues: Sequence[SubtitleCue], shares: Mapping[Place, str]) -> list[list[str]]:
    """For each cue the texts of its passages, as `SubtitleFile.rewritten` takes them."""
    return [
        [shares.get(Place(number, i), passage.text) for i, passage in enumerate(cue.passages)]
        for number, cue in enumerate(cues)
    ]


def split_by_length(text: str, weights: Sequence[int], language: Language) -> list[str]:
    """Cut a text into as many parts as there are weights, in these proportions, between words.

    A text of fewer words than parts is said again in the parts that would stay empty: a cue must show something.
    """
    words = text.split()
    if len(words) < len(weights) <= len(text) and join_words(["あ", text[:1]], language) == "あ" + text[:1]:
        words = list("".join(words))
    if len(words) < len(weights):
        return [
            words[min(i * len(words) // len(weights), len(words) - 1)] if words else "" for i in range(len(weights))
        ]
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word) + 1)
    total, heard, cuts = sum(weights), 0, [0]
    for number, weight in enumerate(weights[:-1], start=1):
        heard += weight
        wanted = ends[-1] * heard / total
        places = range(cuts[-1] + 1, len(words) - (len(weights) - number) + 1)
        cuts.append(min(places, key=lambda i: abs(ends[i] - wanted) - _CLAUSE_BONUS * ends_clause(words[i - 1])))
    cuts.append(len(words))
    return [join_words(words[a:b], language) for a, b in pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class _PlacedWord:
    word: Word
    place: Place


def _runs(cues: Sequence[SubtitleCue]) -> Iterator[list[Place]]:
    """Passages over which a sentence may run, in order of time."""
    order = sorted(range(len(cues)), key=lambda i: (cues[i].start_ms, i))
    run: list[Place] = []
    for place in (Place(i, passage) for i in order for passage in range(len(cues[i].passages))):
        if run and not _goes_on(cues, run[-1], place):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _goes_on(cues: Sequence[SubtitleCue], before: Place, after: Place) -> bool:
    first, second = _passage(cues, before), _passage(cues, after)
    if second.turn or first.style != second.style or _aside(first.text) or _aside(second.text):
        return False
    earlier, later = cues[before.cue], cues[after.cue]
    gap_ms = later.start_ms - earlier.end_ms
    return before.cue == after.cue or (earlier.group == later.group and -_OVERLAP_MS <= gap_ms < LONGEST_GAP_MS)


def _aside(text: str) -> bool:
    """Whether a text is no speech but says what sounds: `[door closes]`."""
    return (text[:1], text[-1:]) in {("[", "]"), ("(", ")"), ("（", "）"), ("【", "】")}


def _passage(cues: Sequence[SubtitleCue], place: Place) -> Passage:
    return cues[place.cue].passages[place.passage]


def _words(cues: Sequence[SubtitleCue], run: Sequence[Place]) -> list[_PlacedWord]:
    """The words of a run, each at the moment that its place in its cue stands for."""
    words: list[_PlacedWord] = []
    for place in run:
        cue = cues[place.cue]
        length = sum(len(passage.text) + 1 for passage in cue.passages)
        position = sum(len(passage.text) + 1 for passage in cue.passages[: place.passage])
        for text in cue.passages[place.passage].text.split():
            start = _moment(cue, position / length)
            position += len(text) + 1
            words.append(_PlacedWord(Word(text, start, _moment(cue, position / length), 1.0), place))
    return words


def _moment(cue: SubtitleCue, share: float) -> int:
    return round((cue.start_ms + (cue.end_ms - cue.start_ms) * share) * ASR_RATE_HZ / 1000)


def _sentences(words: Sequence[_PlacedWord], punctuation: Punctuation | None) -> Iterator[list[_PlacedWord]]:
    begin = 0
    for i in range(len(words)):
        following = words[i + 1 : i + 1 + _LOOKAHEAD_WORDS]
        full = i + 1 - begin >= MAX_WORDS or _too_many(words, begin, i)
        if not following or full or _ends(words[begin : i + 1], following, punctuation):
            yield list(words[begin : i + 1])
            begin = i + 1


def _ends(words: Sequence[_PlacedWord], following: Sequence[_PlacedWord], punctuation: Punctuation | None) -> bool:
    last, first = words[-1], following[0]
    if punctuation is None or last.place != first.place:
        return ends_line(last.word.text, first.word.text)
    return punctuation.ends_sentence([placed.word for placed in words], [placed.word for placed in following])


def _too_many(words: Sequence[_PlacedWord], begin: int, i: int) -> bool:
    """Whether the next word would stand in one passage too many."""
    if words[i + 1 : i + 2] and words[i + 1].place == words[i].place:
        return False
    return len({placed.place for placed in words[begin : i + 1]}) >= MAX_PASSAGES


def _sentence(words: Sequence[_PlacedWord], language: Language) -> CueSentence:
    weights: dict[Place, int] = {}
    for placed in words:
        weights[placed.place] = weights.get(placed.place, 0) + len(placed.word.text) + 1
    text = join_words([placed.word.text for placed in words], language)
    return CueSentence(text, tuple(weights.items()), words[0].word.start, words[-1].word.end)
