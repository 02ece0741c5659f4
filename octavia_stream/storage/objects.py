"""ObjectStore: media, checkpoints and results by key, on a disk or in a bucket, through obstore.

Keys are made by the server, never by a user, and are checked all the same: segments of
letters, digits, `.`, `_` and `-` that do not start with a dot, joined by `/`.
An object appears whole or not at all.
"""

import asyncio
import errno
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions, store

from octavia_stream.config import S3Settings
from octavia_stream.errors import Conflict, InvalidRequest, NotFound, StorageFull, StorageUnavailable
from octavia_stream.storage.presigning import Presigner

PART_BYTES = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 2
"""Times PART_BYTES is what a stream of any length may hold in memory."""
READ_BYTES = 1024 * 1024
DELETE_BATCH = 500
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_KEY_MAX = 512
_FULL = tuple(f"os error {number}" for number in (errno.ENOSPC, errno.EDQUOT))


class StoredObject(NamedTuple):
    """What was written."""

    size: int
    """Bytes."""
    sha256: str
    """In hexadecimal."""


class ListedObject(NamedTuple):
    """What lies under a key."""

    key: str
    size: int
    modified: datetime


class ObjectStore:
    """Objects by key. Methods raise NotFound, StorageUnavailable (a retry helps), StorageFull, InvalidRequest."""

    def __init__(
        self, backend: "store.ObjectStore", directory: Path | None = None, presigner: Presigner | None = None
    ) -> None:
        """directory: where a local store keeps its files. presigner: of a bucket. Use `from_url` or `from_s3`."""
        self._backend = backend
        self._directory = directory
        self._presigner = presigner

    @classmethod
    def from_s3(cls, url: str, settings: S3Settings) -> "ObjectStore":
        """`s3://bucket/prefix`, at AWS or another service. Raises InvalidRequest for a URL that names no bucket."""
        options = {"region": settings.region}
        if settings.endpoint is not None:
            options |= {
                "endpoint": settings.endpoint,
                "allow_http": str(settings.endpoint.startswith("http://")).lower(),
                "virtual_hosted_style_request": "false",
            }
        if settings.access_key_id is None or settings.secret_access_key is None:
            return cls.from_url(url, options)
        secret = settings.secret_access_key.get_secret_value()
        objects = cls.from_url(url, {**options, "access_key_id": settings.access_key_id, "secret_access_key": secret})
        if settings.redirect_downloads:
            parts = urlsplit(url)
            endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
            objects._presigner = Presigner(
                endpoint, parts.netloc, parts.path.strip("/"), settings.region, settings.access_key_id, secret
            )
        return objects

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, str] | None = None) -> "ObjectStore":
        """`file:///directory`, `s3://bucket/prefix` (also `gs://`, `az://`) or `memory:`.

        options: what obstore calls config, such as `endpoint`, and `allow_http`; credentials usually come from
        the environment under the provider's own names. Raises InvalidRequest for a URL that names no store.
        """
        config = dict(options or {})
        parts = urlsplit(url)
        if parts.scheme == "memory":
            return cls(store.MemoryStore())
        if parts.scheme == "file":
            directory = Path(unquote(parts.path)).absolute()
            directory.mkdir(parents=True, exist_ok=True)
            return cls(store.LocalStore(directory, mkdir=True), directory)
        allow_http = config.pop("allow_http", "false") == "true"
        if parts.scheme == "s3":
            # The bucket itself refuses to overwrite when the parts are put together.
            config["copy_if_not_exists"] = "multipart"
        try:
            backend = store.from_url(
                url,
                config=cast(Any, config),
                client_options={"connect_timeout": "5s", "timeout": "60s", "allow_http": allow_http},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
            )
        except (exceptions.BaseError, ValueError) as error:
            raise InvalidRequest("OCTAVIA_STORAGE_URL is not a storage URL, such as s3://bucket/prefix.") from error
        return cls(backend)

    async def put(self, key: str, data: bytes, *, create_only: bool = False) -> StoredObject:
        """Write an object. With `create_only`, raises Conflict when there is another one already."""
        _check(key)
        stored = StoredObject(len(data), await asyncio.to_thread(_sha256, data))
        try:
            with _translated():
                await obstore.put_async(
                    self._backend, key, data, mode="create" if create_only else "overwrite", use_multipart=False
                )
        except Conflict:
            await self._require_same(key, stored)
        return stored

    async def put_stream(self, key: str, data: AsyncIterator[bytes], *, create_only: bool = False) -> StoredObject:
        """Write an object as it comes, of any length, in bounded memory. If `data` raises, nothing is kept.

        With `create_only`, raises Conflict when there is another one already, however late it appeared.
        """
        _check(key)
        if create_only:
            return await self._create_from(key, data)
        hashed = _Hashed(data)
        with _translated():
            await obstore.put_async(self._backend, key, hashed, chunk_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT)
        return StoredObject(hashed.size, hashed.sha256)

    async def _create_from(self, key: str, data: AsyncIterator[bytes]) -> StoredObject:
        """Beside it first: a store decides who is first by itself, but not in the middle of a stream."""
        beside = f"staging/{secrets.token_hex(16)}"
        try:
            stored = await self.put_stream(beside, data)
            with _translated():
                await obstore.copy_async(self._backend, beside, key, overwrite=False)
        except Conflict:
            await self._require_same(key, stored)
        finally:
            await asyncio.shield(self.delete(beside))
        return stored

    async def _require_same(self, key: str, stored: StoredObject) -> None:
        """Raises Conflict. The same content is no conflict: only the answer to an earlier attempt was lost."""
        found = _Hashed(self.stream(key))
        async for _ in found:
            continue
        if (found.size, found.sha256) != stored:
            raise Conflict("This object exists already.")

    async def put_file(self, key: str, path: Path, *, create_only: bool = False) -> StoredObject:
        """Copy a file in, in bounded memory. create_only: as for `put_stream`."""
        return await self.put_stream(key, _read(path), create_only=create_only)

    async def get(self, key: str) -> bytes:
        """The whole object, in memory."""
        _check(key)
        with _translated():
            found = await obstore.get_async(self._backend, key)
            return bytes(await found.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start` to before `end` (None: the object's end), in pieces of about a megabyte."""
        _check(key)
        if end is not None and end <= start:
            return
        wanted: Any = {"range": {"offset": start} if end is None else (start, end)} if (start, end) != (0, None) else {}
        with _translated():
            found = await obstore.get_async(self._backend, key, options=wanted)
            async for piece in found.stream(READ_BYTES):
                yield bytes(piece)

    async def download(self, key: str, path: Path) -> None:
        """Copy an object to a file, which appears whole or not at all. Raises StorageFull for this disk too."""
        partial = path.with_name(path.name + ".partial")
        try:
            with _translated():
                file = await asyncio.to_thread(partial.open, "wb")
                with file:
                    async for piece in self.stream(key):
                        await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(partial.replace, path)
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)

    def local_path(self, key: str) -> Path | None:
        """Where a local store keeps the object, for reading without a copy; None when it is not on this machine."""
        _check(key)
        return None if self._directory is None else self._directory / key

    def signed_url(self, key: str, seconds: int, answer: Mapping[str, str]) -> str | None:
        """Where a bucket gives this object out itself for `seconds`; None when it does not.

        answer: `Content-Type` and such, with which it shall.
        """
        _check(key)
        return None if self._presigner is None else self._presigner.url(key, seconds, answer)

    async def size(self, key: str) -> int:
        """Bytes. Raises NotFound."""
        _check(key)
        with _translated():
            return (await obstore.head_async(self._backend, key))["size"]

    async def exists(self, key: str) -> bool:
        try:
            await self.size(key)
        except NotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove an object; one that is gone is no error."""
        _check(key)
        with _translated():
            try:
                await obstore.delete_async(self._backend, key)
            except FileNotFoundError:
                return

    async def leftover_parts(self, older_than: datetime) -> list[str]:
        """What writes that were killed left on a local disk. A bucket keeps its parts to itself."""
        directory = self._directory
        return [] if directory is None else await asyncio.to_thread(_parts, directory, older_than)

    async def remove_leftover_parts(self, older_than: datetime) -> int:
        """Remove them; returns how many there were. Younger ones may be somebody's work under way."""
        parts = await self.leftover_parts(older_than)
        if self._directory is not None:
            for part in parts:
                await asyncio.to_thread((self._directory / part).unlink, missing_ok=True)
        return len(parts)

    async def list(self, prefix: str) -> AsyncIterator[ListedObject]:
        """Objects below `prefix/`, in no order. The prefix is whole segments: `jobs/1` does not find `jobs/12/a`."""
        _check(prefix)
        with _translated():
            async for batch in obstore.list(self._backend, prefix):
                for meta in batch:
                    yield ListedObject(meta["path"], meta["size"], meta["last_modified"])

    async def delete_prefix(self, prefix: str) -> int:
        """Remove everything below `prefix/`; returns how many objects that were."""
        count = 0
        while keys := [listed.key async for listed in _first(self.list(prefix), DELETE_BATCH)]:
            for key in keys:
                await self.delete(key)
            count += len(keys)
        return count


class _Hashed:
    """Passes a stream on and sums it up. An error of the source is kept, for obstore would wrap it."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    def __aiter__(self) -> "_Hashed":
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._source)
        self._hash.update(piece)
        self.size += len(piece)
        return piece

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


async def _read(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    with file:
        while piece := await asyncio.to_thread(file.read, READ_BYTES):
            yield piece


async def _first(listed: AsyncIterator[ListedObject], limit: int) -> AsyncIterator[ListedObject]:
    count = 0
    async for one in listed:
        yield one
        count += 1
        if count == limit:
            return


def _parts(directory: Path, older_than: datetime) -> list[str]:
    """Files that obstore writes to before it renames them: `key#1`."""
    found = []
    for path in directory.rglob("*#*"):
        with suppress(FileNotFoundError):
            modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if modified < older_than and path.name.rpartition("#")[2].isdigit():
                found.append(str(path.relative_to(directory)))
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check(key: str) -> None:
    if len(key) > _KEY_MAX or not _KEY.fullmatch(key):
        raise InvalidRequest("That is not the key of an object.")


@contextmanager
def _translated() -> Iterator[None]:
    """Obstore's errors and the disk's become ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("There is no such file in storage.") from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise Conflict("This object exists already.") from error
    except (exceptions.BaseError, OSError) as error:
        if any(sign in str(error) for sign in _FULL) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The storage is full; free some space and try again.") from error
        raise StorageUnavailable("The storage cannot be reached just now; try again in a few seconds.") from error
