"""A job is watched in a real browser while it renders: hls.js in Chromium, from the first segment to the last."""

import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Page

from octavia_stream.media.segments import LONGEST_S
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, eventually
from tests.api.test_streams import TALK, TALK_S, ended, started, watchable, working
from tests.chromium import HLS_JS, chromium

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

PAGE = """<!doctype html><video id="video" muted></video><script src="/hls.min.js"></script><script>
const video = document.getElementById("video");
const told = {fatal: [], stalls: []};
function watch(address, token) {
  window.hls = new Hls({xhrSetup: (xhr) => xhr.setRequestHeader("Authorization", `Bearer ${token}`)});
  hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) told.fatal.push(data.details); });
  hls.on(Hls.Events.LEVEL_UPDATED, (_, data) => { told.edge = data.details.edge; told.live = data.details.live; });
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
  video.addEventListener("waiting", () => told.stalls.push({at: video.currentTime, edge: told.edge, live: told.live}));
  hls.loadSource(address);
  hls.attachMedia(video);
}
function state() {
  const ranges = [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]);
  return {...told, at: video.currentTime, ended: video.ended, ranges, width: video.videoWidth, duration: video.duration,
    sounds: hls.audioTracks.map((track) => track.name), subtitles: hls.subtitleTracks.map((track) => track.lang),
    dropped: video.getVideoPlaybackQuality().droppedVideoFrames};
}
</script>"""


@pytest.fixture(scope="module")
async def page(address: str) -> AsyncIterator[Page]:
    """A page of the server's own origin that plays a stream."""
    async with chromium() as browser:
        page = await browser.new_page()
        await page.route("**/watch", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        await page.route("**/hls.min.js", lambda route: route.fulfill(path=HLS_JS))
        await page.goto(f"{address}/watch")
        yield page


@pytest.fixture(scope="module")
async def upload_id(alice: Person) -> str:
    files = {"file": ("talk.mp4", TALK.read_bytes())}
    answer: httpx.Response = await alice.http.post("/api/v1/upload?file_type=video", files=files)
    return str(answer.json()["id"])


async def test_a_browser_watches_a_job_from_its_first_segment_to_its_end(
    alice: Person, runtime: Runtime, upload_id: str, address: str, page: Page
) -> None:
    async def state() -> dict[str, Any]:
        found: dict[str, Any] = await page.evaluate("state()")
        return found

    async def waits_at_the_edge() -> bool:
        now = await state()
        return now["at"] > 0 and bool(now["stalls"]) and now["at"] > now["edge"] - LONGEST_S

    async def over() -> bool:
        return bool((await state())["ended"])

    gate = threading.Event()
    async with working(runtime, gate):
        where = await started(alice, upload_id)
        await watchable(alice, where)
        await page.evaluate(f"watch({address + where + '/stream/index.m3u8'!r}, {alice.token!r})")
        await page.evaluate("video.playbackRate = 8")
        # The voice waits at the gate, so the player reaches the end of what there is, and waits there.
        await eventually(waits_at_the_edge, "the player has played what is rendered", 90)
        early = await state()
        assert early["live"] is True
        assert early["at"] < TALK_S - LONGEST_S
        assert (await alice.http.get(where)).json()["status"] == "processing"
        gate.set()
        await ended(alice, where, "completed")
    await eventually(over, "the player has reached the end", 90)
    late = await state()
    assert late["fatal"] == []
    assert late["at"] == pytest.approx(TALK_S, abs=0.5)
    assert late["width"] > 0
    assert len(late["ranges"]) == 1, "there are no gaps between what came before and after the wait"
    # Each wait is one for the render: as far as the list went then, give or take the segment that was on its way.
    assert all(stall["at"] > stall["edge"] - LONGEST_S for stall in late["stalls"] if stall["live"])
    assert len(late["sounds"]) == 2
    assert len(late["subtitles"]) == 2


async def test_what_is_there_can_be_sought_and_the_original_be_chosen(page: Page) -> None:
    async def plays_on() -> bool:
        return bool(await page.evaluate("video.currentTime > 21 && hls.audioTrack === 1"))

    await page.evaluate("hls.audioTrack = 1; hls.subtitleTrack = 0; video.playbackRate = 2; video.currentTime = 20")
    await page.evaluate("video.play()")
    await eventually(plays_on, "the original plays after the seek", 60)
    cues = await page.evaluate("[...video.textTracks].flatMap((track) => [...(track.cues ?? [])]).length")
    assert cues > 0
    assert (await page.evaluate("told.fatal")) == []
