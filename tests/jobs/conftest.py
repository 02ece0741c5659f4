"""Jobs to work on."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from octavia_stream.accounts.account import Account
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.jobs.job import DubbingOptions, Job
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload, upload_key

MakeJob = Callable[[], Awaitable[Job]]


@pytest.fixture(scope="module")
async def owner(runtime: Runtime) -> Account:
    return await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")


@pytest.fixture(scope="module")
async def upload(runtime: Runtime, owner: Account) -> Upload:
    upload_id = uuid7()
    return await runtime.uploads.add(
        upload_id, owner.id, "talk.mp4", "video/mp4", size=3, sha256="0" * 64, key=upload_key(upload_id)
    )


@pytest.fixture
async def pending(runtime: Runtime, owner: Account, upload: Upload) -> MakeJob:
    """Makes jobs that nobody has submitted. Jobs of the test before are out of the way."""
    await runtime.pool.execute("delete from job")

    async def make() -> Job:
        return await runtime.jobs.create(owner.id, "video-translate", upload.id, DubbingOptions(target_language="pt"))

    return make


@pytest.fixture
async def submitted(runtime: Runtime, pending: MakeJob) -> MakeJob:
    """Makes jobs that wait for a worker."""

    async def make() -> Job:
        job = await pending()
        return await runtime.jobs.submit(job.id, job.owner_id)

    return make


@pytest.fixture
async def newcomer(runtime: Runtime, pending: MakeJob) -> MakeJob:
    """Makes jobs that wait for a worker, each of somebody new."""

    async def make() -> Job:
        account = await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")
        upload_id = uuid7()
        await runtime.uploads.add(
            upload_id, account.id, "clip.mp4", "video/mp4", size=3, sha256="0" * 64, key=upload_key(upload_id)
        )
        options = DubbingOptions(target_language="pt")
        job = await runtime.jobs.create(account.id, "video-translate", upload_id, options)
        return await runtime.jobs.submit(job.id, account.id)

    return make


@pytest.fixture
def expire(runtime: Runtime) -> Callable[[UUID], Awaitable[object]]:
    """Lets a lease end as if the time had passed: by moving it into the past of the database's clock."""

    async def end(job_id: UUID) -> object:
        return await runtime.pool.execute("update job set lease_until = now() - interval '1 ms' where id = $1", job_id)

    return end
