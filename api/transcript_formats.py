"""What was heard, as OpenAI's API writes it down: JSON, text, SRT, WebVTT, or with every detail."""

import math
import zlib
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from octavia_stream.captions.cues import SpokenText, make_cues, write_srt, write_vtt
from octavia_stream.dubbing.punctuation import join_words
from octavia_stream.instant.call import Finished, Heard, HeardWord
from octavia_stream.languages import Language, language_name

TranscriptFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity: TypeAlias = Literal["word", "segment"]
TEXT_TYPES: dict[TranscriptFormat, str] = {"text": "text/plain", "srt": "text/plain", "vtt": "text/vtt"}
NOBODY_SPOKE = "unknown"
"""The language of a recording without a word in it."""
_LEAST_PROBABILITY = 1e-6


class DurationUsage(msgspec.Struct, frozen=True, tag_field="type", tag="duration"):
    """What is counted: seconds of sound."""

    seconds: float


class Transcription(msgspec.Struct, frozen=True):
    """Format `json`."""

    text: str
    usage: DurationUsage


class Segment(msgspec.Struct, frozen=True):
    """One sentence. Times in seconds."""

    id: int
    seek: int
    """Where it starts, in hundredths of a second."""
    start: float
    end: float
    text: str
    tokens: list[int]
    """Always empty: the models' tokens stay with the replicas."""
    temperature: float
    """Always 0: decoding takes the likeliest words."""
    avg_logprob: float
    """Mean of the logarithms of the words' probabilities."""
    compression_ratio: float
    """Of the text: high where a model repeats itself."""
    no_speech_prob: float
    """Always 0: what is not speech is left out before anything is recognised."""


class SpokenWord(msgspec.Struct, frozen=True):
    """One word and when it is heard, in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """Format `verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str
    """Of the recording: its English name, in small letters."""
    duration: float
    text: str
    usage: DurationUsage
    segments: list[Segment] | None = None
    words: list[SpokenWord] | None = None


def whole_text(heard: Sequence[Heard], language: Language) -> str:
    """All sentences, one after the other as their language writes them."""
    return join_words([sentence.text for sentence in heard], language)


def timed_text(heard: Sequence[Heard], seconds: float, kind: TranscriptFormat) -> str:
    """Subtitles, `srt` or `vtt`."""
    cues = make_cues([SpokenText(one.start_s, one.end_s, one.text) for one in heard], seconds)
    return write_vtt(cues) if kind == "vtt" else write_srt(cues)


def verbose(
    heard: Sequence[Heard], finished: Finished, text: str, granularities: Sequence[Granularity], *, translated: bool
) -> VerboseTranscription:
    """Everything that is known. granularities: segments unless only words are asked for."""
    language = finished.language
    return VerboseTranscription(
        task="translate" if translated else "transcribe",
        language=language_name(Language(language)).lower() if language else NOBODY_SPOKE,
        duration=round(finished.seconds, 3),
        text=text,
        usage=DurationUsage(round(finished.seconds, 3)),
        segments=[_segment(number, one) for number, one in enumerate(heard)]
        if "segment" in granularities or not granularities
        else None,
        words=[_word(word) for one in heard for word in one.words] if "word" in granularities else None,
    )


def _segment(number: int, heard: Heard) -> Segment:
    logarithms = [math.log(max(word.probability, _LEAST_PROBABILITY)) for word in heard.words]
    encoded = heard.text.encode()
    return Segment(
        id=number,
        seek=round(heard.start_s * 100),
        start=round(heard.start_s, 3),
        end=round(heard.end_s, 3),
        text=heard.text,
        tokens=[],
        temperature=0.0,
        avg_logprob=round(sum(logarithms) / len(logarithms), 4) if logarithms else 0.0,
        compression_ratio=round(len(encoded) / max(len(zlib.compress(encoded)), 1), 4),
        no_speech_prob=0.0,
    )


def _word(word: HeardWord) -> SpokenWord:
    return SpokenWord(word.text, round(word.start_s, 3), round(word.end_s, 3))
