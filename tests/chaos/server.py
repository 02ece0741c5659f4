"""`octavia serve` as a service manager runs it: started again whenever it ends."""

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from sys import executable

import httpx
import msgspec

from octavia_stream.config import Settings
from octavia_stream.launcher.child import Child
from octavia_stream.launcher.environment import environment_of
from octavia_stream.launcher.ports import free_ports
from octavia_stream.services.postgres import EmbeddedPostgres
from octavia_stream.testing import JOURNAL_NAME, SCRIPT_NAME, Journal, Script
from tests.chaos.victims import find

SCRIPT = Script(transcribe_s=0.4, translate_s=0.1, synthesize_s=0.15)
"""Slow enough to be hit in the middle, the same every time."""
RESTART_PAUSE_S = 1.0
START_DEADLINE_S = 300.0
STOP_GRACE_S = 40.0
PARTS = ("api", "postgres", "valkey", "gcs", "raylet", "controller", "worker", "asr", "mt", "tts")


class Server:
    """One server on one home."""

    def __init__(self, home: Path, beside: Path, *, real_models: bool = False) -> None:
        """beside: where logs and the journal of the engines go, out of the disk that is filled."""
        self.home = home
        [port] = free_ports(1)
        given: dict[str, object] = {"home": home, "database_url": None, "redis_url": None, "api": {"port": port}}
        if not real_models:
            given["serve"] = {"engines": "octavia_stream.testing"}
            (home / SCRIPT_NAME).write_bytes(msgspec.json.encode(SCRIPT))
        prices = {"enabled": True, "free_credits": 1_000_000}
        worker = {"lease_s": 4.0, "heartbeat_s": 1.0}
        # Every round does the same work from its beginning.
        forgetful = {"limit_bytes": 0}
        self.settings = Settings.model_validate(given | {"billing": prices, "worker": worker, "cache": forgetful})
        journal = beside / JOURNAL_NAME
        journal.touch()
        (home / JOURNAL_NAME).symlink_to(journal)
        self.journal = Journal(journal)
        self.url = f"http://127.0.0.1:{port}"
        self.database_url = EmbeddedPostgres(home).url
        self._beside = beside
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the launcher."""
        return self._child.pid if self._child is not None else 0

    async def start(self) -> None:
        """Return when every part is there."""
        await self._spawn()
        self._keeping = asyncio.create_task(self._keep_up(), name="keep the server up")
        await self.whole()

    async def whole(self) -> None:
        """Return when every part is there and requests are served. Raises TimeoutError, naming what is missing."""
        missing: list[str] = []
        async with httpx.AsyncClient(timeout=2.0) as http:
            for _ in range(int(START_DEADLINE_S / RESTART_PAUSE_S)):
                missing = [part for part in PARTS if not await asyncio.to_thread(find, part)]
                with suppress(httpx.HTTPError):
                    if not missing and (await http.get(f"{self.url}/readyz")).is_success:
                        return
                await asyncio.sleep(RESTART_PAUSE_S)
        raise TimeoutError(f"The server does not come back: {', '.join(missing) or 'the api is not ready'}.")

    async def stop(self) -> None:
        """Ask it to end, and wait. Returns when it has."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(STOP_GRACE_S)

    def keep_logs(self, name: str) -> None:
        """Copy what the parts wrote to a place that outlives the disk."""
        kept = self._beside / name
        for folder in (self.home / "logs", *self.home.glob("ray/session_*_*/logs")):
            shutil.copytree(folder, kept / folder.parent.name / folder.name, dirs_exist_ok=True)

    async def _spawn(self) -> None:
        self.starts += 1
        command = [executable, str(Path(executable).with_name("octavia")), "serve"]
        environment = environment_of(self.settings, os.environ)
        log = self._beside / f"serve-{self.starts}.log"
        self._child = await Child.start("serve", command, environment, log, signal.SIGTERM)

    async def _keep_up(self) -> None:
        while self._child is not None:
            await self._child.wait()
            await asyncio.sleep(RESTART_PAUSE_S)
            await self._spawn()
