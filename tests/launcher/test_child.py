"""Processes of the stack end when they should, with all that they started."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil

from octavia_stream.launcher import keeper
from octavia_stream.launcher.child import Child, leash

FAMILY = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]) for _ in range(2)]
print(*[child.pid for child in children], flush=True)
time.sleep(600)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(0, flush=True); time.sleep(600)"


async def start(code: str, tmp_path: Path, *prefix: str) -> Child:
    command = [*prefix, sys.executable, "-S", "-c", code]
    return await Child.start("test", command, os.environ, tmp_path / "test.log", signal.SIGTERM)


async def printed(log: Path) -> list[int]:
    async with asyncio.timeout(20):
        while not log.exists() or not log.read_text().endswith("\n"):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)
    return [int(word) for word in log.read_text().split()]  # noqa: ASYNC240


async def gone(pids: list[int]) -> bool:
    """Within a minute; a zombie that nobody has buried yet is gone too."""
    for _ in range(600):
        if not any(alive(pid) for pid in pids):
            return True
        await asyncio.sleep(0.1)
    return False


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_stopping_a_process_ends_what_it_started(tmp_path: Path) -> None:
    child = await start(FAMILY, tmp_path)
    family = await printed(child.log)

    await child.stop(grace_s=5.0)
    await child.stop(grace_s=5.0)

    assert await gone([child.pid, *family])
    assert child.exit_code == -signal.SIGTERM


async def test_what_a_killed_process_leaves_is_swept_up(tmp_path: Path) -> None:
    child = await start(FAMILY, tmp_path)
    family = await printed(child.log)
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()

    await child.stop(grace_s=0)

    assert await gone(family)


async def test_a_process_that_will_not_end_is_made_to(tmp_path: Path) -> None:
    child = await start(STUBBORN, tmp_path)
    await printed(child.log)

    await child.stop(grace_s=0.2)

    assert child.exit_code == -signal.SIGKILL


async def test_the_keeper_ends_the_family_when_the_launcher_is_killed(tmp_path: Path) -> None:
    """A launcher in miniature: it starts a keeper on a leash and is killed without a chance to clean up."""
    log = tmp_path / "family.log"
    code = f"""
import os, signal, subprocess, sys, time
leash = {leash(0, signal.SIGTERM)!r}
leash[4] = str(os.getpid())
subprocess.Popen([*leash, sys.executable, "-I", "-S", {keeper.__file__!r}, sys.executable, "-S", "-c", {FAMILY!r}],
    stdout=open({str(log)!r}, "w"), start_new_session=True)
time.sleep(600)
"""
    launcher = await start(code, tmp_path)
    family = await printed(log)
    assert all(alive(pid) for pid in family)

    os.kill(launcher.pid, signal.SIGKILL)
    await launcher.wait()

    assert await gone(family)


async def test_the_end_of_the_log_is_kept_and_the_former_log_too(tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = await start(f"print({word!r}); print('last words')", tmp_path)
        await child.wait()

    assert child.last_words() == ["second", "last words"]
    assert (tmp_path / "test.log.1").read_text().startswith("first")
