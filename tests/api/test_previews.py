"""Thumbnails and peaks of uploads: made in the jail, kept beside the upload, gone with it."""

import asyncio
import io

import av
import numpy as np
import pytest

from octavia_stream.runtime import Runtime
from tests.api.conftest import DATA, Person, upload_video

pytestmark = pytest.mark.services

JPEG = b"\xff\xd8\xff"


async def _kept(runtime: Runtime) -> set[str]:
    return {found.key async for found in runtime.objects.list("previews")}


async def _upload(somebody: Person, path: str, file_type: str) -> str:
    content = await asyncio.to_thread((DATA / path).read_bytes)
    answer = await somebody.http.post(f"/api/v1/upload?file_type={file_type}", files={"file": ("a", content)})
    assert answer.status_code == 201, answer.text
    return f"/api/v1/uploads/{answer.json()['id']}"


async def test_a_video_has_a_picture_and_a_shape(alice: Person, bob: Person, runtime: Runtime) -> None:
    upload = await upload_video(alice)
    path = f"/api/v1/uploads/{upload['id']}"
    picture = await alice.http.get(f"{path}/thumbnail")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.content.startswith(JPEG)
    with av.open(io.BytesIO(picture.content), "r") as opened:
        frame = next(opened.decode(video=0))
    assert 2 <= frame.width <= 640
    pixels = frame.to_ndarray(format="gray")
    assert pixels.std() > 5, "a flat picture shows nothing"
    peaks = (await alice.http.get(f"{path}/peaks")).json()
    assert (peaks["version"], peaks["bits"], peaks["channels"]) == (2, 8, 1)
    assert len(peaks["data"]) == 2 * peaks["length"]
    seconds = peaks["length"] * peaks["samples_per_pixel"] / peaks["sample_rate"]
    assert seconds == pytest.approx(upload["duration_s"], abs=0.5)
    lows, highs = np.array(peaks["data"]).reshape(-1, 2).T
    assert (lows <= highs).all()
    assert highs.max() > 10
    assert {key.rpartition("/")[2] for key in await _kept(runtime)} == {"thumbnail.jpg", "peaks.json"}
    for what in ("thumbnail", "peaks"):
        assert (await bob.http.get(f"{path}/{what}")).status_code == 404
        again = await alice.http.get(f"{path}/{what}")
        assert again.headers["cache-control"].startswith("private")
    await alice.http.delete(path)
    assert await _kept(runtime) == set()


async def test_the_shape_of_four_minutes_is_no_larger_than_that_of_one(alice: Person) -> None:
    path = await _upload(alice, "speech/en/lj_printing_4min.flac", "audio")
    peaks = (await alice.http.get(f"{path}/peaks")).json()
    assert 2000 < peaks["length"] <= 4097
    assert (await alice.http.get(f"{path}/thumbnail")).status_code == 404


async def test_subtitles_have_neither(alice: Person) -> None:
    text = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"
    answer = await alice.http.post("/api/v1/upload?file_type=subtitle", files={"file": ("a.srt", text)})
    path = f"/api/v1/uploads/{answer.json()['id']}"
    for what in ("thumbnail", "peaks"):
        refusal = await alice.http.get(f"{path}/{what}")
        assert (refusal.status_code, refusal.json()["code"]) == (404, "not_found")
