"""The three ports over Serve handles: a call that fails in Ray's way fails in ours here."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NoReturn, Protocol, TypeAlias, cast

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from deployments.capacity import StageServers
from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import EngineUnavailable, OctaviaError, Overloaded
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation
from octavia_stream.telemetry.context import carried
from octavia_stream.tts.voice import Voice

Handle: TypeAlias = DeploymentHandle[Any]


class _Response(Protocol):
    """One call under way; `cancel` has no types in Ray."""

    def __await__(self) -> Generator[Any, None, Any]: ...

    def cancel(self) -> None: ...


class HandleTranscriber:
    """`Transcriber` over the deployment `Asr`."""

    def __init__(
        self, handle: Handle, deadline_s: float, servers: StageServers | None = None, *, live: bool = False
    ) -> None:
        """servers, live: as `call` takes them."""
        self._live = live
        self._method = handle.options(method_name="transcribe")
        self._deadline_s = deadline_s
        self._servers = servers

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        answer: Transcript = await call(
            self._method,
            self._deadline_s,
            "speech recognition",
            audio,
            language,
            task,
            carried(),
            servers=self._servers,
            live=self._live,
        )
        return answer


class HandleTranslator:
    """`Translator` over the deployment `Mt`."""

    def __init__(
        self, handle: Handle, deadline_s: float, servers: StageServers | None = None, *, live: bool = False
    ) -> None:
        """servers, live: as `call` takes them."""
        self._live = live
        self._method = handle.options(method_name="translate")
        self._deadline_s = deadline_s
        self._servers = servers

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        answer: list[Translation] = await call(
            self._method,
            self._deadline_s,
            "translation",
            list(sentences),
            source,
            target,
            hypotheses,
            carried(),
            servers=self._servers,
            live=self._live,
        )
        return answer


class HandleSynthesizer:
    """`Synthesizer` over the deployment `Tts`."""

    def __init__(
        self, handle: Handle, deadline_s: float, servers: StageServers | None = None, *, live: bool = False
    ) -> None:
        """servers, live: as `call` takes them."""
        self._live = live
        self._method = handle.options(method_name="synthesize")
        self._deadline_s = deadline_s
        self._servers = servers

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        answer: AudioChunk = await call(
            self._method,
            self._deadline_s,
            "speech synthesis",
            text,
            voice,
            speed,
            carried(),
            servers=self._servers,
            live=self._live,
        )
        return answer


def engines(
    asr: Handle, mt: Handle, tts: Handle, servers: Mapping[Stage, StageServers], *, live: bool = False
) -> Engines:
    """The three ports, each with its own deadline. live: as `call` takes it."""
    heard, translated, spoken = servers["transcribe"], servers["translate"], servers["synthesize"]
    return Engines(
        HandleTranscriber(asr, heard.replicas.deadline_s, heard, live=live),
        HandleTranslator(mt, translated.replicas.deadline_s, translated, live=live),
        HandleSynthesizer(tts, spoken.replicas.deadline_s, spoken, live=live),
    )


async def call(
    method: Handle,
    deadline_s: float,
    what: str,
    *arguments: object,
    servers: StageServers | None = None,
    live: bool = False,
) -> Any:
    """Make one call and wait for its answer; no retries.

    servers: who answers; they are told what waits behind the call, and may all be asleep. None: neither.
    live: somebody is listening; the replica answers it before what it has of jobs.
    Cancelled or late, the call is cancelled in the replica too. Raises EngineUnavailable, Overloaded, or
    the OctaviaError that the deployment raised.
    """
    told: dict[str, object] = {} if servers is None else {"backlog": servers.backlog()}
    if live:
        told["live"] = True
    response = cast(_Response, method.remote(*arguments, **told))
    try:
        async with asyncio.timeout(deadline_s):
            return await response
    except TimeoutError as error:
        response.cancel()
        if servers is not None and not servers.running:
            # No fault of the call's: there is nobody yet who could have failed at it.
            raise Overloaded(f"The {what} server is still being started.") from error
        raise EngineUnavailable(f"The {what} server did not answer within {deadline_s:.0f} s.") from error
    except asyncio.CancelledError:
        response.cancel()
        raise
    except (OctaviaError, RayError, RayServeException, RequestCancelledError) as error:
        _raise_ours(error, what)


def _raise_ours(error: Exception, what: str) -> NoReturn:
    """Ray raises what a replica raised as an error of two classes: Ray's and the original's."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, OctaviaError):
            raise cause from None
        raise EngineUnavailable(f"The {what} server broke on this call.") from error
    if isinstance(error, OctaviaError):
        raise error
    if isinstance(error, BackPressureError):
        raise Overloaded(f"The {what} server's queue is full; try again later.") from error
    raise EngineUnavailable(f"The {what} server is gone or restarting.") from error
