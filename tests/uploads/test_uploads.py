"""What users brought."""

from uuid import uuid4

import pytest

from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import NotFound
from octavia_stream.runtime import Runtime
from octavia_stream.uploads.upload import Upload, upload_key

pytestmark = pytest.mark.services


async def _add(runtime: Runtime, owner: str) -> Upload:
    account = await runtime.accounts.sign_up(f"{owner}-{uuid4().hex}@example.org", "a good password")
    upload_id = uuid7()
    stored = await runtime.objects.put(upload_key(upload_id), b"a film")
    return await runtime.uploads.add(
        upload_id,
        account.id,
        "../talk.mp4",
        "video/mp4",
        size=stored.size,
        sha256=stored.sha256,
        key=upload_key(upload_id),
    )


async def test_an_upload_is_its_owners_alone(runtime: Runtime) -> None:
    mine, other = await _add(runtime, "ana"), await _add(runtime, "rui")
    assert mine.filename == "talk.mp4"
    assert await runtime.uploads.get(mine.id, mine.owner_id) == mine
    assert await runtime.objects.get(mine.key) == b"a film"
    with pytest.raises(NotFound):
        await runtime.uploads.get(mine.id, other.owner_id)
    with pytest.raises(NotFound):
        await runtime.uploads.get(uuid4(), mine.owner_id)
    assert await runtime.uploads.list_uploads(other.owner_id, 10) == [other]
    assert await runtime.uploads.list_uploads(other.owner_id, 10, before=other.id) == []


async def test_what_the_probe_found_is_kept(runtime: Runtime) -> None:
    upload = await _add(runtime, "ana")
    await runtime.uploads.set_media_info(upload.id, {"duration_s": 12.5, "streams": [{"codec": "h264"}]})
    again = await runtime.uploads.get(upload.id, upload.owner_id)
    assert again.media_info == {"duration_s": 12.5, "streams": [{"codec": "h264"}]}
