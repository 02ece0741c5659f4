"""OpenAI's own client, pointed at this server; the engines follow a script."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI

from octavia_stream.config import Settings, TierSettings
from octavia_stream.dubbing.engines import Engines, local
from octavia_stream.dubbing.reading import expected_s
from octavia_stream.errors import QuotaExceeded
from octavia_stream.instant import switchboard
from octavia_stream.instant.answering import CallServer
from octavia_stream.instant.call import Alive
from octavia_stream.instant.charges import SPEAKING, CallCharges
from octavia_stream.instant.tidying import PREFIX, tidy
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.quotas.quotas import Quotas
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import alike
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.tts.voice import Voice
from tests.api.conftest import Person, eventually, person

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

TALK = Path(__file__).parents[1] / "data" / "speech" / "en" / "jfk.flac"
TALK_S = 11.0
BREAKS = "This breaks."
FORMATS = {"mp3": b"\xff", "opus": b"OggS", "aac": b"\xff", "flac": b"fLaC", "wav": b"RIFF", "pcm": b""}


def scripted(pause_s: float = 0.0) -> Engines:
    return local(
        ScriptedTranscriber(pause_s), ScriptedTranslator(pause_s), ScriptedSynthesizer(pause_s, fail_on=BREAKS)
    )


@asynccontextmanager
async def answering(runtime: Runtime, engines: Engines) -> AsyncIterator[None]:
    """A worker that answers calls, as a replica of the JobWorker has one."""
    registry = Registry(runtime.settings.models, runtime.settings.home)
    task = asyncio.create_task(CallServer(runtime, alike(engines), registry).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True)
class House:
    """A server of its own database and settings, and somebody in it."""

    runtime: Runtime
    somebody: Person
    client: AsyncOpenAI


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "billing": settings.billing.model_copy(update={"enabled": True, "free_credits": 1000}),
            "openai": settings.openai.model_copy(
                update={"patience_s": 2.0, "calls_per_account": 3, "max_upload_bytes": 2_000_000}
            ),
        }
    )


@pytest.fixture(scope="module")
async def house(settings: Settings, runtime: Runtime, address: str) -> AsyncIterator[House]:
    async with person(address) as somebody:
        made = await somebody.http.post("/api/v1/keys", json={"name": "openai", "scopes": ["audio:write"]})
        async with AsyncOpenAI(
            base_url=f"{address}/v1", api_key=made.json()["api_key"], max_retries=0, timeout=60
        ) as client:
            yield House(runtime, somebody, client)


async def balance(house: House) -> tuple[int, int]:
    found = (await house.somebody.http.get("/api/v1/billing/balance")).json()
    return found["balance"], found["held"]


async def settled(house: House) -> int:
    """The balance, once nothing is held any more."""

    async def free() -> bool:
        return (await balance(house))[1] == 0

    await eventually(free, "the hold was let go")
    return (await balance(house))[0]


async def test_models_are_those_installed_and_openai_s_names_for_them(house: House) -> None:
    names = [model.id async for model in await house.client.models.list()]
    assert {"whisper-1", "tts-1", "whisper-base"} <= set(names)


async def test_a_recording_is_written_down_in_every_format(house: House) -> None:
    before = await settled(house)
    async with answering(house.runtime, scripted()):
        ask = house.client.audio.transcriptions.create
        plain = await ask(file=TALK, model="whisper-1")
        assert plain.text.startswith("the quick brown fox jumps over the lazy dog.")
        assert plain.usage is not None
        assert plain.usage.type == "duration"
        assert plain.usage.seconds == pytest.approx(TALK_S, abs=0.1)
        text = await ask(file=TALK, model="whisper-base", response_format="text")
        assert str(text) == plain.text + "\n"
        srt = await ask(file=TALK, model="whisper-1", response_format="srt")
        assert str(srt).startswith("1\n00:00:0")
        vtt = await ask(file=TALK, model="whisper-1", response_format="vtt")
        assert str(vtt).startswith("WEBVTT\n")
        full = await ask(
            file=TALK,
            model="whisper-1",
            language="en",
            prompt="a name",
            temperature=0.2,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        assert full.language == "english"
        assert full.duration == pytest.approx(TALK_S, abs=0.1)
        assert full.words is not None
        assert full.segments is not None
        assert [word.word for word in full.words][:4] == ["the", "quick", "brown", "fox"]
        assert all(first.end <= second.start for first, second in zip(full.words, full.words[1:], strict=False))
        assert " ".join(segment.text for segment in full.segments) == full.text == plain.text
        only_words = await ask(
            file=TALK, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert only_words.segments is None
    # Five answers of eleven seconds each, at 3 credits a minute, each rounded up.
    assert before - await settled(house) == 6
    lines = (await house.somebody.http.get("/api/v1/billing/transactions")).json()["transactions"]
    assert (lines[0]["type"], lines[0]["amount"], lines[0]["reason"]) == ("capture", -1, "subtitle-generate")
    assert [one async for one in house.runtime.objects.list(PREFIX)] == []


async def test_a_recording_is_told_sentence_by_sentence(house: House) -> None:
    async with answering(house.runtime, scripted()):
        events = await house.client.audio.transcriptions.create(file=TALK, model="whisper-1", stream=True)
        found = [event async for event in events]
    assert [event.type for event in found[:-1]] == ["transcript.text.delta"] * (len(found) - 1)
    assert len(found) > 2
    done: Any = found[-1]
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in found[:-1]) == done.text  # type: ignore[union-attr]
    assert done.usage.seconds == pytest.approx(TALK_S, abs=0.1)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_whatever_is_spoken_is_translated_into_english(house: House) -> None:
    async with answering(house.runtime, scripted()):
        ask = house.client.audio.translations.create
        plain = await ask(file=TALK, model="whisper-1")
        full = await ask(file=TALK, model="whisper-1", response_format="verbose_json")
    assert plain.text == full.text
    assert "fox" in plain.text
    assert full.segments


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_text_is_spoken_in_every_format(house: House, kind: Any) -> None:
    async with answering(house.runtime, scripted()):
        spoken = await house.client.audio.speech.create(
            model="tts-1", voice="alloy", input="One sentence. And another one.", response_format=kind
        )
    content = spoken.content
    assert content.startswith(FORMATS[kind])
    assert len(content) > 1000
    if kind == "pcm":
        samples = np.frombuffer(content, "<i2")
        # The pause between two sentences is silent, the rest is a hum.
        assert np.abs(samples).max() > 1000
        assert (samples == 0).sum() > 0.2 * 24_000


async def test_speech_is_as_fast_as_it_is_wanted_and_charged_by_the_second(house: House) -> None:
    before = await settled(house)
    text = "This is read at four paces, and each is as long as it should be."
    lengths: dict[float, float] = {}
    async with answering(house.runtime, scripted()):
        for speed in (0.25, 1.0, 4.0):
            spoken = await house.client.audio.speech.create(
                model="tts-1", voice="echo", input=text, response_format="pcm", speed=speed
            )
            lengths[speed] = len(spoken.content) / 2 / 24_000
    assert lengths[0.25] == pytest.approx(4 * lengths[1.0], rel=0.02)
    assert lengths[4.0] == pytest.approx(lengths[1.0] / 4, rel=0.02)
    due = sum(-(-round(seconds * 1000) * 5 // 60_000) for seconds in lengths.values())
    assert before - await settled(house) == due


async def test_speech_comes_as_events_where_they_are_wanted(house: House, address: str) -> None:
    wish = {"model": "tts-1", "voice": {"id": "alloy"}, "input": "Ready.", "response_format": "wav"}
    headers = {"Authorization": f"Bearer {house.somebody.token}"}
    async with answering(house.runtime, scripted()):
        answer = await house.somebody.http.post(
            "/v1/audio/speech", json=wish | {"stream_format": "sse"}, headers=headers
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
    assert found[-1]["type"] == "speech.audio.done"
    sound = b"".join(base64.b64decode(event["audio"]) for event in found[:-1])
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getframerate() == 24_000


async def test_sound_comes_while_the_rest_is_still_being_spoken(house: House) -> None:
    text = " ".join(f"This is sentence number {number} of a longer text." for number in range(8))
    async with (
        answering(house.runtime, scripted(pause_s=0.2)),
        house.client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=text, response_format="pcm"
        ) as spoken,
    ):
        pieces = [piece async for piece in spoken.iter_bytes()]
    assert len(pieces) > 4


def refusals(house: House) -> Iterator[tuple[Any, type[openai.APIStatusError], str | None]]:
    transcribe, speak = house.client.audio.transcriptions.create, house.client.audio.speech.create
    yield transcribe(file=TALK, model="gpt-9"), openai.NotFoundError, "model_not_found"
    yield transcribe(file=b"no sound at all", model="whisper-1"), openai.BadRequestError, "media_rejected"
    yield transcribe(file=b"", model="whisper-1"), openai.BadRequestError, "invalid_request"
    yield transcribe(file=TALK, model="whisper-1", language="xx-nope"), openai.BadRequestError, "unsupported_language"
    bad_format: Any = "diarized_json"
    yield transcribe(file=TALK, model="whisper-1", response_format=bad_format), openai.BadRequestError, None
    yield speak(model="tts-1", voice="nobody", input="x"), openai.BadRequestError, "unsupported_language"
    yield speak(model="gpt-9", voice="alloy", input="x"), openai.NotFoundError, "model_not_found"
    yield speak(model="tts-1", voice="alloy", input="  "), openai.BadRequestError, "invalid_request"
    yield speak(model="tts-1", voice="alloy", input="x" * 4097), openai.BadRequestError, "invalid_request"
    yield speak(model="tts-1", voice="alloy", input="x", speed=9), openai.BadRequestError, "invalid_request"
    yield transcribe(file=b"x" * 2_100_000, model="whisper-1"), openai.APIStatusError, "media_too_large"


async def test_refusals_have_openai_s_shape(house: House) -> None:
    before = await settled(house)
    for call, kind, code in refusals(house):
        with pytest.raises(kind) as refused:
            await call
        body: Any = refused.value.body
        assert set(body) == {"message", "type", "param", "code"}, body
        assert code is None or body["code"] == code
    assert await settled(house) == before


async def test_who_has_no_key_is_told_so_in_openai_s_shape(address: str, house: House) -> None:
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="ok_live_nonsense", max_retries=0) as nobody:
        with pytest.raises(openai.AuthenticationError) as refused:
            await nobody.models.list()
        assert refused.value.code == "invalid_api_key"
    made = await house.somebody.http.post("/api/v1/keys", json={"name": "other", "scopes": ["jobs:read"]})
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key=made.json()["api_key"], max_retries=0) as other:
        with pytest.raises(openai.PermissionDeniedError):
            await other.models.list()
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/v1/nothing")).json()["error"]["code"] == "not_found"


async def test_an_engine_that_breaks_is_a_503_and_costs_nothing(house: House) -> None:
    before = await settled(house)
    async with answering(house.runtime, scripted()):
        with pytest.raises(openai.InternalServerError) as refused:
            await house.client.audio.speech.create(model="tts-1", voice="alloy", input=BREAKS)
    assert refused.value.status_code == 500 or refused.value.response.headers["retry-after"]
    assert await settled(house) == before


async def test_without_a_worker_nobody_waits_for_ever(house: House) -> None:
    before = await settled(house)
    with pytest.raises(openai.InternalServerError) as refused:
        await house.client.audio.speech.create(model="tts-1", voice="alloy", input="Is anybody there?")
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"]
    assert refused.value.code == "overloaded"
    assert await settled(house) == before
    # Nothing waits that nobody wants.
    async with answering(house.runtime, scripted()):
        await house.client.audio.speech.create(model="tts-1", voice="alloy", input="Now there is.")


async def test_one_account_cannot_take_every_place(house: House) -> None:
    async def attempt() -> int:
        try:
            await house.client.audio.speech.create(model="tts-1", voice="alloy", input="One of many.")
        except openai.APIStatusError as error:
            return error.status_code
        return 200

    async with answering(house.runtime, scripted(pause_s=1.0)):
        statuses = await asyncio.gather(*(attempt() for _ in range(6)))
    assert sorted(set(statuses)) == [200, 429]


async def test_a_worker_that_falls_silent_is_a_503_and_costs_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switchboard, "SILENCE_S", 1.0)
    before = await settled(house)
    asking = asyncio.create_task(house.client.audio.speech.create(model="tts-1", voice="alloy", input="Hello?"))
    call = await house.runtime.switchboard.take(10)
    assert call is not None
    await house.runtime.switchboard.reply(call.id, Alive())
    with pytest.raises(openai.InternalServerError) as refused:
        await asking
    assert (refused.value.status_code, refused.value.code) == (503, "engine_unavailable")
    assert not await house.runtime.switchboard.wanted(call.id)
    assert await settled(house) == before


async def test_a_worker_stops_when_the_client_has_gone_and_only_what_came_is_charged(house: House) -> None:
    before = await settled(house)
    text = " ".join(f"This is sentence number {number} of a text that is far too long." for number in range(50))
    synthesizer = ScriptedSynthesizer(0.3)
    heard = 0
    async with answering(house.runtime, local(ScriptedTranscriber(), ScriptedTranslator(), synthesizer)):
        async with house.client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=text, response_format="pcm"
        ) as spoken:
            async for piece in spoken.iter_bytes():
                heard += len(piece)
                if heard > 48_000:
                    break
        after = await settled(house)
    whole_s = expected_s(text, house_voice(house), 1.0)
    assert 1 <= before - after < whole_s * 5 / 60 / 2


def house_voice(house: House) -> Voice:
    registry = Registry(house.runtime.settings.models, house.runtime.settings.home)
    return registry.voices(Language("en"))[0]


async def test_what_killed_processes_leave_goes_by_itself(house: House) -> None:
    runtime, owner = house.runtime, house.somebody.id
    await runtime.objects.put(f"{PREFIX}/left", b"a recording")
    used = (await runtime.quotas.usage(runtime.pool, owner)).quota("sound_seconds").used
    charges = CallCharges(runtime.pool, runtime.charges.prices, runtime.quotas, runtime.settings.billing, 0.0)
    hold = await charges.hold(owner, uuid4(), SPEAKING, 60.0)
    assert hold is not None
    assert (await runtime.quotas.usage(runtime.pool, owner)).quota("sound_seconds").used == used + 60
    # The hold and the sound.
    assert await tidy(runtime.credits, charges, runtime.objects, timedelta(hours=1)) == 2
    assert (await runtime.quotas.usage(runtime.pool, owner)).quota("sound_seconds").used == used
    assert await runtime.objects.exists(f"{PREFIX}/left")
    assert await tidy(runtime.credits, charges, runtime.objects, timedelta(0)) == 1
    assert not await runtime.objects.exists(f"{PREFIX}/left")
    assert (await balance(house))[1] == 0


async def test_sound_that_is_answered_at_once_counts_in_the_quota(house: House, settings: Settings) -> None:
    runtime = house.runtime
    used = await runtime.quotas.usage(runtime.pool, house.somebody.id)
    # All that was heard and spoken above, and of what failed nothing.
    assert 60 < used.quota("sound_seconds").used < 600
    bounded = Quotas(settings.limits.model_copy(update={"standard": TierSettings(sound_minutes=1)}))
    charges = CallCharges(runtime.pool, runtime.charges.prices, bounded, runtime.settings.billing, 60.0)
    with pytest.raises(QuotaExceeded):
        await charges.hold(house.somebody.id, uuid4(), SPEAKING, 1.0)
