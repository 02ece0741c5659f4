"""What uploads that were never finished leave behind goes; what is under way stays."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from octavia_stream.accounts.removal import Removal
from octavia_stream.audit.invariants import audit
from octavia_stream.config import RetentionSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import NotFound
from octavia_stream.jobs.retention import Cleaner
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.pieces import Pieces
from octavia_stream.uploads.resumable import ResumableUpload
from octavia_stream.uploads.sweeping import UploadSweep

pytestmark = pytest.mark.services


@pytest.fixture
async def cleaner(runtime: Runtime) -> Cleaner:
    removal = Removal(runtime.pool, runtime.jobs, runtime.objects)
    sweep = UploadSweep(runtime.resumable, runtime.objects, removal.remove_objects)
    return Cleaner(runtime.pool, runtime.jobs, runtime.uploads, runtime.objects, RetentionSettings(), sweep)


async def _begun(runtime: Runtime, content: bytes = b"12345") -> ResumableUpload:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    account = await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "correct horse battery")
    upload = await runtime.resumable.open(uuid7(), account.id, "a.wav", "audio", "", 100)
    await Pieces(runtime).append(upload, chunks())
    return await runtime.resumable.get(upload.id, account.id)


async def _pieces(runtime: Runtime) -> int:
    return len([found async for found in runtime.objects.list("tus")])


async def test_expired_uploads_go_with_their_pieces_and_younger_ones_stay(runtime: Runtime, cleaner: Cleaner) -> None:
    old, young = await _begun(runtime), await _begun(runtime)
    await runtime.pool.execute("update resumable_upload set expires_at = now() where id = $1", old.id)
    assert await _pieces(runtime) == 2
    await cleaner.clean()
    assert await _pieces(runtime) == 1
    assert (await runtime.resumable.get(young.id, young.owner_id)).received == 5
    with pytest.raises(NotFound):
        await runtime.resumable.get(old.id, old.owner_id)
    used = await runtime.quotas.usage(runtime.pool, old.owner_id)
    assert used.quota("open_uploads").used == 0


async def test_an_account_that_goes_takes_its_pieces_along(runtime: Runtime, cleaner: Cleaner) -> None:
    before = await _pieces(runtime)
    upload = await _begun(runtime)
    await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_account(upload.owner_id)
    await cleaner.clean()
    assert await _pieces(runtime) == before


async def test_what_a_killed_write_left_is_removed_when_it_is_old(
    runtime: Runtime, cleaner: Cleaner, tmp_path: Path
) -> None:
    """obstore writes a local object as `key#1` and renames it; nobody renames what a killed process wrote."""
    await runtime.objects.put("uploads/whole", b"1")
    whole = runtime.objects.local_path("uploads/whole")
    assert whole is not None
    stale, fresh = whole.with_name("broken#1"), whole.with_name("under-way#1")
    for part in (stale, fresh):
        part.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(stale, (two_days_ago, two_days_ago))
    os.utime(whole, (two_days_ago, two_days_ago))
    found = await audit(runtime.pool, runtime.objects, tmp_path, grace_s=86_400)
    assert found.count("leftover_parts") == 1
    await cleaner.clean()
    assert (whole.exists(), stale.exists(), fresh.exists()) == (True, False, True)
    assert (await audit(runtime.pool, runtime.objects, tmp_path, grace_s=86_400)).count("leftover_parts") == 0


async def test_pieces_that_nothing_names_are_counted_as_orphans(runtime: Runtime, tmp_path: Path) -> None:
    await _begun(runtime)
    before = (await audit(runtime.pool, runtime.objects, tmp_path, grace_s=0)).count("orphan_objects")
    await runtime.objects.put(f"tus/{uuid7()}/000000000000000-0", b"lost")
    assert (await audit(runtime.pool, runtime.objects, tmp_path, grace_s=0)).count("orphan_objects") == before + 1
