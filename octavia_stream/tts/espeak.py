"""Phonemes by espeak-ng, which is GPL-3.0 and therefore always a process of its own.

Two sources, in this order: the system's `espeak-ng` program, and the copy inside the `piper-tts` wheel, which
`espeak_child.py` serves line by line.
"""

import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
import unicodedata
from pathlib import Path
from typing import Protocol

from octavia_stream.errors import EngineUnavailable, ModelMissing, UnsupportedLanguage

_MISSING = "espeak-ng is not installed: install the system package 'espeak-ng' or 'pip install piper-tts'."
_MUTE = "espeak-ng does not answer; a retry helps."

_CLAUSE_CHARACTERS = 1000
"""Longest text of one request: as UTF-8 in JSON it fits an empty pipe (64 KiB), so writing never blocks."""

_PUNCTUATION = re.compile(r"\s*([.,;:!?…—]+)(?=\s|$)\s*")
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")
"""`(en)`: espeak-ng marks where it reads a word by another language's rules."""


class PhonemeSource(Protocol):
    """Whatever runs espeak-ng."""

    description: str

    def clause(self, text: str, voice: str) -> str:
        """IPA of one clause without its punctuation. Raises EngineUnavailable, UnsupportedLanguage."""
        ...

    def close(self) -> None: ...


def find_espeak() -> str | None:
    """Which espeak-ng would be used, in words for `octavia doctor`; None when there is none."""
    if _find_wheel() is not None:
        return "espeak-ng of the piper-tts wheel, in a process of its own"
    if _find_program() is not None:
        return "the espeak-ng program of this system"
    return None


def _find_program() -> str | None:
    return shutil.which("espeak-ng")


def _find_wheel() -> Path | None:
    spec = importlib.util.find_spec("piper")  # looks, does not import
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if any(Path(location).glob("espeakbridge*")) and (Path(location) / "espeak-ng-data").is_dir():
            return Path(location)
    return None


class EspeakProgram:
    """The system's program, started for every clause (about 10 ms): its output is lost in buffers otherwise."""

    description = "program"

    def __init__(self, program: str, deadline_s: float = 10.0) -> None:
        self._program = program
        self._deadline_s = deadline_s

    def clause(self, text: str, voice: str) -> str:
        command = [self._program, "-q", "--ipa", "-b", "1", "-v", voice, "--stdin"]
        try:
            done = subprocess.run(  # noqa: S603 - our own arguments, text goes through stdin
                command, input=text.encode(), capture_output=True, timeout=self._deadline_s, check=False
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise EngineUnavailable(_MUTE) from error
        if done.returncode != 0:
            if b"voice" in done.stderr:
                raise UnsupportedLanguage(f"espeak-ng has no voice {voice!r}.")
            raise EngineUnavailable(_MUTE)
        return " ".join(done.stdout.decode(errors="replace").split())

    def close(self) -> None:
        """Nothing stays open."""


class EspeakChild:
    """A persistent child that serves the wheel's espeak-ng; started at the first call, again whenever it dies."""

    description = "wheel"

    def __init__(self, package: Path, deadline_s: float = 10.0) -> None:
        self._package = package
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the child, if one runs."""
        return self._process.pid if self._process is not None else None

    def clause(self, text: str, voice: str) -> str:
        request = json.dumps({"voice": voice, "text": text}).encode() + b"\n"
        with self._lock:
            try:
                reply = self._ask(request)
            except EngineUnavailable:  # died since the last call, or in this one: a fresh one may do
                reply = self._ask(request)
        if "error" in reply:
            raise UnsupportedLanguage(f"espeak-ng has no voice {voice!r}.")
        return reply["phonemes"]

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _ask(self, request: bytes) -> dict[str, str]:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        try:
            process.stdin.write(request)
            process.stdin.flush()
            reply: dict[str, str] = json.loads(self._read_line(process.stdout.fileno()))
        except (OSError, ValueError) as error:
            self._stop()
            raise EngineUnavailable(_MUTE) from error
        return reply

    def _read_line(self, descriptor: int) -> bytes:
        ends = time.monotonic() + self._deadline_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(ends - time.monotonic(), 0.0))
            piece = os.read(descriptor, 65536) if ready else b""
            if not piece:
                raise TimeoutError("end of output or of patience")
            line += piece
        return line

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        script = Path(__file__).with_name("espeak_child.py")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", str(script), str(self._package)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise EngineUnavailable(_MUTE) from error
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was still buffered for the dead


def open_espeak(deadline_s: float = 10.0) -> PhonemeSource:
    """The wheel's espeak-ng, else the system's. Raises ModelMissing when there is none.

    The wheel comes first: its Portuguese was read back with 6.1 % of words wrong, that of Debian's 1.51 with 9.8 %;
    it answers thirty times as fast, and every machine speaks alike.
    """
    if (package := _find_wheel()) is not None:
        return EspeakChild(package, deadline_s)
    if (program := _find_program()) is not None:
        return EspeakProgram(program, deadline_s)
    raise ModelMissing(_MISSING)


class Phonemizer:
    """Text to IPA, clause by clause; may be shared by threads."""

    def __init__(self, source: PhonemeSource | None = None) -> None:
        """source: None takes the first one found. Raises ModelMissing."""
        self._source = source or open_espeak()

    def phonemize(self, text: str, voice: str) -> str:
        """IPA in NFD, clause punctuation (.,;:!?…—) kept as written.

        voice: an espeak-ng voice, such as `pt-br`.
        Raises EngineUnavailable (a retry helps), UnsupportedLanguage.
        """
        spoken = []
        for clause, mark in split_clauses(text):
            phonemes = _LANGUAGE_SWITCH.sub("", self._source.clause(clause, voice))
            spoken.append(" ".join(phonemes.split()) + mark)
        return unicodedata.normalize("NFD", " ".join(spoken))

    def close(self) -> None:
        self._source.close()


def split_clauses(text: str, longest: int = _CLAUSE_CHARACTERS) -> list[tuple[str, str]]:
    """`Olá, tudo bem?` → [(`Olá`, `,`), (`tudo bem`, `?`)]; clauses above `longest` are cut at a space.

    A mark inside a number (`3,5`) or a word ends nothing.
    """
    clauses: list[tuple[str, str]] = []
    pieces = _PUNCTUATION.split(text.strip())
    for clause, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        rest = clause.strip()
        while len(rest) > longest:
            cut = rest.rfind(" ", 0, longest)
            cut = cut if cut > 0 else longest
            clauses.append((rest[:cut], ""))
            rest = rest[cut:].lstrip()
        if any(map(str.isalnum, rest)):
            clauses.append((rest, mark[:1]))
    return clauses
