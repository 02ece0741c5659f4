"""The parent's side of the jail: every file of a user is opened in a child process that can do nothing else.

Layers: bubblewrap when the machine has it and it works, and inside it (or without it) what the child takes
from itself before it touches the file: Landlock, seccomp, rlimits, capabilities. See `child/confinement.py`.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

import octavia_stream
from octavia_stream.config import MediaSettings
from octavia_stream.errors import (
    DependencyUnavailable,
    EngineUnavailable,
    MediaProcessLost,
    MediaRejected,
    MediaTooLarge,
    OctaviaError,
    StorageFull,
)
from octavia_stream.media import wire

logger = logging.getLogger(__name__)

STRONG_LAYERS = frozenset({"bubblewrap", "landlock"})
"""Either of these keeps the child from other files; `require_jail` asks for one of them, and for no network."""
STEP_S = 60.0
"""How long the child may be silent, or deaf, within one step."""
_STDERR_BYTES = 4096
_ERRORS: dict[str, type[OctaviaError]] = {
    error.code: error for error in (MediaRejected, MediaTooLarge, StorageFull, DependencyUnavailable)
}
Answer = TypeVar("Answer")
_BOOT = (
    "import sys; sys.path[:] = sys.argv[1].split(chr(0x1f)); from octavia_stream.media.child.main import main; main()"
)


@dataclass(frozen=True, slots=True)
class JailStrength:
    """How strong the jail of this machine is."""

    description: str
    """One line for an operator."""
    layers: tuple[str, ...]
    strong: bool
    """Whether other files and the network are out of reach, which `media.require_jail` asks for."""


async def strength(settings: MediaSettings) -> JailStrength:
    """Start a child, let it confine itself, and say which layers hold."""
    async with Jail(wire.ConfineRequest(), settings.model_copy(update={"require_jail": False})) as jail:
        layers = (await jail.result(wire.Confinement)).layers
    strong = bool(STRONG_LAYERS & set(layers)) and bool({"bubblewrap", "seccomp"} & set(layers))
    verdict = "media is opened in a jail" if strong else "media is opened in a weak jail"
    return JailStrength(f"{verdict}: {', '.join(layers)}", layers, strong)


class Jail:
    """One confined child and its pipes; an async context manager that leaves no process behind."""

    def __init__(
        self,
        task: wire.Task,
        settings: MediaSettings,
        *,
        source: Path | None = None,
        earlier: Path | None = None,
        output_directory: Path | None = None,
        file_bytes: int = 0,
        cpu_s: int | None = None,
    ) -> None:
        """
        source: the only file the child may read, but for `earlier`, one that we made. output_directory: the only one
        it may write.
        file_bytes: the largest file it may write. cpu_s: its processor time, at most and by default what settings say.
        """
        self._source = source.absolute() if source else None
        self._earlier = earlier.absolute() if earlier else None
        self._output_directory = output_directory.absolute() if output_directory else None
        self._bubblewrap = find_bubblewrap()
        limits = wire.Limits(
            memory_bytes=settings.jail_memory_bytes,
            cpu_s=min(cpu_s or settings.jail_cpu_s, settings.jail_cpu_s),
            file_bytes=file_bytes,
            max_duration_s=settings.max_duration_s,
            max_streams=settings.max_streams,
            max_width=settings.max_width,
            max_height=settings.max_height,
        )
        self._request = wire.Request(
            task=task,
            limits=limits,
            require_jail=settings.require_jail,
            inside_bubblewrap=self._bubblewrap is not None,
            parent_pid=os.getpid(),
            source=os.fsencode(self._source) if self._source else None,
            output_directory=os.fsencode(self._output_directory) if self._output_directory else None,
            earlier=os.fsencode(self._earlier) if self._earlier else None,
        )
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: asyncio.Task[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the child (of bubblewrap, when that is around it)."""
        return self._child.pid

    @property
    def _child(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the jail is entered with `async with`")
        return self._process

    async def __aenter__(self) -> Self:
        command = child_command()
        if self._bubblewrap:
            command = (
                bubblewrap_command(self._bubblewrap, (self._source, self._earlier), self._output_directory) + command
            )
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                limit=wire.BLOCK_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineUnavailable("The process that reads media could not be started; a retry helps.") from error
        self._stderr = asyncio.create_task(self._read_stderr())
        try:
            request = msgspec.json.encode(self._request)
            await self.write(wire.LENGTH.pack(len(request)) + request)
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.kill()

    async def write(self, data: bytes) -> None:
        """Send samples; waits while the child is busy. Raises what ended the child, if it ended."""
        stdin = self._child.stdin
        assert stdin is not None  # noqa: S101  a pipe was asked for
        try:
            async with asyncio.timeout(STEP_S):
                stdin.write(data)
                await stdin.drain()
        except TimeoutError as error:
            raise MediaRejected("Writing the result took too long and was given up.") from error
        except (BrokenPipeError, ConnectionResetError):
            # The child says why on its stdout; whoever reads its result raises that.
            await self.close_stdin()
            await self._raise_its_error()

    async def close_stdin(self) -> None:
        """Tell the child that no more samples come."""
        stdin = self._child.stdin
        assert stdin is not None  # noqa: S101  a pipe was asked for
        stdin.close()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await stdin.wait_closed()

    async def frame(self, within_s: float = STEP_S) -> tuple[wire.FrameKind, bytes]:
        """The child's next frame. Raises its error, or what its death means."""
        stdout = self._child.stdout
        assert stdout is not None  # noqa: S101  a pipe was asked for
        try:
            async with asyncio.timeout(within_s):
                kind, length = wire.FRAME.unpack(await stdout.readexactly(wire.FRAME.size))
                if length > wire.BLOCK_BYTES:
                    raise MediaRejected("The file made its decoder answer nonsense.")
                payload = await stdout.readexactly(length)
        except TimeoutError as error:
            raise MediaRejected("Reading this file took too long and was given up.") from error
        except asyncio.IncompleteReadError:
            raise await self._death() from None
        if kind == wire.FrameKind.ERROR:
            failure = msgspec.json.decode(payload, type=wire.Failure)
            raise _ERRORS[failure.code](failure.message)
        return wire.FrameKind(kind), payload

    async def result(self, kind: type[Answer], within_s: float = STEP_S) -> Answer:
        """The child's last frame, decoded."""
        frame_kind, payload = await self.frame(within_s)
        if frame_kind is not wire.FrameKind.RESULT:
            raise MediaRejected("The file made its decoder answer nonsense.")
        return msgspec.json.decode(payload, type=kind)

    async def kill(self) -> None:
        """End the child, whatever it does. May be called twice."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Popen.kill() polls first, and would take the exit status away from asyncio.
                os.kill(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None:
            # A paused pipe would keep wait() from returning.
            while await process.stdout.read(wire.BLOCK_BYTES):
                pass
        await process.wait()
        if self._stderr is not None and (stderr := await self._stderr):
            logger.debug("media child said: %s", stderr.decode(errors="replace"))

    async def _raise_its_error(self) -> None:
        while True:
            await self.frame()

    async def _death(self) -> OctaviaError:
        """What the exit status means."""
        status = await self._child.wait()
        stderr = await self._stderr if self._stderr else b""
        logger.warning("media child ended with status %d: %s", status, stderr.decode(errors="replace"))
        # Bubblewrap reports a signal n as 128 + n.
        number = -status if status < 0 else status - 128
        if number == signal.SIGXCPU:
            return MediaTooLarge("The file takes more processor time than this server gives to one file.")
        if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS):
            return MediaRejected("The file is damaged in a way that stops its decoder.")
        return MediaProcessLost()

    async def _read_stderr(self) -> bytes:
        """Libraries' words, for the log alone; keeps the pipe from filling up."""
        stderr = self._child.stderr
        assert stderr is not None  # noqa: S101  a pipe was asked for
        tail = b""
        while block := await stderr.read(_STDERR_BYTES):
            tail = (tail + block)[-_STDERR_BYTES:]
        return tail


def child_command() -> list[str]:
    """Python, isolated, with the parent's import path and nothing else of its surroundings."""
    path = "\x1f".join(entry for entry in _import_path())
    return [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, path]


def _import_path() -> list[str]:
    ours = str(Path(octavia_stream.__file__).parent.parent)
    return [*(entry for entry in sys.path if entry and Path(entry).exists()), ours]


@cache
def find_bubblewrap() -> str | None:
    """Where a bubblewrap that works here is, or None. Asked once per process."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    command = [*bubblewrap_command(program, (), None), sys.executable, "-I", "-c", ""]
    try:
        process = _run(command)
    except OSError:
        return None
    return program if process == 0 else None


def _run(command: Sequence[str]) -> int:
    """Exit status; output thrown away."""
    devnull = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    pid = os.posix_spawn(command[0], list(command), {}, file_actions=devnull)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bubblewrap_command(program: str, sources: Sequence[Path | None], output_directory: Path | None) -> list[str]:
    """Namespaces of its own, no network, no home: the interpreter's files, the inputs, the one output."""
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--setenv", "OMP_NUM_THREADS", "1", "--setenv", "OPENBLAS_NUM_THREADS", "1"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  the child's own, empty
    for directory in _interpreter_directories():
        command += ["--ro-bind", str(directory), str(directory)]
    for link in ("/lib", "/lib64"):
        command += ["--ro-bind-try", link, link]
    for source in sources:
        if source:
            command += ["--ro-bind", str(source), str(source)]
    if output_directory:
        command += ["--bind", str(output_directory), str(output_directory)]
    return [*command, "--chdir", "/", "--"]


def _interpreter_directories() -> list[Path]:
    """What Python and its packages need. Of a source checkout only the package, not what lies beside it."""
    wanted = [Path("/usr/lib"), Path("/usr/lib64"), Path(sys.executable).resolve().parent, Path(sys.executable).parent]
    wanted += [Path(sys.prefix), Path(sys.base_prefix), Path(octavia_stream.__file__).parent]
    wanted += [Path(entry) for entry in sys.path if "-packages" in entry]
    return [directory for directory in dict.fromkeys(wanted) if directory.is_dir() and directory != Path("/")]
