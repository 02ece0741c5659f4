"""Pieces of an upload on their way in, and all of them on their way to one file; both in bounded memory."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

import msgspec

from octavia_stream.crash_points import CrashPoint, crash_point
from octavia_stream.errors import ChecksumMismatch, DependencyUnavailable, InvalidRequest, MediaRejected, NotFound
from octavia_stream.runtime import Runtime
from octavia_stream.storage.objects import PART_BYTES
from octavia_stream.uploads.arrival import FileType, content_type_of, inspect
from octavia_stream.uploads.resumable import FINISHING_S, Part, ResumableUpload, parts_prefix
from octavia_stream.uploads.upload import Upload, upload_key

DIGEST_BYTES = {"sha1": 20, "sha256": 32}
"""What a piece may be summed up with."""
POLL_S = 0.25
"""How often to look whether another process has put an upload together."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece must sum up to."""

    algorithm: str
    """One of DIGEST_BYTES."""
    digest: bytes


class Pieces:
    """Adds to uploads, and finishes them. Methods raise StorageUnavailable, StorageFull, DependencyUnavailable."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._objects = runtime.objects
        self._uploads = runtime.resumable

    async def append(
        self, upload: ResumableUpload, chunks: AsyncIterator[bytes], checksum: Checksum | None = None
    ) -> int:
        """Add to an upload where it is; returns where it is then.

        What came before `chunks` break off is kept, unless there is a checksum: then it is all or nothing.
        Raises Conflict when somebody else adds to it at the same time, ChecksumMismatch, InvalidRequest when more
        comes than was announced, and what `chunks` raises.
        """
        offset = upload.received
        held: list[Part] = []
        digest = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        try:
            async for block in _blocks(chunks, upload.size - offset, keep=checksum is None):
                part = await self._store(upload, offset, block)
                held.append(part)
                offset = part.end
                if digest is None:
                    await self._uploads.record(upload.id, held)
                    held = []
                else:
                    await asyncio.to_thread(digest.update, block)
            if checksum is not None and digest is not None:
                if digest.digest() != checksum.digest:
                    raise ChecksumMismatch
                if held:
                    await self._uploads.record(upload.id, held)
        except BaseException:
            await asyncio.shield(self._discard(held))
            raise
        return offset

    async def finish(self, upload: ResumableUpload) -> Upload:
        """Make the file out of its pieces, look at it and record it, or wait for another process that is at it.

        Raises MediaRejected when nothing can be done with it, now and whenever it is asked again.
        """
        while not await self._uploads.claim(upload.id):
            try:
                upload = await self._uploads.get(upload.id, upload.owner_id)
            except NotFound:
                return await self._runtime.uploads.get(upload.id, upload.owner_id)
            if upload.refusal is not None:
                raise MediaRejected(upload.refusal)
            await asyncio.sleep(POLL_S)
        try:
            async with self._signs_of_life(upload):
                finished = await self._assemble(upload)
        except MediaRejected as error:
            await self._uploads.refuse(upload.id, str(error))
            await self._objects.delete_prefix(parts_prefix(upload.id))
            raise
        except BaseException:
            await asyncio.shield(self._uploads.let_go(upload.id))
            raise
        crash_point(CrashPoint.PIECES_RECORDED)
        await self._objects.delete_prefix(parts_prefix(upload.id))
        return finished

    async def give_up(self, upload: ResumableUpload) -> None:
        """Forget an unfinished upload. Raises NotFound when it is gone already."""
        await self._uploads.delete(upload.id, upload.owner_id)
        await self._objects.delete_prefix(parts_prefix(upload.id))

    async def _assemble(self, upload: ResumableUpload) -> Upload:
        # Of its own: one who was given up for dead must not take away what a successor made.
        key = f"{upload_key(upload.id)}-{secrets.token_hex(8)}"
        try:
            stored = await self._objects.put_stream(key, self._whole(upload))
            found = await inspect(self._runtime, key, cast(FileType, upload.file_type))
            crash_point(CrashPoint.PIECES_ASSEMBLED)
            return await self._runtime.uploads.add(
                upload.id,
                upload.owner_id,
                upload.filename,
                content_type_of(found),
                size=stored.size,
                sha256=stored.sha256,
                key=key,
                media_info=msgspec.to_builtins(found),
                created_by=upload.created_by,
                completes=self._uploads,
            )
        except BaseException:
            await asyncio.shield(self._objects.delete(key))
            raise

    async def _whole(self, upload: ResumableUpload) -> AsyncIterator[bytes]:
        for part in await self._uploads.parts(upload.id):
            async for chunk in self._objects.stream(part.key):
                yield chunk

    @asynccontextmanager
    async def _signs_of_life(self, upload: ResumableUpload) -> AsyncIterator[None]:
        async def give() -> None:
            while True:
                await asyncio.sleep(FINISHING_S / 3)
                with suppress(DependencyUnavailable):
                    await self._uploads.still_at_it(upload.id)

        giving = asyncio.create_task(give(), name="signs of life")
        try:
            yield
        finally:
            giving.cancel()
            await asyncio.gather(giving, return_exceptions=True)

    async def _store(self, upload: ResumableUpload, start: int, block: bytes) -> Part:
        # Two clients may be at the same place at once: each has an object of its own, and one of them is recorded.
        key = f"{parts_prefix(upload.id)}/{start:015d}-{secrets.token_hex(8)}"
        await self._objects.put(key, block)
        crash_point(CrashPoint.PIECE_STORED)
        return Part(start, len(block), key)

    async def _discard(self, parts: Sequence[Part]) -> None:
        for part in parts:
            await self._objects.delete(part.key)


async def _blocks(chunks: AsyncIterator[bytes], limit: int, *, keep: bool) -> AsyncIterator[bytes]:
    """The same bytes in blocks of about PART_BYTES. keep: also what came before a client broke off.

    Raises InvalidRequest when there are more than `limit` of them, and what `chunks` raises.
    """
    held = bytearray()
    try:
        async for chunk in chunks:
            limit -= len(chunk)
            if limit < 0:
                held.clear()
                raise InvalidRequest("More came than was announced.")
            held += chunk
            if len(held) >= PART_BYTES:
                yield bytes(held)
                held.clear()
    except InvalidRequest:
        if keep and held:
            yield bytes(held)
        raise
    if held:
        yield bytes(held)
