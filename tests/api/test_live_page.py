"""In real browsers: one speaks into a microphone that plays real speech, another hears the dub and reads it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from benchmarks.sound import read_track, write_wav
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import local
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.room import LiveRoom
from octavia_stream.live.state import RoomState
from octavia_stream.live.voices import CatalogueVoices
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.vad.silero import SileroDetector
from tests.api.test_live import hosting
from tests.chromium import chromium

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "en" / "jfk.flac"
PATIENCE_MS = 60_000
LOOPBACK = "--allow-loopback-in-peer-connection"
LOUDEST = """id => new Promise((done) => {
  const meter = document.getElementById(id);
  const look = () => (meter.value > -40 ? done(meter.value) : setTimeout(look, 50));
  look();
})"""


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """With a node that lets everybody in, on this machine alone."""
    return settings.model_copy(update={"live": settings.live.model_copy(update={"max_cpu": 0.0})})


def rooms(settings: Settings) -> Any:
    registry = Registry(settings.models, settings.home)
    voices, directory = CatalogueVoices(registry), registry.resolve("silero-v6").path
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer())

    def room(_: object, options: LiveOptions, state: RoomState | None) -> LiveRoom:
        return LiveRoom(options, engines, lambda: SileroDetector(directory), voices, state)

    return room


@pytest.fixture(scope="module")
async def pages(
    runtime: Runtime, settings: Settings, address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Page, Page]]:
    """The speaker's page and an empty one, in two browsers."""
    microphone = tmp_path_factory.mktemp("microphone") / "speech.wav"
    write_wav(microphone, (await read_track(SPEECH, 48_000)).sound)
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hosting(runtime, settings, rooms(settings)))
        speaking = await stack.enter_async_context(
            chromium(*fake, f"--use-file-for-fake-audio-capture={microphone}", LOOPBACK)
        )
        listening = await stack.enter_async_context(chromium(LOOPBACK))
        speaker, listener = await speaking.new_page(), await listening.new_page()
        await speaker.goto(f"{address}/live")
        yield speaker, listener


async def test_somebody_speaks_and_somebody_else_hears_and_reads_it(pages: tuple[Page, Page], runtime: Runtime) -> None:
    speaker, listener = pages
    wrong: list[str] = []
    for page in pages:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if _is_wrong(said) else None)
    await _begin(speaker)

    await expect(speaker.locator("#status")).to_have_text("You are live", timeout=PATIENCE_MS)
    await expect(_captions(speaker, "source", "en")).to_contain_text("fox", timeout=PATIENCE_MS)
    await expect(_captions(speaker, "target", "pt")).to_contain_text("pt:", timeout=PATIENCE_MS)
    assert await speaker.evaluate(LOUDEST, "level-in") > -40
    await speaker.select_option("#hear", "pt")
    assert await speaker.evaluate(LOUDEST, "level-out") > -40
    assert float((await speaker.inner_text("#lag")).removesuffix(" s")) > 0

    await listener.goto(str(await speaker.locator("#links a").evaluate("link => link.href")))
    await listener.click("#listen")
    await expect(listener.locator("#status")).to_have_text("Listening", timeout=PATIENCE_MS)
    await expect(_captions(listener, "target", "pt")).to_contain_text("pt:", timeout=PATIENCE_MS)
    assert await listener.evaluate(LOUDEST, "level-out") > -40

    await speaker.click("#stop")
    await expect(speaker.locator("#status")).to_have_text("Stopped", timeout=PATIENCE_MS)
    await expect(listener.locator("#status")).to_contain_text("over", timeout=PATIENCE_MS)
    [session] = await runtime.live.list_sessions(None, 10)
    assert (session.status, session.end_reason) == ("ended", "closed")
    assert session.heard_s > 1
    assert wrong == []


def _is_wrong(said: ConsoleMessage) -> bool:
    # Whoever leaves a session that has just ended is told that it is not there, and the browser notes that.
    return said.type == "error" and "404" not in said.text


async def _begin(page: Page) -> None:
    await page.fill("[name=email]", f"{uuid4().hex}@example.org")
    await page.fill("[name=password]", "correct horse battery")
    await page.click("[name=sign-up]")
    await page.check("[name=target][value=pt]", timeout=PATIENCE_MS)
    await page.select_option("[name=source]", "en")
    await page.click("#start")


def _captions(page: Page, kind: str, language: str) -> Any:
    return page.locator(f"[data-kind={kind}][data-language={language}]")
