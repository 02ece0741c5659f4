"""Models kept in an object store: a bucket of your own, a directory, or a plain web server."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url


def fetch_files(url: str, names: Sequence[str], target: Path) -> str | None:
    """Copy the files below `url` into a directory, streaming; None when all came, else the reason in words.

    names: files to take, as paths below the prefix; empty takes all there are (a web server cannot list).
    A name that ends in .gz is unpacked on the way.
    """
    try:
        # Plain http must be asked for by the address itself.
        store = from_url(url, client_options={"allow_http": url.startswith("http://")})
        for name in names or _listed(store):
            _save(store, name, target)
    except FileNotFoundError:
        return "a file of it is not in the object store"
    except (BaseError, ValueError):
        return "the object store could not be read"
    except zlib.error:
        return "a file of it is not a gzip file"
    return None


def _listed(store: obstore.store.ObjectStore) -> list[str]:
    return [item["path"] for batch in obstore.list(store) for item in batch]


def _save(store: obstore.store.ObjectStore, name: str, target: Path) -> None:
    path = target / name.removesuffix(".gz").rpartition("/")[2]
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if name.endswith(".gz") else None
    with path.open("wb") as file:
        for chunk in obstore.get(store, name).stream():
            file.write(unpack.decompress(bytes(chunk)) if unpack else bytes(chunk))
        if unpack:
            file.write(unpack.flush())
