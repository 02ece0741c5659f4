"""No log of any process holds a secret, an address of a person or a word of what somebody said."""

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.acceptance.conftest import DATA, Running

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(400),
]

WORDS_TOGETHER = 4
"""As many words in a row are somebody's speech and no accident."""


class Visitor:
    """Somebody who does everything once, also wrongly, and whose every secret is marked."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.mark = uuid4().hex
        self.email = f"mail-{self.mark}@example.org"
        self.password = f"password {self.mark}"
        self.secrets = {self.mark}

    async def log_in(self) -> None:
        """Sign up twice, log in wrongly and rightly, carry on, and show every kind of token that is none."""
        body = {"email": self.email, "password": self.password}
        for _ in range(2):
            self._learn(await self.http.post("/api/v1/auth/sign-up", json=body))
        await self.http.post("/api/v1/auth/log-in", json={**body, "password": f"wrong {self.mark}"})
        access = (await self.http.post("/api/v1/auth/log-in", json=body)).json()
        access = (await self.http.post("/api/v1/auth/refresh", json={"refresh_token": access["refresh_token"]})).json()
        self.secrets |= {access["access_token"], access["refresh_token"]}
        for token in (f"ok_live_{self.mark}", f"a.{self.mark}.b", f"or_{self.mark}"):
            await self.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
            await self.http.post("/api/v1/auth/refresh", json={"refresh_token": token})
        broken = f'{{"email": "{self.email}", "password": "{self.password}'.encode()
        await self.http.post("/api/v1/auth/log-in", content=broken, headers={"Content-Type": "application/json"})
        confirmation = {"token": f"op_{self.mark}", "new_password": self.password}
        await self.http.post("/api/v1/auth/password-reset/confirm", json=confirmation)
        self.http.headers["Authorization"] = f"Bearer {access['access_token']}"
        key = await self.http.post("/api/v1/keys", json={"name": self.mark, "scopes": ["jobs:read"]})
        self.secrets.add(key.json()["api_key"])
        await self.http.get("/api/v1/jobs", headers={"Authorization": f"Bearer {key.json()['api_key']}"})

    async def bring(self, path: Path | None, kind: str, name: str) -> dict[str, Any]:
        content = self.mark.encode() if path is None else await asyncio.to_thread(path.read_bytes)
        answer = await self.http.post(f"/api/v1/upload?file_type={kind}", files={"file": (name, content)})
        found: dict[str, Any] = answer.json()
        return found

    async def dub(self, upload_id: str) -> str:
        """A job from end to end, followed with a ticket."""
        wish = {"upload_id": upload_id, "target_language": "pt"}
        job_id = (await self.http.post("/api/v1/jobs/video-translate/create", json=wish)).json()["id"]
        assert (await self.http.post(f"/api/v1/jobs/{job_id}/process")).status_code == 202
        ticket = (await self.http.post("/api/v1/auth/ticket")).json()["ticket"]
        self.secrets.add(ticket)
        url = f"{str(self.http.base_url).replace('http', 'ws', 1)}/api/v1/jobs/{job_id}/events?ticket="
        async with connect(url + ticket) as socket:
            async for _ in socket:
                pass
        # A used one, too.
        async with connect(url + ticket) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        return str(job_id)

    async def text_of(self, job_id: str) -> str:
        """What was said, in both languages."""
        job = (await self.http.get(f"/api/v1/jobs/{job_id}")).json()
        assert job["status"] == "completed", job["error"]
        names = [one["name"] for one in job["artifacts"] if one["name"].endswith(".srt")]
        assert len(names) >= 2
        files = [await self.http.get(f"/api/v1/jobs/{job_id}/download?artifact={name}") for name in names]
        return "\n".join(file.text for file in files)

    def _learn(self, answer: httpx.Response) -> None:
        if answer.status_code == 201:
            self.secrets |= {answer.json()["access_token"], answer.json()["refresh_token"]}


def phrases(subtitles: str) -> set[str]:
    """All runs of a few words of a subtitle file."""
    lines = [line for line in subtitles.splitlines() if line and "-->" not in line and not line.strip().isdigit()]
    words = re.findall(r"\w+", " ".join(lines))
    return {" ".join(words[at : at + WORDS_TOGETHER]) for at in range(len(words) - WORDS_TOGETHER + 1)}


def logs_of(home: Path) -> dict[Path, str]:
    """Every log of every process: ours, the services' and all of Ray's."""
    files = [*home.glob("*.log"), *home.glob("logs/**/*"), *home.glob("ray/**/logs/**/*")]
    return {path: path.read_text(errors="replace") for path in files if path.is_file()}


async def test_a_visit_leaves_no_secret_and_no_speech_in_any_log(real_stack: Running) -> None:
    request_id = f"visit-{uuid4().hex[:12]}"
    async with httpx.AsyncClient(base_url=real_stack.url, timeout=120, headers={"X-Request-ID": request_id}) as http:
        visitor = Visitor(http)
        await visitor.log_in()
        await visitor.bring(None, "video", f"{visitor.mark}.mp4")
        upload = await visitor.bring(DATA / "video" / "friday.mp4", "video", f"{visitor.mark}.mp4")
        async with asyncio.timeout(300):
            job_id = await visitor.dub(upload["id"])
        said = phrases(await visitor.text_of(job_id))
    assert len(said) >= 4
    logs = await asyncio.to_thread(logs_of, real_stack.home)
    # The logs are the right ones: the visit is in that of the api, and the replicas wrote some.
    assert any(request_id in text for text in logs.values())
    assert any("replica" in path.name for path in logs)
    assert {"api.log", "ray.log"} <= {path.name for path in logs}, sorted(path.name for path in logs)
    leaks = [(path.name, secret[:8]) for path, text in logs.items() for secret in visitor.secrets if secret in text]
    assert leaks == []
    spoken = [
        (path.name, phrase)
        for path, text in logs.items()
        for plain in [" ".join(re.findall(r"\w+", text))]
        for phrase in said
        if phrase in plain
    ]
    assert spoken == []
