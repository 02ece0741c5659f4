"""A finished dub is edited: only what depends on the edit is made again, and every version stays."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import numpy as np
import pytest

from octavia_stream.dubbing import redubbing
from octavia_stream.dubbing.assembly import Revision
from octavia_stream.languages import Language
from octavia_stream.runtime import Runtime
from octavia_stream.testing import Journal
from tests.api.conftest import Person
from tests.api.test_kinds import SPEECH, artifacts, fetched, finished, journal, upload, worker  # noqa: F401  (fixtures)

pytestmark = pytest.mark.services

TALK = Path(__file__).parents[1] / "data" / "video" / "muxed_pt.mp4"


@pytest.fixture
async def dub(alice: Person) -> dict[str, Any]:
    """A dub of a recording, done."""
    source = await upload(alice, SPEECH, "audio")
    return await finished(alice, "audio-translate", upload_id=source["id"], target_language="pt")


@pytest.fixture
async def streamed(alice: Person) -> dict[str, Any]:
    """The same, watched."""
    source = await upload(alice, SPEECH, "audio")
    return await finished(alice, "audio-translate", upload_id=source["id"], target_language="pt", stream=True)


async def segments(somebody: Person, job: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = await somebody.http.get(f"/api/v1/jobs/{job['id']}/segments", params=asked)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def refused(somebody: Person, job: dict[str, Any], *edits: dict[str, Any], version: int = 1) -> tuple[int, str]:
    answer = await somebody.http.patch(
        f"/api/v1/jobs/{job['id']}/segments", json={"version": version, "edits": list(edits)}
    )
    return answer.status_code, answer.json()["detail"]


async def edited(somebody: Person, job: dict[str, Any], *edits: dict[str, Any], version: int = 1) -> dict[str, Any]:
    """The job when its next version is done."""
    where = f"/api/v1/jobs/{job['id']}"
    answer = await somebody.http.patch(f"{where}/segments", json={"version": version, "edits": list(edits)})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["version"], answer.headers["location"]) == (version + 1, where)
    async with asyncio.timeout(90):
        while True:
            now: dict[str, Any] = (await somebody.http.get(where)).json()
            if now["status"] not in {"pending", "processing"}:
                assert now["status"] == "completed", now["error"]
                assert now["version"] == version + 1
                return now
            # What there was is there all the time.
            assert (await somebody.http.get(f"{where}/download")).status_code == 200
            await asyncio.sleep(0.1)


async def nonsense_is_refused(alice: Person, dub: dict[str, Any]) -> None:
    """Each in one sentence, and nothing happens."""
    listed = (await segments(alice, dub))["segments"]
    first, second, last = listed[0], listed[1], listed[-1]
    said = {"edit": "translation", "id": first["id"], "text": "Bom dia."}
    for edits, words in (
        ([said | {"id": 999}], "no segment 999"),
        ([said | {"text": first["lines"][0]["text"]}], "change nothing"),
        ([said | {"language": "en"}], "no dub in English"),
        ([said, said | {"text": "Boa noite."}], "edited twice"),
        ([{"edit": "voice", "id": first["id"], "voice": "nobody"}], "no voice 'nobody'"),
        ([{"edit": "retime", "id": second["id"], "start_s": 0.1, "end_s": second["end_s"]}], "has ended"),
        ([{"edit": "retime", "id": last["id"], "start_s": last["start_s"], "end_s": 999}], "not after the sound"),
        ([{"edit": "split", "id": first["id"], "at_s": 900, "texts": ["a", "b"]}], "split it within"),
        ([{"edit": "merge", "id": last["id"]}], "the last one"),
        ([{"edit": "merge", "id": first["id"]}, said], "edited twice"),
    ):
        status, detail = await refused(alice, dub, *edits)
        assert (status, words in detail) == (422 if "voice" in words else 400, True), detail
    for text in ("", "   ", "a\nb", "x" * 1001):
        assert (await refused(alice, dub, said | {"text": text}))[0] == 400
    assert (await refused(alice, dub, said, version=2))[0] == 404
    status = (await alice.http.get(f"/api/v1/jobs/{dub['id']}")).json()
    assert (status["status"], status["version"]) == ("completed", 1)


async def test_a_line_that_is_edited_costs_one_call_and_leaves_the_version_before(
    alice: Person,
    dub: dict[str, Any],
    journal: Journal,  # noqa: F811
) -> None:
    before = await segments(alice, dub)
    first, *others = before["segments"]
    assert (before["version"], before["versions"], before["total"]) == (1, 1, len(others) + 1)
    assert first["lines"][0]["text"] == f"pt: {first['text']}"
    old, _, _ = await fetched(alice, dub, "dub.flac")
    asked = len(journal.read())
    now = await edited(alice, dub, {"edit": "translation", "id": first["id"], "text": "Bom dia."})
    assert [(call.stage, call.items) for call in journal.read()[asked:]] == [("synthesize", ["Bom dia."])]
    after = await segments(alice, dub)
    assert (after["version"], after["versions"]) == (2, 2)
    assert after["segments"][0]["lines"][0] | {"text": "", "by_hand": False} != first["lines"][0] | {"text": ""}
    assert (after["segments"][0]["lines"][0]["text"], after["segments"][0]["lines"][0]["by_hand"]) == ("Bom dia.", True)
    assert after["segments"][1:] == others
    assert artifacts(now) == artifacts(dub)
    assert (await fetched(alice, now, "pt.srt"))[0].count(b"Bom dia.") == 1
    new, _, _ = await fetched(alice, now, "dub.flac")
    assert new != old
    versions = (await alice.http.get(f"/api/v1/jobs/{dub['id']}/versions")).json()["versions"]
    assert [(one["number"], one["base"], len(one["edits"])) for one in versions] == [(2, 1, 1), (1, None, 0)]
    for one, content in zip(versions, (new, old), strict=True):
        assert (await alice.http.get(one["artifacts"][0]["url"])).content == content
    assert (await segments(alice, dub, version=1))["segments"] == before["segments"]
    assert (await alice.http.get(f"/api/v1/jobs/{dub['id']}/download?version=3")).status_code == 404
    status, detail = await refused(alice, dub, {"edit": "translation", "id": first["id"], "text": "Boa noite."})
    assert (status, "Version 1 was read, and the newest is 2" in detail) == (409, True), "somebody was faster"


async def test_what_was_heard_is_translated_anew_wherever_it_is_changed(
    alice: Person,
    dub: dict[str, Any],
    journal: Journal,  # noqa: F811
) -> None:
    first, second, *_ = (await segments(alice, dub))["segments"]
    now = await edited(alice, dub, {"edit": "transcript", "id": first["id"], "text": "Good morning."})
    assert next(one["lines"][0]["text"] for one in (await segments(alice, now))["segments"]) == "pt: Good morning."
    middle = round((second["start_s"] + second["end_s"]) / 2, 2)
    asked = len(journal.read())
    split = {"edit": "split", "id": second["id"], "at_s": middle, "texts": ["Ladies", "and gentlemen."]}
    now = await edited(alice, now, split, version=2)
    stages = [call.stage for call in journal.read()[asked:]]
    assert (stages.count("translate"), stages.count("transcribe")) == (2, 0)
    parts = (await segments(alice, now))["segments"]
    assert [one["index"] for one in parts] == list(range(len(parts)))
    assert [one["lines"][0]["text"] for one in parts[1:3]] == ["pt: Ladies", "pt: and gentlemen."]
    assert (parts[1]["end_s"], parts[2]["start_s"], parts[1]["id"]) == (middle, middle, second["id"])
    assert parts[2]["id"] not in {one["id"] for one in (await segments(alice, now, version=2))["segments"]}
    now = await edited(alice, now, {"edit": "merge", "id": second["id"]}, version=3)
    whole = (await segments(alice, now))["segments"][1]
    assert (whole["text"], whole["start_s"], whole["end_s"]) == (
        "Ladies and gentlemen.",
        second["start_s"],
        second["end_s"],
    )


async def test_nonsense_is_refused_and_a_segment_is_moved_and_spoken_by_somebody_else(
    alice: Person, streamed: dict[str, Any], runtime: Runtime
) -> None:
    dub = streamed
    await nonsense_is_refused(alice, dub)
    first, second, *_ = (await segments(alice, dub))["segments"]
    voices = (await alice.http.get("/api/v1/voices?language=pt")).json()["voices"]
    other = next(voice["id"] for voice in voices if voice["id"] != first["lines"][0]["voice"])
    later = {"edit": "retime", "id": second["id"], "start_s": second["start_s"] + 0.3, "end_s": second["end_s"]}
    now = await edited(alice, dub, {"edit": "voice", "id": first["id"], "voice": other}, later)
    there = (await segments(alice, now))["segments"]
    assert [one["lines"][0]["voice"] for one in there[:2]] == [other, second["lines"][0]["voice"]]
    assert there[1]["start_s"] == pytest.approx(second["start_s"] + 0.3)
    assert there[1]["lines"][0]["start_s"] >= there[1]["start_s"]
    assert there[0]["slot_end_s"] == there[1]["start_s"]
    master = await alice.http.get(f"/api/v1/jobs/{dub['id']}/stream/index.m3u8")
    epoch = (await runtime.jobs.get(UUID(now["id"]), alice.id)).artifacts[0].key.split("/")[3]
    assert f"{epoch}/dub.m3u8" in master.text


async def test_a_job_without_segments_says_so(alice: Person) -> None:
    source = await upload(alice, SPEECH, "audio")
    wish = {"upload_id": source["id"], "target_language": "pt"}
    waiting = (await alice.http.post("/api/v1/jobs/audio-translate/create", json=wish)).json()
    written = await finished(alice, "subtitle-generate", upload_id=source["id"])
    for job, words in ((waiting, "The job is pending"), (written, "No segments are kept")):
        answer = await alice.http.get(f"/api/v1/jobs/{job['id']}/segments")
        assert (answer.status_code, words in answer.json()["detail"]) == (409, True)
        assert (await refused(alice, job, {"edit": "merge", "id": 0}))[0] == 409


async def test_of_a_video_only_the_sound_around_an_edit_is_encoded_again(
    alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await upload(alice, TALK, "video")
    job = await finished(alice, "video-translate", upload_id=source["id"], target_language="en", source_language="pt")
    listed = (await segments(alice, job))["segments"]
    middle = listed[len(listed) // 2]
    (tmp_path / "1.mp4").write_bytes((await fetched(alice, job, "dub.mp4"))[0])
    edit = {"edit": "translation", "id": middle["id"], "text": "Good morning to you all."}
    now = await edited(alice, job, edit)
    (tmp_path / "2.mp4").write_bytes((await fetched(alice, now, "dub.mp4"))[0])

    def whole(*_: object, **__: object) -> dict[Language, Revision]:
        return {}

    monkeypatch.setattr(redubbing, "revisions", whole)
    again = await edited(alice, now, edit | {"text": "Good morning to all of you."}, version=2)
    await edited(alice, again, edit, version=3)
    (tmp_path / "4.mp4").write_bytes((await fetched(alice, now, "dub.mp4"))[0])

    before, spliced, anew = (packets(tmp_path / f"{n}.mp4") for n in (1, 2, 4))
    assert spliced["video"] == before["video"]
    assert [time for time, _ in spliced["audio"]] == [time for time, _ in before["audio"]]
    other = [n for n, (one, two) in enumerate(zip(before["audio"], spliced["audio"], strict=True)) if one[1] != two[1]]
    assert 0 < len(other) < len(before["audio"]) / 3
    first_s, last_s = (other[at] * 1024 / 48_000 for at in (0, -1))
    assert middle["start_s"] - 4 < first_s < last_s < middle["end_s"] + 8
    assert len(anew["audio"]) == len(spliced["audio"])
    heard, wanted = (decoded(tmp_path / f"{n}.mp4") for n in (2, 4))
    assert heard.shape == wanted.shape
    assert np.abs(heard - wanted).max() < 0.05


def packets(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Time and content of the packets of the picture and of the dub."""
    found: dict[str, list[tuple[int, bytes]]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        streams = [container.streams.video[0], container.streams.audio[0]]
        for packet in container.demux(streams):
            if packet.size and packet.pts is not None:
                found[packet.stream.type].append((packet.pts, bytes(packet)))
    return found


def decoded(path: Path) -> np.ndarray:
    """The dub, shape (channels, n)."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


FILM = """\
1
00:00:02,000 --> 00:00:04,000
<i>A first line of this film.</i>

2
00:00:10,000 --> 00:00:13,000
And a second one
that goes on.

3
00:00:20,000 --> 00:00:23,000
The last of them.
"""


@pytest.mark.parametrize("over_a_video", [False, True])
async def test_spoken_subtitles_are_edited_like_a_dub(
    alice: Person,
    journal: Journal,  # noqa: F811
    tmp_path: Path,
    over_a_video: bool,
) -> None:
    path = tmp_path / "film.srt"
    path.write_text(FILM)
    source = await upload(alice, path, "subtitle")
    words = "Bom dia, vista." if over_a_video else "Bom dia, som."  # said once: what is said again is in the cache
    wish: dict[str, Any] = {"upload_id": source["id"], "target_language": "pt", "source_language": "en"}
    if over_a_video:
        wish["video_upload_id"] = (await upload(alice, TALK, "video"))["id"]
    job = await finished(alice, "subtitle-to-audio", **wish)
    name = "dub.mp4" if over_a_video else "dub.m4a"
    assert artifacts(job) == [name, "pt.srt", "report.json"]
    before = await segments(alice, job)
    assert [one["text"] for one in before["segments"]] == [
        "A first line of this film.",
        "And a second one that goes on.",
        "The last of them.",
    ]
    assert [one["start_s"] for one in before["segments"]] == [2.0, 10.0, 20.0]
    first, second, third = before["segments"]
    old = (await fetched(alice, job, name))[0]

    asked = len(journal.read())
    now = await edited(alice, job, {"edit": "translation", "id": first["id"], "text": words})
    assert [(call.stage, call.items) for call in journal.read()[asked:]] == [("synthesize", [words])]
    assert artifacts(now) == [name, "pt.srt", "report.json"]
    told = (await fetched(alice, now, "pt.srt"))[0].decode()
    assert f"00:00:02,000 --> 00:00:04,000\n<i>{words}</i>" in told, "the file as it was, with other words"
    new = (await fetched(alice, now, name))[0]
    assert new != old
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}/download?version=1")).content == old
    assert (await segments(alice, now))["segments"][1:] == [second, third]

    merge = {"edit": "merge", "id": second["id"]}
    now = await edited(alice, now, merge, version=2)
    assert artifacts(now) == [name, "pt.srt", "pt.vtt", "report.json"], "no cue of the file has these times"
    after = (await segments(alice, now))["segments"]
    assert [(one["id"], one["start_s"], one["end_s"]) for one in after] == [
        (first["id"], 2.0, first["end_s"]),
        (second["id"], 10.0, third["end_s"]),
    ]
    assert after[1]["lines"][0]["text"] == f"pt: {after[1]['text']}"
    status, detail = await refused(
        alice, now, {"edit": "retime", "id": second["id"], "start_s": 10, "end_s": 900}, version=3
    )
    assert (status, "not after the sound" in detail) == (400, True)


async def test_subtitles_spoken_in_their_own_language_are_edited(alice: Person, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(FILM)
    source, video = await upload(alice, path, "subtitle"), await upload(alice, TALK, "video")
    wish = {"upload_id": source["id"], "source_language": "pt", "video_upload_id": video["id"]}
    job = await finished(alice, "subtitle-to-audio", target_language="pt", **wish)
    assert artifacts(job) == ["dub.mp4", "report.json"]
    [first, *_] = (await segments(alice, job))["segments"]
    now = await edited(alice, job, {"edit": "transcript", "id": first["id"], "text": "Bom dia."})
    assert artifacts(now) == ["dub.mp4", "pt.srt", "report.json"]
    for version in (1, 2):
        content = (await alice.http.get(f"/api/v1/jobs/{job['id']}/download?version={version}")).content
        (tmp_path / "dub.mp4").write_bytes(content)
        with av.open(str(tmp_path / "dub.mp4")) as film:
            # The same words twice would only be a choice that is none.
            assert len(film.streams.subtitles) == 1
            assert len(film.streams.video) == 1
