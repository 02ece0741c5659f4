"""Where words sound: Whisper's own times, corrected by where there is speech. Pure.

Whisper's alignment stretches a word over the silence before or after it, and the first one to 0.00.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from octavia_stream.asr.transcript import Word
from octavia_stream.audio.chunk import ASR_RATE_HZ

Region = tuple[int, int]
"""Start and end of a stretch of speech, in samples at 16 kHz."""

_FAR_SAMPLES = ASR_RATE_HZ // 2
_EDGE_SAMPLES = ASR_RATE_HZ * 13 // 20
"""Words end up to 0.62 s early where a pause follows (LJ Speech, base model)."""
_DOUBTFUL = 0.3
"""A word less probable than this, far from all speech, was invented."""
_WORD_SAMPLES, _LETTER_SAMPLES = ASR_RATE_HZ // 10, ASR_RATE_HZ * 7 // 100
"""A word takes about 0.1 s and 0.07 s a letter."""
_MIN_WORD_SAMPLES = ASR_RATE_HZ // 50


@dataclass(frozen=True, slots=True)
class _Loop:
    """A phrase of so many words is a loop from so many repetitions on; people do say 'no, no, no'."""

    words: int
    repetitions: int


_LOOPS = (_Loop(1, 6), _Loop(2, 4), *(_Loop(words, 3) for words in range(3, 13)))


def place_words(words: Sequence[Word], speech: Sequence[Region], length: int) -> tuple[Word, ...]:
    """Words in order and disjoint within [0, length), pulled out of silences; doubtful ones far from speech are gone.

    words, speech: positions from the start of the chunk; `speech` in order and disjoint.
    """
    heard = [_into_speech(word, speech) for word in words if not _invented(word, speech)]
    return _in_order(_to_edges(drop_loops(heard), speech), length)


def drop_loops(words: Sequence[Word]) -> list[Word]:
    """Keep one of a phrase that Whisper repeats over and over."""
    kept = list(words)
    for loop in _LOOPS:
        kept = _drop_loop(kept, loop)
    return kept


def _drop_loop(words: list[Word], loop: _Loop) -> list[Word]:
    spelled = [word.text.strip(".,;:!?…").casefold() for word in words]
    size, kept, at = loop.words, [], 0
    while at < len(words):
        after = at + size
        while after + size <= len(words) and spelled[after : after + size] == spelled[at : at + size]:
            after += size
        if (after - at) // size >= loop.repetitions:
            kept += words[at : at + size]
            at = after
        else:
            kept.append(words[at])
            at += 1
    return kept


def _invented(word: Word, speech: Sequence[Region]) -> bool:
    near = any(word.start < end + _FAR_SAMPLES and word.end > start - _FAR_SAMPLES for start, end in speech)
    return not near and word.probability < _DOUBTFUL


def _into_speech(word: Word, speech: Sequence[Region]) -> Word:
    """Clip a word to the stretch of speech it belongs to; one in plain silence stays.

    Of two stretches the later counts double, for Whisper starts a word too early more often than it ends one too late;
    and no stretch counts for more than it takes to say the word.
    """
    best, weight = word, 0
    needed = _WORD_SAMPLES + len(word.text) * _LETTER_SAMPLES
    for start, end in speech:
        first, last = max(word.start, start), min(word.end, end)
        overlap = min(last - first, needed)
        if overlap > weight:
            best, weight = replace(word, start=first, end=last), overlap // 2
    return best


def _to_edges(words: Sequence[Word], speech: Sequence[Region]) -> list[Word]:
    """Let the first and the last word of a stretch of speech reach its edges, when they nearly do."""
    reaching = list(words)
    for start, end in speech:
        inside = [i for i, word in enumerate(reaching) if start <= word.start < end]
        if not inside:
            continue
        first, last = reaching[inside[0]], reaching[inside[-1]]
        if first.start - start <= _EDGE_SAMPLES:
            reaching[inside[0]] = replace(first, start=start)
            last = reaching[inside[-1]]
        if 0 < end - last.end <= _EDGE_SAMPLES:
            reaching[inside[-1]] = replace(last, end=end)
    return reaching


def _in_order(words: Sequence[Word], length: int) -> tuple[Word, ...]:
    spans: list[list[int]] = []
    cursor = 0
    for word in words:
        start = max(word.start, cursor)
        end = max(word.end, start + _MIN_WORD_SAMPLES)
        spans.append([start, end])
        cursor = end
    limit = length
    for span in reversed(spans):
        span[1] = min(span[1], limit)
        span[0] = max(0, min(span[0], span[1] - 1))
        limit = span[0]
    return tuple(Word(word.text, start, end, word.probability) for word, (start, end) in zip(words, spans, strict=True))
