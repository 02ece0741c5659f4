"""Every kind of job from upload to download, done by the real worker with scripted engines."""

import asyncio
import dataclasses
import re
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from octavia_stream.audio.chunk import Samples
from octavia_stream.captions.subtitle_file import read_subtitles
from octavia_stream.cli.client import Credentials
from octavia_stream.cli.dub import DubOrder, dub
from octavia_stream.cli.subtitle import SpeechOrder, SubtitleOrder, speak, subtitle
from octavia_stream.config import WorkerSettings
from octavia_stream.dubbing.engines import local
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.media.demuxer import decode_audio
from octavia_stream.media.info import MediaInfo
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import alike
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from tests.api.conftest import DATA, PASSWORD, VIDEO, Person, person
from tests.media.studio import packet_digests, packet_times

pytestmark = pytest.mark.services

SPEECH = DATA / "speech" / "en" / "jfk.flac"
SUBTITLES = DATA / "subtitles"
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """What the engines were asked."""
    return Journal(tmp_path_factory.mktemp("engines") / "journal")


@pytest.fixture(scope="module", autouse=True)
async def worker(runtime: Runtime, journal: Journal) -> AsyncIterator[None]:
    settings = runtime.settings.model_copy(update={"worker": WorkerSettings(poll_s=0.1, heartbeat_s=0.2)})
    quick = dataclasses.replace(runtime, settings=settings)
    engines = local(
        ScriptedTranscriber(journal=journal.path),
        ScriptedTranslator(journal=journal.path),
        ScriptedSynthesizer(journal=journal.path),
    )
    worker = JobWorker(quick, EveryKind(quick, alike(engines), Registry(settings.models, settings.home)), "every-kind")
    running = asyncio.create_task(worker.run())
    yield
    worker.drain()
    async with asyncio.timeout(20):
        await running


async def upload(somebody: Person, path: Path, file_type: str, name: str | None = None) -> dict[str, Any]:
    files = {"file": (name or path.name, await asyncio.to_thread(path.read_bytes))}
    answer = await somebody.http.post(f"/api/v1/upload?file_type={file_type}", files=files)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def finished(somebody: Person, kind: str, **wish: Any) -> dict[str, Any]:
    """A job of this kind, done."""
    answer = await somebody.http.post(f"/api/v1/jobs/{kind}/create", json=wish)
    assert answer.status_code == 201, answer.text
    where = answer.headers["location"]
    assert answer.json()["kind"] == answer.json()["options"]["kind"] == kind
    return await processed(somebody, where)


async def processed(somebody: Person, where: str) -> dict[str, Any]:
    """A job that was created, done."""
    assert (await somebody.http.post(f"{where}/process")).status_code == 202
    async with asyncio.timeout(90):
        while True:
            job: dict[str, Any] = (await somebody.http.get(where)).json()
            if job["status"] not in {"pending", "processing"}:
                assert job["status"] == "completed", job["error"]
                return job
            await asyncio.sleep(0.1)


async def fetched(somebody: Person, job: dict[str, Any], artifact: str) -> tuple[bytes, str, str]:
    """Content, type and name of a result."""
    answer = await somebody.http.get(job["links"]["download"], params={"artifact": artifact})
    assert answer.status_code == 200, answer.text
    name = answer.headers["content-disposition"].rpartition("''")[2]
    return answer.content, answer.headers["content-type"].partition(";")[0], name


async def heard(content: bytes, runtime: Runtime, directory: Path) -> tuple[MediaInfo, Samples]:
    """What a media file holds, and its first sound as mono samples."""
    path = directory / "result"
    await asyncio.to_thread(path.write_bytes, content)
    info = await probe(path, runtime.settings.media)
    blocks = decode_audio(path, info.audio[0], rate_hz=RATE_HZ, channels=1, settings=runtime.settings.media)
    return info, np.concatenate([block.samples async for block in blocks])


def artifacts(job: dict[str, Any]) -> list[str]:
    return [artifact["name"] for artifact in job["artifacts"]]


def loud(samples: Samples, start_s: float, end_s: float) -> bool:
    part = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    return float(np.sqrt(np.mean(part**2))) > 0.01


async def test_sound_is_dubbed_without_its_picture(alice: Person, runtime: Runtime, tmp_path: Path) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    job = await finished(alice, "audio-translate", upload_id=source["id"], target_language="pt", container="flac")
    assert artifacts(job) == ["dub.flac", "en.srt", "en.vtt", "pt.srt", "pt.vtt", "report.json"]
    content, content_type, name = await fetched(alice, job, "dub.flac")
    assert (content_type, name) == ("audio/flac", "talk.pt.flac")
    info, samples = await heard(content, runtime, tmp_path)
    assert info.video is None
    original = await probe(VIDEO, runtime.settings.media)
    assert len(samples) / RATE_HZ == pytest.approx(original.audio[0].duration_s, abs=0.1)


async def test_a_video_s_sound_alone_is_m4a_when_nothing_else_is_asked(alice: Person) -> None:
    source = await upload(alice, VIDEO, "video")
    job = await finished(alice, "audio-translate", upload_id=source["id"], target_language="pt")
    assert artifacts(job)[0] == "dub.m4a"


async def test_speech_is_written_down_in_several_languages(alice: Person) -> None:
    source = await upload(alice, SPEECH, "audio")
    job = await finished(alice, "subtitle-generate", upload_id=source["id"], target_languages=["pt", "en", "pt-BR"])
    assert artifacts(job) == ["en.srt", "en.vtt", "pt.srt", "pt.vtt", "report.json"]
    content, content_type, name = await fetched(alice, job, "pt.srt")
    assert (content_type, name) == ("application/x-subrip", "jfk.pt.srt")
    translated, spoken = read_subtitles(content), read_subtitles((await fetched(alice, job, "en.vtt"))[0])
    assert translated.cues[0].passages[0].text.startswith("pt: ")
    assert "fox" in spoken.document
    assert translated.end_ms <= 11_100
    assert job["percent"] == 100


async def test_speech_in_a_language_without_a_pair_is_heard_twice(alice: Person, journal: Journal) -> None:
    source = await upload(alice, SPEECH, "audio")
    asked = len([call for call in journal.read() if call.stage == "transcribe"])
    wish = {"source_language": "es", "target_languages": ["en", "pt"]}
    job = await finished(alice, "subtitle-generate", upload_id=source["id"], **wish)
    assert artifacts(job)[:6] == ["es.srt", "es.vtt", "en.srt", "en.vtt", "pt.srt", "pt.vtt"]
    now = len([call for call in journal.read() if call.stage == "transcribe"])
    assert (now - asked) % 2 == 0
    # English comes from the speech itself, Portuguese from that English.
    assert "en: " not in (await fetched(alice, job, "en.srt"))[0].decode()
    assert "pt: " in (await fetched(alice, job, "pt.srt"))[0].decode()


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("sintel-en.vtt", "text/vtt"), ("sintel_en.srt", "application/x-subrip"), ("typical.ass", "text/x-ssa")],
)
async def test_subtitles_come_back_translated_in_the_same_form(alice: Person, name: str, content_type: str) -> None:
    path = SUBTITLES / name
    source = await upload(alice, path, "subtitle", f"film.en{path.suffix}")
    original = read_subtitles(path.read_bytes())
    assert source["content_type"] == content_type
    assert source["subtitles"] == {"format": path.suffix[1:], "cues": len(original.cues), "language": None}
    job = await finished(
        alice, "subtitle-translate", upload_id=source["id"], source_language="en", target_languages=["pt"]
    )
    assert artifacts(job) == [f"pt{path.suffix}", "report.json"]
    content, found_type, found_name = await fetched(alice, job, f"pt{path.suffix}")
    assert (found_type, found_name) == (content_type, f"film.pt{path.suffix}")
    translated = read_subtitles(content)
    assert [(cue.start_ms, cue.end_ms) for cue in translated.cues] == [
        (cue.start_ms, cue.end_ms) for cue in original.cues
    ]
    assert all(cue.passages for cue in translated.cues)
    assert translated.document.count("pt:") == job["report"]["sentences"]


async def test_a_file_that_states_its_language_needs_no_other_word(alice: Person, tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\nLanguage: en\n\n00:01.000 --> 00:02.000\nHello.\n")
    source = await upload(alice, path, "subtitle")
    assert source["subtitles"]["language"] == "en"
    job = await finished(alice, "subtitle-translate", upload_id=source["id"], target_languages=["pt"])
    content, _, _ = await fetched(alice, job, "pt.vtt")
    assert content.decode() == "WEBVTT\nLanguage: pt\n\n00:01.000 --> 00:02.000\npt: Hello.\n"


SRT = """1
00:00:02,000 --> 00:00:05,000
The first sentence is here.

2
00:00:10,000 --> 00:00:13,000
And a second one.
"""


async def test_subtitles_are_spoken_at_their_times(alice: Person, runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(SRT)
    source = await upload(alice, path, "subtitle")
    job = await finished(
        alice, "subtitle-to-audio", upload_id=source["id"], target_language="pt", source_language="en", container="wav"
    )
    assert artifacts(job) == ["dub.wav", "pt.srt", "report.json"]
    content, content_type, name = await fetched(alice, job, "dub.wav")
    assert (content_type, name) == ("audio/wav", "film.pt.wav")
    info, samples = await heard(content, runtime, tmp_path)
    assert info.video is None
    assert len(samples) == 13 * RATE_HZ
    assert not loud(samples, 0.0, 1.9)
    assert loud(samples, 2.0, 2.5)
    assert not loud(samples, 7.0, 9.9)
    assert loud(samples, 10.0, 10.5)
    onsets = [np.flatnonzero(np.abs(samples[s * RATE_HZ :]) > 0.005)[0] / RATE_HZ for s in (1, 9)]
    assert onsets == pytest.approx([1.0, 1.0], abs=0.04)


async def test_a_video_gets_the_spoken_subtitles_as_a_track(alice: Person, runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "talk.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:04,000\nUma frase.\n\n2\n00:01:00,000 --> 00:01:02,000\nTarde demais.\n")
    source, video = await upload(alice, path, "subtitle"), await upload(alice, VIDEO, "video")
    job = await finished(
        alice, "subtitle-to-audio", upload_id=source["id"], target_language="pt", video_upload_id=video["id"]
    )
    assert artifacts(job) == ["dub.mp4", "report.json"]
    assert any("after the end" in warning for warning in job["warnings"])
    info, samples = await heard((await fetched(alice, job, "dub.mp4"))[0], runtime, tmp_path)
    original = await probe(VIDEO, runtime.settings.media)
    assert info.video is not None
    assert info.audio[0].language == "por"
    assert len(info.audio) == 2
    assert len(info.subtitles) == 1
    assert len(samples) / RATE_HZ == pytest.approx(original.audio[0].duration_s, abs=0.1)


async def test_a_file_of_which_an_older_version_knew_less_is_looked_at_again(
    newcomer: Person, runtime: Runtime
) -> None:
    source = await upload(newcomer, SPEECH, "audio")
    wish = {"upload_id": source["id"], "target_language": "pt"}
    answer = await newcomer.http.post("/api/v1/jobs/audio-translate/create", json=wish)
    await runtime.uploads.set_media_info(UUID(source["id"]), {"duration_s": source["duration_s"]})
    job = await processed(newcomer, answer.headers["location"])
    assert artifacts(job)[0] == "dub.flac"


async def test_one_job_dubs_into_two_languages_and_listens_once(
    alice: Person, journal: Journal, runtime: Runtime, tmp_path: Path
) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    before = len([call for call in journal.read() if call.stage == "transcribe"])
    job = await finished(
        alice,
        "video-translate",
        upload_id=source["id"],
        source_language="es",
        target_languages=["en", "pt"],
        voices={"pt": "kokoro/pm_alex"},
    )
    assert len([call for call in journal.read() if call.stage == "transcribe"]) == before + 1
    names = [artifact["name"] for artifact in job["artifacts"]]
    assert names == [
        *("dub.en.mp4", "dub.pt.mp4"),
        *("en.srt", "en.vtt", "pt.srt", "pt.vtt"),
        "report.json",
    ]
    assert job["report"]["dubs"]["pt"]["voice"] == job["options"]["voices"]["pt"] == "kokoro/pm_alex"
    where = f"/api/v1/jobs/{job['id']}/download"
    for language, iso, name in (("en", "eng", "talk.en.mp4"), ("pt", "por", "talk.pt.mp4")):
        answer = await alice.http.get(where, params={"language": language})
        assert answer.content == (await alice.http.get(where, params={"artifact": f"dub.{language}.mp4"})).content
        assert name in answer.headers["content-disposition"]
        path = tmp_path / name
        path.write_bytes(answer.content)
        assert (await probe(path, runtime.settings.media)).audio[0].language == iso
    assert (await alice.http.get(where, params={"language": "ja"})).status_code == 404
    assert (await alice.http.get(where, params={"language": "en", "artifact": "en.srt"})).status_code == 400
    listed = (await alice.http.get("/api/v1/jobs", params={"target_language": "pt"})).json()["jobs"]
    assert job["id"] in {one["id"] for one in listed}


async def test_every_kind_that_translates_keeps_to_a_glossary(alice: Person, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(SRT)
    film, talk = await upload(alice, path, "subtitle"), await upload(alice, SPEECH, "audio")
    glossary = {
        "terms": [
            {"source": "fox", "target": "raposa"},
            {"source": "sentence", "target": "frase", "language": "pt-BR"},
        ],
        "pronunciation": [{"written": "raposa", "spoken": "rah-poh-zah"}],
    }
    dub = await finished(alice, "audio-translate", upload_id=talk["id"], target_language="pt", glossary=glossary)
    assert dub["options"]["glossary"]["terms"][1]["language"] == "pt"
    subtitles = (await fetched(alice, dub, "pt.srt"))[0].decode()
    assert "raposa" in subtitles
    assert "zah" not in subtitles
    assert any("rah-poh-zah" in call.items[0] for call in journal.read() if call.stage == "synthesize")
    wish = {"source_language": "en", "glossary": glossary}
    texts = await finished(alice, "subtitle-translate", upload_id=film["id"], target_languages=["pt"], **wish)
    assert "frase" in (await fetched(alice, texts, "pt.srt"))[0].decode()
    spoken = await finished(alice, "subtitle-to-audio", upload_id=film["id"], target_language="pt", **wish)
    assert "frase" in (await fetched(alice, spoken, "pt.srt"))[0].decode()
    written = await finished(
        alice, "subtitle-generate", upload_id=talk["id"], target_languages=["pt"], glossary=glossary
    )
    assert "raposa" in (await fetched(alice, written, "pt.srt"))[0].decode()


async def test_only_a_part_of_a_file_is_dubbed_quoted_and_cut_out(
    alice: Person, runtime: Runtime, journal: Journal, tmp_path: Path
) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    wish = {"upload_id": source["id"], "target_language": "pt", "start_s": 2.0, "end_s": 4.5}
    job = await finished(alice, "video-translate", **wish)
    quote = (await alice.http.get(f"/api/v1/jobs/{job['id']}/quote")).json()
    assert quote["seconds"] == 2.5
    info, samples = await heard((await fetched(alice, job, "dub.mp4"))[0], runtime, tmp_path)
    begin_s = job["report"]["start_s"]
    assert info.video is not None
    # The picture begins where it can without being encoded anew, at the start asked for or before.
    assert 0 <= begin_s <= 2.0
    assert len(samples) / RATE_HZ == pytest.approx(4.5 - begin_s, abs=0.1)
    assert info.duration_s == pytest.approx(4.5 - begin_s, abs=0.3)
    sound = await finished(alice, "audio-translate", **wish, container="wav")
    assert sound["report"]["start_s"] == pytest.approx(2.0, abs=0.05)
    _, samples = await heard((await fetched(alice, sound, "dub.wav"))[0], runtime, tmp_path)
    assert len(samples) / RATE_HZ == pytest.approx(2.5, abs=0.1)


async def test_subtitles_are_drawn_into_another_file_beside_the_dub_when_asked(
    alice: Person, runtime: Runtime, tmp_path: Path
) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    wish = {"upload_id": source["id"], "target_languages": ["pt", "en"], "start_s": 2.0, "end_s": 4.5}
    plain = await finished(alice, "video-translate", **wish)
    job = await finished(alice, "video-translate", **wish, burn_in=True)
    assert set(artifacts(job)) - set(artifacts(plain)) == {"dub.pt.burned.mp4", "dub.en.burned.mp4"}
    assert job["stages"]["draw"] == {"done": 2, "total": 2, "final": True}
    content, content_type, name = await fetched(alice, job, "dub.pt.burned.mp4")
    assert (content_type, name) == ("video/mp4", "talk.pt.burned.mp4")
    drawn, plain_dub = tmp_path / "burned.mp4", tmp_path / "dub.mp4"
    await asyncio.to_thread(drawn.write_bytes, content)
    await asyncio.to_thread(plain_dub.write_bytes, (await fetched(alice, job, "dub.pt.mp4"))[0])
    burned, dubbed = [await probe(path, runtime.settings.media) for path in (drawn, plain_dub)]
    assert burned.video is not None
    assert dubbed.video is not None
    assert (burned.video.codec, burned.video.width) == ("h264", dubbed.video.width)
    assert not burned.subtitles
    assert burned.duration_s == pytest.approx(dubbed.duration_s, abs=0.05)
    assert packet_digests(drawn, "audio") == packet_digests(plain_dub, "audio")
    assert packet_times(drawn, "audio") == packet_times(plain_dub, "audio")
    # The main result stays the one whose picture is untouched.
    answer = await alice.http.get(job["links"]["download"], params={"language": "pt"})
    assert answer.headers["content-disposition"].endswith("talk.pt.mp4")
    sound = await upload(alice, SPEECH, "audio")
    refused = {"upload_id": sound["id"], "target_language": "pt", "burn_in": True}
    answer = await alice.http.post("/api/v1/jobs/video-translate/create", json=refused)
    assert answer.status_code == 422
    assert "no picture" in answer.json()["detail"]


async def test_subtitles_keep_to_the_rules_and_the_original_is_silent_when_asked(
    alice: Person, runtime: Runtime, tmp_path: Path
) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    rules = {"columns": 20, "lines": 1, "characters_per_second": 12}
    wish = {"upload_id": source["id"], "source_language": "pt", "target_language": "pt", "container": "wav"}
    job = await finished(alice, "audio-translate", **wish, subtitles=rules, mute_original=True)
    assert job["options"]["subtitles"] == rules
    cues = read_subtitles((await fetched(alice, job, "pt.dub.srt"))[0]).cues
    assert all(len(passage.text) <= 20 for cue in cues for passage in cue.passages)
    _, muted = await heard((await fetched(alice, job, "dub.wav"))[0], runtime, tmp_path)
    other = await finished(alice, "audio-translate", **wish)
    _, ducked = await heard((await fetched(alice, other, "dub.wav"))[0], runtime, tmp_path)
    silent = np.abs(muted) < 1e-5
    assert silent.mean() > 0.02
    assert np.abs(ducked[silent]).max() > 1e-3
    for bad in ({"columns": 10}, {"lines": 0}, {"characters_per_second": 100}, {"rows": 2}):
        answer = await alice.http.post("/api/v1/jobs/audio-translate/create", json=wish | {"subtitles": bad})
        assert answer.status_code == 400


async def test_subtitles_of_a_part_are_for_the_whole_file(alice: Person) -> None:
    source = await upload(alice, SPEECH, "audio")
    job = await finished(alice, "subtitle-generate", upload_id=source["id"], start_s=4.0, end_s=9.0)
    cues = read_subtitles((await fetched(alice, job, "en.srt"))[0]).cues
    assert 3900 <= min(cue.start_ms for cue in cues) <= 6000
    assert max(cue.end_ms for cue in cues) <= 9100


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ({"start_s": 5, "end_s": 5}, 400),
        ({"end_s": 0}, 400),
        ({"start_s": -1}, 400),
        ({"start_s": 11.5}, 422),
    ],
    ids=str,
)
async def test_a_part_that_is_none_is_refused(alice: Person, part: dict[str, float], status: int) -> None:
    source = (await upload(alice, SPEECH, "audio"))["id"]
    wish = {"upload_id": source, "target_language": "pt", **part}
    answer = await alice.http.post("/api/v1/jobs/audio-translate/create", json=wish)
    assert answer.status_code == status


async def test_what_one_job_made_is_the_source_of_the_next(
    alice: Person, bob: Person, runtime: Runtime, tmp_path: Path
) -> None:
    source = await upload(alice, VIDEO, "video", "talk.mp4")
    written = await finished(alice, "subtitle-generate", upload_id=source["id"], source_language="en")
    subtitles = {"job_id": written["id"], "artifact": "en.srt"}
    # Which language it is in, its name says.
    texts = await finished(alice, "subtitle-translate", source=subtitles, target_languages=["pt"])
    assert texts["options"]["source_language"] == "en"
    content, _, name = await fetched(alice, texts, "pt.srt")
    assert name == "talk.pt.srt"
    assert "pt: " in content.decode()
    spoken = await finished(alice, "subtitle-to-audio", source={"job_id": texts["id"]}, target_language="pt")
    assert spoken["options"]["source_language"] == "pt"
    assert "dub.m4a" in artifacts(spoken)
    wish = {"upload_id": source["id"], "target_language": "pt", "original_gain_db": 0.0}
    dubbed = await finished(alice, "video-translate", **wish)
    again = await finished(alice, "audio-translate", source={"job_id": dubbed["id"]}, target_language="en")
    assert again["options"]["source_language"] == "pt"
    uploads = {one["id"]: one for one in (await alice.http.get("/api/v1/uploads?limit=100")).json()["uploads"]}
    assert uploads[again["upload_id"]]["filename"] == "talk.pt.mp4"

    # The earlier job may go; what was made of it stays.
    assert (await alice.http.delete(f"/api/v1/jobs/{written['id']}")).status_code == 204
    retold = await alice.http.post(
        "/api/v1/jobs/subtitle-translate/create",
        json={"upload_id": texts["upload_id"], "source_language": "en", "target_languages": ["pt"]},
    )
    assert retold.status_code == 201

    async def refused(somebody: Person, **wish: Any) -> tuple[int, str]:
        answer = await somebody.http.post("/api/v1/jobs/audio-translate/create", json={"target_language": "en", **wish})
        return answer.status_code, answer.json()["code"]

    mine = {"job_id": dubbed["id"]}
    before = [found async for found in runtime.objects.list("uploads")]
    assert await refused(bob, source=mine) == (404, "not_found")
    assert await refused(alice, source=mine | {"artifact": "dub.webm"}) == (404, "not_found")
    assert await refused(alice, source=mine | {"artifact": "report.json"}) == (422, "media_rejected")
    assert await refused(alice, source=mine, upload_id=source["id"]) == (400, "invalid_request")
    assert await refused(alice) == (400, "invalid_request")
    waiting = {"upload_id": source["id"], "target_language": "pt"}
    job = (await alice.http.post("/api/v1/jobs/audio-translate/create", json=waiting)).json()
    assert await refused(alice, source={"job_id": job["id"]}) == (409, "conflict")
    assert [found async for found in runtime.objects.list("uploads")] == before


@pytest.mark.parametrize(
    "glossary",
    [
        {"keep": ["x"] * 501},
        {"keep": [" "]},
        {"keep": ["x" * 101]},
        {"keep": ["a\x00b"]},
        {"terms": [{"source": "x"}]},
        {"terms": [{"source": "x", "target": "y", "language": "klingon"}]},
        {"unknown": []},
    ],
    ids=str,
)
async def test_a_glossary_that_makes_no_sense_is_refused(alice: Person, glossary: dict[str, Any]) -> None:
    source = (await upload(alice, SPEECH, "audio"))["id"]
    wish = {"upload_id": source, "target_language": "pt", "glossary": glossary}
    answer = await alice.http.post("/api/v1/jobs/audio-translate/create", json=wish)
    assert answer.status_code in {400, 422}


async def test_a_dub_s_languages_and_voices_have_to_make_sense(alice: Person) -> None:
    source = (await upload(alice, SPEECH, "audio"))["id"]
    for wish, code in (
        ({}, "invalid_request"),
        ({"target_language": "pt", "target_languages": ["en"]}, "invalid_request"),
        ({"target_languages": []}, "invalid_request"),
        ({"target_languages": ["pt", "en"], "voice": "kokoro/pf_dora"}, "invalid_request"),
        ({"target_languages": ["pt", "en"], "stream": True}, "invalid_request"),
        ({"target_languages": ["pt", "en"], "voices": {"ja": "kokoro/pf_dora"}}, "invalid_request"),
        ({"target_languages": ["pt", "en"], "voices": {"en": "kokoro/pf_dora"}}, "unsupported_language"),
        ({"target_languages": ["pt", "zu"]}, "unsupported_language"),
    ):
        answer = await alice.http.post("/api/v1/jobs/audio-translate/create", json={"upload_id": source, **wish})
        assert (answer.status_code, answer.json()["code"]) == (400 if code == "invalid_request" else 422, code), wish
    # The same one twice is one.
    answer = await alice.http.post(
        "/api/v1/jobs/audio-translate/create", json={"upload_id": source, "target_languages": ["pt", "pt-BR"]}
    )
    assert answer.json()["options"]["target_languages"] == []
    assert answer.json()["options"]["target_language"] == "pt"


async def test_only_streams_are_transcoded(alice: Person) -> None:
    source = (await upload(alice, VIDEO, "video"))["id"]
    wish = {"upload_id": source, "target_language": "pt", "transcode": True}
    refused = await alice.http.post("/api/v1/jobs/video-translate/create", json=wish)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    made = await alice.http.post("/api/v1/jobs/video-translate/create", json=wish | {"stream": True})
    assert (made.json()["options"]["stream"], made.json()["options"]["transcode"]) == (True, True)


async def test_each_kind_says_what_it_cannot_work_on(alice: Person, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(SRT)
    subtitles, media = await upload(alice, path, "subtitle"), await upload(alice, SPEECH, "audio")
    wishes: list[tuple[str, dict[str, Any], str]] = [
        ("video-translate", {"upload_id": subtitles["id"], "target_language": "pt"}, "media_rejected"),
        ("audio-translate", {"upload_id": subtitles["id"], "target_language": "pt"}, "media_rejected"),
        ("subtitle-generate", {"upload_id": subtitles["id"]}, "media_rejected"),
        ("subtitle-generate", {"upload_id": media["id"], "target_languages": ["zu"]}, "unsupported_language"),
        ("subtitle-translate", {"upload_id": media["id"], "target_languages": ["pt"]}, "media_rejected"),
        ("subtitle-translate", {"upload_id": subtitles["id"], "target_languages": ["pt"]}, "invalid_request"),
        ("subtitle-translate", {"upload_id": subtitles["id"], "target_languages": []}, "invalid_request"),
        (
            "subtitle-translate",
            {"upload_id": subtitles["id"], "source_language": "en", "target_languages": ["en"]},
            "invalid_request",
        ),
        (
            "subtitle-translate",
            {"upload_id": subtitles["id"], "source_language": "zu", "target_languages": ["pt"]},
            "unsupported_language",
        ),
        ("subtitle-to-audio", {"upload_id": media["id"], "target_language": "pt"}, "media_rejected"),
        (
            "subtitle-to-audio",
            {"upload_id": subtitles["id"], "target_language": "pt", "video_upload_id": media["id"]},
            "media_rejected",
        ),
        ("subtitle-to-audio", {"upload_id": subtitles["id"], "target_language": "zu"}, "unsupported_language"),
    ]
    for kind, wish, code in wishes:
        answer = await alice.http.post(f"/api/v1/jobs/{kind}/create", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (400 if code == "invalid_request" else 422, code), wish
        assert answer.json()["detail"].endswith(".")


async def test_another_s_video_is_not_found(alice: Person, bob: Person, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(SRT)
    own, video = await upload(bob, path, "subtitle"), await upload(alice, VIDEO, "video")
    wish = {"upload_id": own["id"], "target_language": "pt", "video_upload_id": video["id"]}
    answer = await bob.http.post("/api/v1/jobs/subtitle-to-audio/create", json=wish)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"just words", 422, "subtitles_rejected"),
        (b"\x00" * 1000, 422, "subtitles_rejected"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nx\n" + b"x" * 11_000_000, 413, "media_too_large"),
        (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><tt/>", 422, "subtitles_rejected"),
    ],
    ids=["words", "zeros", "too large", "entities"],
)
async def test_what_is_no_subtitle_file_is_refused_and_not_kept(
    alice: Person, runtime: Runtime, content: bytes, status: int, code: str
) -> None:
    before = {found.key async for found in runtime.objects.list("uploads")}
    answer = await alice.http.post("/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", content)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert {found.key async for found in runtime.objects.list("uploads")} == before


async def test_the_command_line_writes_translates_and_speaks(
    alice: Person, address: str, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account, out, settings = Credentials(alice.email, PASSWORD), tmp_path / "out", runtime.settings
    film = tmp_path / "film.en.srt"
    film.write_text(SRT)
    try:
        await dub(
            DubOrder(SPEECH, ("pt", "en"), "en", ("pt=kokoro/pm_alex",), out, -24.0, False, None),
            address,
            account,
            settings,
        )
        said = capsys.readouterr().out
        assert "Quality (Portuguese): 100% of the sentences said" in said
        assert "Quality (English): 100% of the sentences said" in said
        drawn = DubOrder(
            VIDEO, ("pt",), None, (), out, -24.0, False, None, start_s=2.0, end_s=4.5, burn_in=True, stream=True
        )
        await dub(drawn, address, account, settings)
        said = capsys.readouterr().out
        assert re.search(rf"Watch what is dubbed: {address}/api/v1/jobs/[0-9a-f-]+/stream/index.m3u8", said)
        await subtitle(SubtitleOrder(film, ("pt",), "en", out), address, account, settings)
        await subtitle(SubtitleOrder(SPEECH, ("pt",), None, out, end_s=6.0), address, account, settings)
        await speak(SpeechOrder(film, "pt", "en", None, out, container="flac"), address, account, settings)
        await speak(SpeechOrder(film, "pt", "en", None, out, video=VIDEO), address, account, settings)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    names = {path.name for path in out.iterdir()}
    assert {"film.pt.srt", "jfk.en.srt", "jfk.pt.vtt", "film.pt.flac", "film.pt.mp4"} <= names
    assert {"jfk.pt.flac", "jfk.en.flac"} <= names
    assert {f"{VIDEO.stem}.pt.mp4", f"{VIDEO.stem}.pt.burned.mp4"} <= names
    assert (out / "film.pt.srt").read_text().count("pt: ") == 2


@pytest.mark.parametrize("path", sorted(SUBTITLES.iterdir()), ids=lambda path: path.name)
async def test_every_subtitle_file_is_taken_as_it_is(alice: Person, path: Path) -> None:
    found = await upload(alice, path, "subtitle")
    assert found["subtitles"]["cues"] >= 1
    assert found["duration_s"] > 0
    assert bool(found["warnings"]) == path.stem.startswith(("bad", "missing", "invalid"))


ADVERT = "Brought to you by those who paid for it."
TWICE = f"""1
00:00:01,000 --> 00:00:04,000
{ADVERT}

2
00:00:10,000 --> 00:00:13,000
Something else is said here.

3
00:00:20,000 --> 00:00:23,000
{ADVERT}
"""


@pytest.fixture
async def newcomer(address: str) -> AsyncIterator[Person]:
    """Somebody for whom nothing was made yet."""
    async with person(address) as somebody:
        yield somebody


async def test_what_comes_again_is_made_once_in_all_jobs_of_one_owner(
    newcomer: Person, bob: Person, journal: Journal, tmp_path: Path
) -> None:
    async def job_of(somebody: Person, file: Path, file_type: str, kind: str, **wish: Any) -> tuple[bytes, list[str]]:
        """The first result, and which texts and chunks engines were asked for."""
        before = len(journal.read())
        source = await upload(somebody, file, file_type)
        job = await finished(somebody, kind, upload_id=source["id"], source_language="en", **wish)
        asked = [item for call in journal.read()[before:] for item in call.items]
        return (await fetched(somebody, job, artifacts(job)[0]))[0], asked

    subtitles = tmp_path / "advert.srt"
    subtitles.write_text(TWICE)
    spoken = [
        await job_of(somebody, subtitles, "subtitle", "subtitle-to-audio", target_language="pt", container="flac")
        for somebody in (newcomer, newcomer, bob)
    ]
    lines = sorted([ADVERT, "Something else is said here."])
    assert sorted(spoken[0][1]) == sorted([*lines, *(f"pt: {line}" for line in lines)])
    assert spoken[1][1] == [], "all of it was made for the first job"
    assert sorted(spoken[2][1]) == sorted(spoken[0][1]), "nobody hears of what was made for somebody else"
    assert spoken[0][0] == spoken[1][0] == spoken[2][0]
    dub_it = partial(job_of, newcomer, SPEECH, "audio", "audio-translate", target_language="pt", container="flac")
    first, asked = await dub_it()
    assert asked
    assert await dub_it() == (first, [])
    _, asked = await job_of(newcomer, SPEECH, "audio", "subtitle-generate", target_languages=["pt"])
    assert asked == [], "a job of another kind heard and translated it"
