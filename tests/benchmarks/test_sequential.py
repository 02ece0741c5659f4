"""The script that the server is compared with does the whole job."""

from dataclasses import dataclass

import numpy as np

from benchmarks.sequential import LONGEST_WORDS, OUTPUT_RATE_HZ, place, sentences_of
from octavia_stream.testing import tone


@dataclass(frozen=True)
class Word:
    """As faster-whisper gives them: a space before each."""

    word: str
    start: float


def words(text: str) -> list[Word]:
    return [Word(f" {word}", float(place)) for place, word in enumerate(text.split())]


def test_sentences_end_at_marks_and_start_with_their_first_word() -> None:
    found = list(sentences_of(words('It is old. "Very old!" And more')))
    assert found == [(0.0, "It is old."), (3.0, '"Very old!"'), (5.0, "And more")]


def test_speech_without_an_end_is_cut() -> None:
    found = list(sentences_of(words("la " * (LONGEST_WORDS + 5))))
    assert [len(text.split()) for _, text in found] == [LONGEST_WORDS, 5]


def test_clips_lie_at_their_starts_and_never_over_each_other() -> None:
    clips = [tone(2.0, OUTPUT_RATE_HZ, level=level) for level in (0.1, 0.2, 0.3)]
    track = place([1.0, 2.0, 9.0], clips, 10.0)
    second = [track[start : start + OUTPUT_RATE_HZ] for start in range(0, len(track), OUTPUT_RATE_HZ)]
    assert [round(float(np.max(np.abs(part))), 2) for part in second] == [0, 0.1, 0.1, 0.2, 0.2, 0, 0, 0, 0, 0.3]
