"""The command line's client outlives its tokens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from api.app import create_app
from octavia_stream.cli.client import Client, Credentials, ServerRefused
from octavia_stream.config import Settings
from octavia_stream.events.event import Completed
from octavia_stream.runtime import Runtime
from tests.api.conftest import PASSWORD, RESULT, VIDEO, ScriptedWorker, serving

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
async def address(settings: Settings) -> AsyncIterator[str]:
    """A server whose access tokens have expired when they arrive."""
    api = settings.api.model_copy(update={"access_token_minutes": 0})
    hasty = settings.model_copy(update={"api": api})
    async with serving(create_app(hasty), hasty) as url:
        yield url


@pytest.fixture
async def credentials() -> Credentials:
    return Credentials(f"{uuid4().hex}@example.org", PASSWORD)


async def test_a_token_that_expires_at_once_ends_in_a_refusal_and_not_in_a_loop(
    address: str, credentials: Credentials
) -> None:
    async with Client(address) as client:
        await client.log_in(credentials, sign_up=True)
        with pytest.raises(ServerRefused):
            await client.create_job({"upload_id": str(uuid4()), "target_language": "pt"})
        with pytest.raises(ServerRefused):
            await anext(client.events(str(uuid4())))


async def test_a_job_is_uploaded_followed_and_fetched_across_the_end_of_every_session(
    settings: Settings, credentials: Credentials, runtime: Runtime, tmp_path: Path
) -> None:
    async def expire() -> None:
        """All tokens are void from now on, as after a quarter of an hour."""
        await runtime.pool.execute("delete from log_in")

    sent: list[int] = []
    async with serving(create_app(settings), settings) as url, Client(url) as client:
        await client.log_in(credentials, sign_up=True)
        await expire()
        upload_id = await client.upload(VIDEO, sent.append, "video")
        await expire()
        job_id = await client.create_job({"upload_id": upload_id, "target_language": "pt"})
        await expire()
        playing = asyncio.create_task(ScriptedWorker(runtime).play(job_id))
        events = [record.event async for record in client.events(job_id)]
        await playing
        assert isinstance(events[-1], Completed)
        await expire()
        await client.download(job_id, "dub.mp4", tmp_path / "dub.mp4")
    assert (tmp_path / "dub.mp4").read_bytes() == RESULT
