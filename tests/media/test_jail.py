"""The jail holds, each layer of it, and its end is told in a sentence."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from octavia_stream.config import MediaSettings
from octavia_stream.errors import DependencyUnavailable, EngineUnavailable, MediaRejected, MediaTooLarge
from octavia_stream.media import jail as jail_module
from octavia_stream.media import wire
from octavia_stream.media.child import landlock
from octavia_stream.media.demuxer import Demuxer, decode_audio
from octavia_stream.media.jail import Jail, strength
from octavia_stream.media.probe import probe
from tests.media.studio import MakeMedia, Sound, described

NO_LANDLOCK = landlock.abi_version(ctypes.CDLL(None, use_errno=True)) < 6
"""From ABI 6 on, signals to others are kept in too."""
CANARY = Path(__file__).parent / "canary.py"


@pytest.fixture
def loopback_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run_canary(layers: str, tmp_path: Path, port: int) -> dict[str, bool]:
    source, secret, output = tmp_path / "input", tmp_path / "secret", tmp_path / "output"
    source.write_bytes(b"input")
    secret.write_bytes(b"secret")
    output.mkdir(exist_ok=True)
    command = [sys.executable, str(CANARY), layers, str(source), str(output), str(secret), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    results: dict[str, bool] = json.loads(lines[0])
    # When exec succeeded, /bin/true said nothing.
    return results | {"execute": len(lines) < 2 or json.loads(lines[1])}


def test_the_canary_can_do_everything_without_a_jail(tmp_path: Path, loopback_port: int) -> None:
    """Else the tests below would prove nothing."""
    results = run_canary("none", tmp_path, loopback_port)
    harmless = {"read_sibling", "read_passwd", "list_directory", "write_elsewhere", "connect", "socket", "fork"}
    harmless |= {"execute", "signal_parent", "write_4_mib", "read_parent_environment"}
    assert {name for name in harmless if not results[name]} == set()


@pytest.mark.skipif(NO_LANDLOCK, reason="this kernel has no Landlock of ABI 6")
def test_a_confined_child_can_read_its_input_and_write_its_output_and_nothing_else(
    tmp_path: Path, loopback_port: int
) -> None:
    results = run_canary("all", tmp_path, loopback_port)
    assert {name for name, succeeded in results.items() if succeeded} == {"read_input", "write_output"}


@pytest.mark.skipif(NO_LANDLOCK, reason="this kernel has no Landlock of ABI 6")
def test_landlock_alone_keeps_other_files_and_the_network_out_of_reach(tmp_path: Path, loopback_port: int) -> None:
    results = run_canary("landlock", tmp_path, loopback_port)
    assert results["read_input"]
    assert results["write_output"]
    beyond = ("read_sibling", "read_passwd", "read_parent_environment", "list_directory", "write_elsewhere", "connect")
    assert not any(results[name] for name in (*beyond, "execute", "signal_parent"))


def test_seccomp_alone_keeps_sockets_processes_and_ptrace_out_of_reach(tmp_path: Path, loopback_port: int) -> None:
    results = run_canary("seccomp", tmp_path, loopback_port)
    assert results["read_input"]
    refused = ("connect", "socket", "fork", "execute", "ptrace", "signal_parent", "raise_limits", "mount", "unshare")
    assert not any(results[name] for name in refused)


def test_rlimits_alone_bound_memory_and_files(tmp_path: Path, loopback_port: int) -> None:
    results = run_canary("rlimits", tmp_path, loopback_port)
    assert results["read_input"]
    assert not results["allocate_4_gib"]
    assert not results["write_4_mib"]


async def test_the_strength_names_the_layers_that_hold(settings: MediaSettings) -> None:
    found = await strength(settings)
    assert "rlimits" in found.layers
    assert found.strong == (
        bool({"bubblewrap", "landlock"} & set(found.layers)) and bool({"bubblewrap", "seccomp"} & set(found.layers))
    )
    assert all(layer in found.description for layer in found.layers)


async def test_a_required_jail_that_is_not_to_be_had_refuses_media(
    settings: MediaSettings, make_media: MakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child of this test finds neither Landlock nor seccomp."""
    weak = (
        "import sys; sys.path[:] = sys.argv[1].split(chr(0x1f));"
        "from octavia_stream.media.child import landlock, seccomp;"
        "landlock.restrict = lambda *_: 0; seccomp.restrict = lambda *_: False;"
        "from octavia_stream.media.child.main import main; main()"
    )
    monkeypatch.setattr(jail_module, "_BOOT", weak)
    monkeypatch.setattr(jail_module, "find_bubblewrap", lambda: None)
    path = make_media("sound.wav", Sound())
    assert (await probe(path, settings)).audio
    with pytest.raises(DependencyUnavailable, match="only in a jail"):
        await probe(path, settings.model_copy(update={"require_jail": True}))


async def test_a_killed_child_is_worth_a_retry_and_harms_nobody(settings: MediaSettings, make_media: MakeMedia) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
        await anext(chunks)
        os.kill(chunks.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            async for _ in chunks:
                pass
    assert (await probe(path, settings)).audio[0] == track


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
async def test_a_crash_of_the_decoder_is_the_files_fault(
    settings: MediaSettings, make_media: MakeMedia, number: signal.Signals
) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
        await anext(chunks)
        os.kill(chunks.pid, number)
        with pytest.raises(MediaRejected, match="stops its decoder"):
            async for _ in chunks:
                pass


async def test_processor_time_is_limited(settings: MediaSettings, make_media: MakeMedia) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
        await anext(chunks)
        # What the kernel sends when the limit is reached.
        os.kill(chunks.pid, signal.SIGXCPU)
        with pytest.raises(MediaTooLarge, match="processor time"):
            async for _ in chunks:
                pass


async def test_memory_is_limited(
    settings: MediaSettings, make_media: MakeMedia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child of this test wants 4 GiB."""
    greedy = (
        "import sys; sys.path[:] = sys.argv[1].split(chr(0x1f));"
        "from octavia_stream.media.child import probing; probing.probe = lambda *_: bytearray(4 << 30);"
        "from octavia_stream.media.child.main import main; main()"
    )
    monkeypatch.setattr(jail_module, "_BOOT", greedy)
    with pytest.raises(MediaRejected, match="more memory"):
        await probe(make_media("sound.wav", Sound()), settings)


async def _drain(jail: Jail) -> None:
    while True:
        await jail.frame(within_s=0.5)


async def _write_seconds(jail: Jail, seconds: int) -> None:
    for _ in range(seconds):
        await jail.write(bytes(4 * 48_000))
    await jail.close_stdin()
    await jail.result(wire.MuxResult)


async def test_a_silent_child_is_given_up(settings: MediaSettings, make_media: MakeMedia) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
        await anext(chunks)
        os.kill(chunks.pid, signal.SIGSTOP)
        with pytest.raises(MediaRejected, match="too long"):
            await _drain(chunks._jail)


async def test_cancelling_ends_the_child(settings: MediaSettings, make_media: MakeMedia) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def decode() -> None:
        async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
            await anext(chunks)
            started.set_result(chunks.pid)
            await asyncio.Event().wait()

    task = asyncio.create_task(decode())
    pid = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)


async def test_stopping_early_ends_the_child(settings: MediaSettings, make_media: MakeMedia) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    track = described(path).audio[0]
    before = set(psutil.Process().children())
    chunks = decode_audio(path, track, rate_hz=48_000, channels=1, settings=settings)
    await anext(chunks)
    assert set(psutil.Process().children()) - before
    await chunks.aclose()
    started = set(psutil.Process().children()) - before
    assert not [child for child in started if child.status() != psutil.STATUS_ZOMBIE]


async def test_the_child_dies_with_its_parent(make_media: MakeMedia, tmp_path: Path) -> None:
    path = make_media("long.flac", Sound("flac", seconds=120.0))
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from octavia_stream.config import MediaSettings
        from octavia_stream.media.demuxer import Demuxer
        from octavia_stream.media.probe import probe

        async def main():
            path, settings = Path(sys.argv[1]), MediaSettings()
            track = (await probe(path, settings)).audio[0]
            async with Demuxer(path, track, rate_hz=48_000, channels=1, settings=settings) as chunks:
                await anext(chunks)
                print(chunks.pid, flush=True)
                await asyncio.sleep(600)

        asyncio.run(main())
    """)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(child.wait, 30)


async def test_a_file_larger_than_allowed_is_not_written(
    settings: MediaSettings, make_media: MakeMedia, tmp_path: Path
) -> None:
    source = make_media("sound.wav", Sound())
    output = tmp_path / "output"
    output.mkdir()
    task = wire.MuxRequest(
        output_name="output.wav",
        container="wav",
        rate_hz=48_000,
        channels=1,
        start_s=0.0,
        length=None,
        language="por",
        title="",
        picture=False,
        original_index=None,
        original_title="",
        subtitles=(),
    )
    async with Jail(task, settings, source=source, output_directory=output, file_bytes=100_000) as jail:
        with pytest.raises(MediaTooLarge):
            await _write_seconds(jail, 20)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
async def test_bubblewrap_is_used_when_it_works(settings: MediaSettings, make_media: MakeMedia) -> None:
    found = await strength(settings)
    assert ("bubblewrap" in found.layers) == (jail_module.find_bubblewrap() is not None)
    assert (await probe(make_media("sound.wav", Sound()), settings)).audio
