"""`POST /v1/audio/transcriptions` and `/translations`: what is said in a recording, written down."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.response import ServerSentEvent

from api.auth import PROTECTED
from api.bodies import body_of
from api.identity import for_keys
from api.multipart import IncomingFile, multipart_form
from api.openai_calls import as_events, exchange, opened, unless_they_leave
from api.openai_errors import openai_problems
from api.openai_models import list_models, require_hearing
from api.openai_speech import create_speech
from api.services import OwnerId, Services, TheServices
from api.transcript_formats import (
    TEXT_TYPES,
    DurationUsage,
    Granularity,
    TranscriptFormat,
    Transcription,
    timed_text,
    verbose,
    whole_text,
)
from octavia_stream.config import OpenAISettings
from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import EngineUnavailable, InvalidRequest, MediaRejected, MediaTooLarge
from octavia_stream.instant.call import Call, Finished, Heard, Reply, Transcribe
from octavia_stream.instant.charges import TRANSCRIBING
from octavia_stream.instant.tidying import PREFIX
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import Language, parse_language
from octavia_stream.media.info import MediaInfo
from octavia_stream.mt.routes import ENGLISH
from octavia_stream.uploads.arrival import inspect

MULTIPART = "multipart/form-data"
FORM_OVERHEAD_BYTES = 256 * 1024
"""What a form may weigh beyond its file."""
LEAST_BYTES_S = 1000
"""A recording that does not say how long it is has at least so many bytes a second, or is refused as too long."""
TOLERATED_RATIO = 2
TOLERATED_S = 5
"""Lengths in headers are estimates: so much more sound than was held for is let through."""


class TranscriptionForm(msgspec.Struct, frozen=True):
    """The fields of the form beside the file. Fields that this server does not know have no effect."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    language: Annotated[str, msgspec.Meta(max_length=35)] = ""
    """Of the recording, such as `pt`; empty: it is detected."""
    response_format: TranscriptFormat = "json"
    timestamp_granularities: list[Granularity] = []
    stream: bool = False
    prompt: str = ""
    """Taken, and of no effect."""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """Taken, and of no effect: decoding takes the likeliest words."""


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.delta"):
    """The next sentence."""

    delta: str


class TextDone(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.done"):
    """All of it."""

    text: str
    usage: DurationUsage


class TranscriptionOperation(Operation):
    """The form is read as a stream, so its schema is written here instead of derived."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        form = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "file": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
                "model": text,
                "language": text,
                "prompt": text,
                "response_format": Schema(type=OpenAPIType.STRING, enum=["json", "text", "srt", "verbose_json", "vtt"]),
                "temperature": Schema(type=OpenAPIType.NUMBER, minimum=0, maximum=1),
                "timestamp_granularities[]": Schema(type=OpenAPIType.ARRAY, items=text),
                "stream": Schema(type=OpenAPIType.BOOLEAN),
            },
            required=["file", "model"],
        )
        self.request_body = RequestBody(content={MULTIPART: OpenAPIMediaType(schema=form)}, required=True)


def _answers() -> dict[int, ResponseSpec]:
    return {
        200: ResponseSpec(bytes, description="In the format asked for.", media_type="*/*", generate_examples=False),
        **openai_problems(402, 404, 413, 429, 507),
    }


@post(
    "/audio/transcriptions",
    operation_id="openaiCreateTranscription",
    operation_class=TranscriptionOperation,
    summary="Write down what is said (OpenAI)",
    opt=for_keys("audio:write"),
    security=PROTECTED,
    status_code=200,
    responses=_answers(),
)
async def create_transcription(
    request: Request[UUID, Any, State], owner_id: OwnerId, services: TheServices
) -> Response[Any]:
    """In the language spoken. With `stream`, sentence by sentence as Server-Sent Events."""
    return await _answer(request, owner_id, services, into_english=False)


@post(
    "/audio/translations",
    operation_id="openaiCreateTranslation",
    operation_class=TranscriptionOperation,
    summary="Write down in English what is said (OpenAI)",
    opt=for_keys("audio:write"),
    security=PROTECTED,
    status_code=200,
    responses=_answers(),
)
async def create_translation(
    request: Request[UUID, Any, State], owner_id: OwnerId, services: TheServices
) -> Response[Any]:
    """As a transcription, in English whatever is spoken."""
    return await _answer(request, owner_id, services, into_english=True)


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recording that lies in storage until it is answered."""

    key: str
    size: int
    info: MediaInfo
    form: TranscriptionForm

    @property
    def quoted_s(self) -> float:
        """What is held for it, in seconds of sound."""
        return self.info.duration_s or self.size / LEAST_BYTES_S


async def _answer(
    request: Request[UUID, Any, State], owner_id: UUID, services: Services, *, into_english: bool
) -> Response[Any]:
    call_id = uuid7()
    replies = _replies(request, owner_id, services, call_id, into_english=into_english)
    # The first thing it says is the form.
    form = await anext(replies)
    if not isinstance(form, TranscriptionForm):
        raise InvalidRequest("The form holds no model.")
    rest = _only_replies(replies)
    if form.stream:
        begun = await unless_they_leave(request, opened(rest))
        teller = _Teller()
        return ServerSentEvent(as_events(begun, teller.event, request.url.path))
    heard, finished = await unless_they_leave(request, _gathered(rest))
    return _written(form, heard, finished, translated=into_english)


async def _replies(
    request: Request[UUID, Any, State], owner_id: UUID, services: Services, call_id: UUID, *, into_english: bool
) -> AsyncGenerator[TranscriptionForm | Reply]:
    """The form, then what the worker says; the recording is in storage for as long as this runs."""
    async with _received(request, services, call_id) as recording:
        form = recording.form
        require_hearing(services, form.model)
        ask = Transcribe(
            recording.key,
            choose_track(recording.info, None),
            parse_language(form.language) if form.language else None,
            into_english,
            _longest_s(services, recording),
        )
        yield form
        replies = exchange(
            services.runtime, owner_id, Call(call_id, ask), TRANSCRIBING, recording.quoted_s, told_at_once=form.stream
        )
        async with aclosing(replies):
            async for reply in replies:
                yield reply


async def _only_replies(replies: AsyncGenerator[TranscriptionForm | Reply]) -> AsyncGenerator[Reply]:
    async with aclosing(replies):
        async for reply in replies:
            if not isinstance(reply, TranscriptionForm):
                yield reply


def _longest_s(services: Services, recording: _Recording) -> int:
    """How much sound is listened to at most: not much more than was held for."""
    longest = services.runtime.settings.openai.max_duration_s
    if recording.info.duration_s > longest:
        raise MediaRejected(f"The recording is longer than {longest} s, the most this server takes here.")
    if not services.runtime.call_charges.enabled:
        return longest
    return min(longest, int(recording.quoted_s * TOLERATED_RATIO) + TOLERATED_S)


@asynccontextmanager
async def _received(request: Request[UUID, Any, State], services: Services, call_id: UUID) -> AsyncIterator[_Recording]:
    """Read the form and look at its file. Raises InvalidRequest, MediaRejected, MediaTooLarge, StorageFull."""
    runtime = services.runtime
    key = f"{PREFIX}/{call_id}"
    size = 0

    async def keep(incoming: IncomingFile) -> None:
        nonlocal size
        chunks = _bounded(incoming.chunks, runtime.settings.openai.max_upload_bytes)
        size = (await runtime.objects.put_stream(key, chunks)).size
        crash_point(CrashPoint.RECORDING_STORED)

    kind, options = request.content_type
    if kind != MULTIPART or not options.get("boundary"):
        raise InvalidRequest(f"Send a form, {MULTIPART}, with the fields 'file' and 'model'.")
    try:
        fields = await multipart_form(body_of(request), options["boundary"], keep)
        form = _form(fields)
        info = await inspect(runtime, key, "audio")
        if not isinstance(info, MediaInfo):
            raise MediaRejected("There is no sound in this file.")
        yield _Recording(key, size, info, form)
    finally:
        await runtime.objects.delete(key)


async def _bounded(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The same chunks. Raises MediaTooLarge past `limit` bytes, InvalidRequest when there are none."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise MediaTooLarge(f"The recording is larger than {limit} bytes, the most this server takes here.")
        yield chunk
    if not received:
        raise InvalidRequest("The file is empty.")


def _form(fields: dict[str, list[str]]) -> TranscriptionForm:
    """Raises InvalidRequest."""
    granularities = fields.get("timestamp_granularities[]", []) + fields.get("timestamp_granularities", [])
    single = {name: values[-1] for name, values in fields.items() if name in TranscriptionForm.__struct_fields__}
    try:
        form = msgspec.convert(single | {"timestamp_granularities": granularities}, TranscriptionForm, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The form is not valid: {error}.") from error
    if form.stream and form.response_format not in ("json", "text"):
        raise InvalidRequest("A stream has the response_format json.")
    return form


async def _gathered(replies: AsyncGenerator[Reply]) -> tuple[list[Heard], Finished]:
    heard: list[Heard] = []
    async with aclosing(replies):
        async for reply in replies:
            if isinstance(reply, Heard):
                heard.append(reply)
            elif isinstance(reply, Finished):
                return heard, reply
    raise EngineUnavailable("The worker ended without an answer; try again.")


def _written(form: TranscriptionForm, heard: list[Heard], finished: Finished, *, translated: bool) -> Response[Any]:
    language = ENGLISH if translated or finished.language is None else Language(finished.language)
    text = whole_text(heard, language)
    kind = form.response_format
    if kind == "text":
        return Response(text + "\n", media_type=TEXT_TYPES[kind])
    if kind in ("srt", "vtt"):
        return Response(timed_text(heard, finished.seconds, kind), media_type=TEXT_TYPES[kind])
    if kind == "verbose_json":
        found = verbose(heard, finished, text, form.timestamp_granularities, translated=translated)
        return Response(found, media_type="application/json")
    return Response(Transcription(text, DurationUsage(round(finished.seconds, 3))), media_type="application/json")


class _Teller:
    """What each reply is on the wire, and what was said until then."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def event(self, reply: Reply) -> TextDelta | TextDone:
        if isinstance(reply, Heard):
            delta = f" {reply.text}" if self._told else reply.text
            self._told.append(delta)
            return TextDelta(delta)
        seconds = reply.seconds if isinstance(reply, Finished) else 0.0
        return TextDone("".join(self._told), DurationUsage(round(seconds, 3)))


def openai_router(settings: OpenAISettings) -> Router:
    """The routes below `/v1`, with their own limit on bodies."""
    return Router(
        "/v1",
        route_handlers=[list_models, create_speech, create_transcription, create_translation],
        request_max_body_size=settings.max_upload_bytes + FORM_OVERHEAD_BYTES,
        tags=["openai"],
    )
