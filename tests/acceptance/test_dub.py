"""A real talk in, a dubbed talk out: the whole path, by real models in real deployments."""

import asyncio
import hashlib
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import jiwer
import numpy as np
import pysubs2
import pytest

from octavia_stream import installed
from octavia_stream.asr.transcriber import TranscribeRequest
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.events.event import (
    Analysed,
    ArtifactReady,
    Completed,
    JobEventRecord,
    Progress,
    SegmentDubbed,
    Warned,
)
from octavia_stream.languages import Language
from tests.acceptance.conftest import DATA, Running

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(400),
]

MUXED = DATA / "video" / "muxed_en.mkv"


async def dub(running: Running, source: Path, target: str, folder: Path, **options: object) -> "Dub":
    upload = await running.client.upload(source, lambda _: None)
    job_id = await running.client.create_job({"upload_id": upload, "target_language": target, **options})
    async with asyncio.timeout(300):
        records = [record async for record in running.client.events(job_id)]
    job = await running.client.job(job_id)
    for artifact in job["artifacts"]:
        await running.client.download(job_id, artifact["name"], folder / artifact["name"])
    return Dub(job, records, folder)


class Dub:
    """A finished job and its files."""

    def __init__(self, job: dict[str, Any], records: list[JobEventRecord], folder: Path) -> None:
        self.job = job
        self.events = [record.event for record in records]
        self.folder = folder

    @property
    def media(self) -> Path:
        return next(self.folder.glob("dub.*"))

    def cues(self, language: str) -> pysubs2.SSAFile:
        return pysubs2.load(str(self.folder / f"{language}.srt"))

    def text(self, language: str) -> str:
        return " ".join(cue.plaintext.replace("\n", " ") for cue in self.cues(language))


def picture(path: Path) -> tuple[int, str]:
    """How many packets the picture has, and the hash of all of them."""
    digest = hashlib.sha256()
    count = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size:
                digest.update(bytes(packet))
                count += 1
    return count, digest.hexdigest()


def sound(path: Path, track: int = 0, rate_hz: int | None = None) -> Samples:
    """A sound track as mono float."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", rate_hz or container.streams.audio[track].rate)
        frames = [out for frame in container.decode(audio=track) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def heard(running: Running, samples: Samples, language: str) -> str:
    """What the ASR model understands."""
    engine = installed.transcriber(running.stack.settings)
    step = 25 * ASR_RATE_HZ
    chunks = [AudioChunk(samples[at : at + step], ASR_RATE_HZ, at) for at in range(0, len(samples), step)]
    requests = [TranscribeRequest(chunk, Language(language), "transcribe") for chunk in chunks]
    return " ".join(transcript.text for transcript in engine.transcribe_batch(requests))


@pytest.fixture(scope="module")
async def english_talk(real_stack: Running, tmp_path_factory: pytest.TempPathFactory) -> Dub:
    return await dub(real_stack, MUXED, "pt", tmp_path_factory.mktemp("dub"), source_language="en")


def test_the_picture_is_untouched(english_talk: Dub) -> None:
    assert picture(english_talk.media) == picture(MUXED)


def test_the_dub_is_as_long_as_the_original_to_the_sample(english_talk: Dub) -> None:
    assert len(sound(english_talk.media)) == len(sound(MUXED))


def test_the_original_sound_and_subtitles_are_there_as_further_tracks(english_talk: Dub) -> None:
    with av.open(str(english_talk.media)) as container:
        languages = [stream.metadata.get("language") for stream in container.streams.audio]
        subtitles = [stream.metadata.get("language") for stream in container.streams.subtitles]
    assert languages[0] == "por"
    assert len(languages) == 2
    assert subtitles == ["por", "eng"]
    original = sound(MUXED)
    assert np.array_equal(sound(english_talk.media, track=1)[: len(original)], original)


def test_the_dub_says_what_the_translation_says(real_stack: Running, english_talk: Dub) -> None:
    understood = heard(real_stack, sound(english_talk.media, rate_hz=ASR_RATE_HZ), "pt")
    assert jiwer.wer(words(english_talk.text("pt")), words(understood)) <= 0.15


def test_the_transcript_is_what_was_said(english_talk: Dub) -> None:
    reference = (DATA / "video" / "muxed_en.txt").read_text()
    assert jiwer.wer(words(reference), words(english_talk.text("en"))) <= 0.25


def test_segments_start_where_the_speech_did_and_never_overlap(english_talk: Dub) -> None:
    segments = [event for event in english_talk.events if isinstance(event, SegmentDubbed)]
    assert len(segments) >= 5
    for first, second in pairwise(segments):
        assert first.start_s < first.end_s <= second.start_s
    fit = english_talk.job["report"]["fit"]
    assert fit["inside_share"] >= 0.95
    rows = (DATA / "video" / "muxed_en.segments.tsv").read_text().splitlines()[1:]
    starts = [segment.start_s for segment in segments]
    for clip in (float(row.split("\t")[0]) for row in rows):
        # A clip begins with up to a second of silence before its reader speaks.
        assert any(0 <= at - clip < 1.2 for at in starts)


def test_the_dub_is_judged_and_found_good(english_talk: Dub) -> None:
    quality = english_talk.job["report"]["quality"]
    assert quality["passed"], quality
    [figures] = quality["dubs"].values()
    assert figures["coverage"] == 1.0
    assert figures["overlaps"] == 0
    assert abs(figures["loudness_difference_lu"]) < 3


def test_a_watcher_sees_the_whole_story(english_talk: Dub) -> None:
    kinds = [type(event) for event in english_talk.events]
    assert kinds.count(Analysed) == 1
    assert kinds.count(Progress) >= 4
    assert kinds[-1] is Completed
    told = {event.name for event in english_talk.events if isinstance(event, ArtifactReady)}
    assert told == {path.name for path in english_talk.folder.iterdir()}


@pytest.mark.parametrize(
    ("source", "spoken", "target"),
    [
        ("video/softcatala_english.mp4", "en", "pt"),
        ("speech/pt/leopard_pt.wav", "pt", "en"),
        ("speech/fr/fleurs-fr-002.ogg", "fr", "pt"),
        ("speech/es/fleurs-es-003.ogg", "es", "en"),
        ("speech/de/leopard_de.wav", "de", "en"),
        ("speech/en/jfk.flac", "en", "pt"),
    ],
)
async def test_any_language_that_is_heard_becomes_another(
    real_stack: Running, tmp_path: Path, source: str, spoken: str, target: str
) -> None:
    made = await dub(real_stack, DATA / source, target, tmp_path)
    assert made.job["status"] == "completed"
    analysed = next(event for event in made.events if isinstance(event, Analysed))
    assert analysed.source_language == spoken
    understood = heard(real_stack, sound(made.media, rate_hz=ASR_RATE_HZ), target)
    assert jiwer.wer(words(made.text(target)), words(understood)) <= 0.35
    assert len(sound(made.media)) == len(sound(DATA / source))


async def test_speech_that_is_already_in_the_target_language_is_spoken_again_with_a_warning(
    real_stack: Running, tmp_path: Path
) -> None:
    made = await dub(real_stack, DATA / "speech" / "en" / "fleurs-en-004.ogg", "en", tmp_path)
    assert made.job["status"] == "completed"
    assert "same_language" in {event.code for event in made.events if isinstance(event, Warned)}


async def test_a_film_without_speech_is_refused_in_a_sentence(real_stack: Running, tmp_path: Path) -> None:
    made = await dub(real_stack, DATA / "video" / "flower_nospeech.webm", "pt", tmp_path)
    assert made.job["status"] == "failed"
    assert made.job["error"]["code"] == "no_speech"
    assert "No speech" in made.job["error"]["message"]
