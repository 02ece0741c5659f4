"""The arrows between packages and rooms: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN_TO_PACKAGE = {
    "octavia_stream": {"ray", "litestar", "api", "deployments"},
    "api": {"ray", "deployments"},
    "deployments": {"litestar", "api"},
}
CORRIDOR = ("audio", "vad", "asr", "mt", "tts", "media", "captions", "dubbing", "live")
UPPER_FLOORS = (
    *("jobs", "accounts", "uploads", "storage", "database", "services", "cli", "launcher", "runtime"),
    *("instant", "webhooks", "cache", "sessions", "webrtc"),
)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("package", FORBIDDEN_TO_PACKAGE)
def test_packages_import_only_downwards(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imports(path)
        for forbidden in FORBIDDEN_TO_PACKAGE[package]
        if within(module, forbidden)
    ]
    assert not wrong


@pytest.mark.parametrize("room", CORRIDOR)
def test_nothing_in_the_corridor_knows_a_job_a_session_or_a_socket(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "octavia_stream" / room).rglob("*.py")
        for module in imports(path)
        for upper in UPPER_FLOORS
        if within(module, f"octavia_stream.{upper}")
    ]
    assert not wrong


@pytest.mark.parametrize("room", ["asr", "mt", "tts"])
def test_engines_do_not_know_each_other(room: str) -> None:
    others = {"asr", "mt", "tts", "dubbing"} - {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "octavia_stream" / room).rglob("*.py")
        for module in imports(path)
        for other in others
        # The port of ASR names its task; routes decide it.
        if within(module, f"octavia_stream.{other}") and module != "octavia_stream.asr.transcriber"
    ]
    assert not wrong


def test_audio_knows_nobody() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "octavia_stream" / "audio").rglob("*.py")
        for module in imports(path)
        if within(module, "octavia_stream") and not within(module, "octavia_stream.audio")
    ]
    assert not wrong


def test_only_config_and_the_command_line_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for package in ("octavia_stream", "api")
        for path in (ROOT / package).rglob("*.py")
        if "os.environ" in path.read_text(encoding="utf-8") or "os.getenv" in path.read_text(encoding="utf-8")
    }
    allowed = {"octavia_stream/config.py"}
    # Who starts a child process hands it an environment.
    children = {name for name in readers if name.startswith(("octavia_stream/launcher/", "octavia_stream/services/"))}
    assert readers - allowed - children == set()
