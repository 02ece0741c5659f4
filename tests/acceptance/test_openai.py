"""OpenAI's own client on the real stack: what a voice says is understood again."""

import io
import wave
from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI

from octavia_stream.cli.client import local_credentials
from tests.acceptance.conftest import DATA, Running

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(300),
]

SENTENCE = "The quick brown fox jumps over the lazy dog."


@pytest.fixture
async def client(real_stack: Running) -> AsyncIterator[AsyncOpenAI]:
    known = local_credentials(real_stack.home)
    async with httpx.AsyncClient(base_url=real_stack.url) as http:
        answer = await http.post("/api/v1/auth/log-in", json={"email": known.email, "password": known.password})
    token = answer.json()["access_token"]
    async with AsyncOpenAI(base_url=f"{real_stack.url}/v1", api_key=token, timeout=120) as opened:
        yield opened


async def test_a_talk_is_understood(client: AsyncOpenAI) -> None:
    heard = await client.audio.transcriptions.create(
        file=DATA / "speech" / "en" / "jfk.flac",
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert "ask not what your country can do for you" in heard.text
    assert heard.language == "english"
    assert heard.words is not None
    assert [word.word.strip(",") for word in heard.words][:4] == ["And", "so", "my", "fellow"]


async def test_what_is_spoken_is_understood(client: AsyncOpenAI) -> None:
    spoken = await client.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE, response_format="mp3")
    said = io.BytesIO(spoken.content)
    said.name = "said.mp3"
    events = await client.audio.transcriptions.create(file=said, model="whisper-1", language="en", stream=True)
    last = [event async for event in events][-1]
    assert last.type == "transcript.text.done"
    assert "brown fox jumps over the lazy dog" in last.text.lower()
    plain = await client.audio.speech.create(model="tts-1", voice="echo", input="Ready.", response_format="wav")
    with wave.open(io.BytesIO(plain.content)) as file:
        assert file.getframerate() == 24_000
