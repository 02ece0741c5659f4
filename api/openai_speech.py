"""`POST /v1/audio/speech`: a text, read aloud."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.response import ServerSentEvent, Stream

from api.auth import PROTECTED
from api.identity import for_keys
from api.openai_calls import as_events, exchange, opened, unless_they_leave
from api.openai_errors import openai_problems
from api.openai_models import choose_voice
from api.services import OwnerId, TheServices
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.dubbing.reading import expected_s
from octavia_stream.errors import InvalidRequest
from octavia_stream.instant.call import Call, Reply, Sound, Speak
from octavia_stream.instant.charges import SPEAKING
from octavia_stream.media.sound_writer import CONTENT_TYPES, SpokenFormat

MAX_CHARACTERS = 4096
QUOTED_RATIO = 2.0
"""Held for this many times what reading is expected to take; charged is what it took."""
QUOTED_LEAST_S = 5.0


class VoiceReference(msgspec.Struct, frozen=True):
    """A voice by its id."""

    id: Annotated[str, msgspec.Meta(max_length=100)]


class SpeechRequest(msgspec.Struct, frozen=True):
    """What to read, and how. Fields that this server does not know have no effect."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    input: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]
    voice: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | VoiceReference
    """A voice of `GET /api/v1/voices`, or one of OpenAI's names."""
    response_format: SpokenFormat = "mp3"
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: Annotated[str, msgspec.Meta(max_length=MAX_CHARACTERS)] | None = None
    """Taken, and of no effect: the voices here read as they read."""
    language: Annotated[str, msgspec.Meta(min_length=2, max_length=35)] | None = None
    """Ours: the language of the text, where `voice` is one of OpenAI's names; else English."""


class SpeechDelta(msgspec.Struct, frozen=True, tag_field="type", tag="speech.audio.delta"):
    """The next bytes, in Base64."""

    audio: str


class SpeechUsage(msgspec.Struct, frozen=True):
    """What was counted: characters in, and seconds of speech out."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDone(msgspec.Struct, frozen=True, tag_field="type", tag="speech.audio.done"):
    """That was all."""

    usage: SpeechUsage


def _answers() -> dict[int, ResponseSpec]:
    return {
        200: ResponseSpec(bytes, description="The speech.", media_type="*/*", generate_examples=False),
        **openai_problems(402, 404, 429),
    }


@post(
    "/audio/speech",
    operation_id="openaiCreateSpeech",
    summary="Read a text aloud (OpenAI)",
    opt=for_keys("audio:write"),
    security=PROTECTED,
    status_code=200,
    responses=_answers(),
)
async def create_speech(
    data: JSONBody[SpeechRequest], request: Request[UUID, Any, State], owner_id: OwnerId, services: TheServices
) -> Response[Any]:
    """Sent as it is spoken, sentence by sentence; or as events with `stream_format` `sse`."""
    if not data.input.strip():
        raise InvalidRequest("There is nothing to say in this text.")
    name = data.voice if isinstance(data.voice, str) else data.voice.id
    voice = choose_voice(services, data.model, name, data.language)
    ask = Speak(data.input, voice.id, data.speed, data.response_format)
    quoted_s = QUOTED_LEAST_S + QUOTED_RATIO * expected_s(data.input, voice, data.speed)
    replies = exchange(services.runtime, owner_id, Call(uuid7(), ask), SPEAKING, quoted_s, told_at_once=True)
    begun = await unless_they_leave(request, opened(replies))
    if data.stream_format == "sse":
        return ServerSentEvent(as_events(begun, lambda reply: _event(reply, len(data.input)), request.url.path))
    return Stream(_bytes(begun), media_type=CONTENT_TYPES[data.response_format])


async def _bytes(replies: AsyncGenerator[Reply]) -> AsyncGenerator[bytes]:
    async with aclosing(replies):
        async for reply in replies:
            if isinstance(reply, Sound):
                yield reply.data


def _event(reply: Reply, characters: int) -> SpeechDelta | SpeechDone:
    if isinstance(reply, Sound):
        return SpeechDelta(base64.b64encode(reply.data).decode())
    seconds = round(getattr(reply, "seconds", 0.0))
    return SpeechDone(SpeechUsage(characters, seconds, characters + seconds))
