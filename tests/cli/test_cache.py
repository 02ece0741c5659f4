"""`octavia cache`, on a real database and a real storage."""

import asyncio
import json

import pytest
from pydantic import SecretStr

from octavia_stream.cache.shelf import NewResult, Shelf
from octavia_stream.cli.main import app
from octavia_stream.config import Settings
from octavia_stream.dubbing.digest import digest
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services


@pytest.fixture
def here(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody at the server."""
    assert isinstance(settings.redis_url, SecretStr)
    monkeypatch.setenv("OCTAVIA_HOME", str(settings.home))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", settings.redis_url.get_secret_value())


async def octavia(*words: str) -> None:
    """The command as it is typed; it has a loop of its own."""
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(app, ["cache", *words])
    assert not ended.value.code


@pytest.mark.usefixtures("here")
async def test_what_is_kept_is_shown_and_let_go(runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = Shelf(runtime.pool, runtime.objects)
    sizes = [await shelf.add([NewResult(digest(stage), None, stage, b"speech" * 2000)]) for stage in ("synthesize",)]
    sizes += [await shelf.add([NewResult(digest(text), None, "translate", b"text")]) for text in ("one", "two")]
    await octavia("show", "--json")
    shown = {part["stage"]: (part["results"], part["bytes"]) for part in json.loads(capsys.readouterr().out)}
    assert shown == {"synthesize": (1, sizes[0]), "translate": (2, sizes[1] + sizes[2])}
    await octavia("show")
    assert f"{sum(sizes)} of at most" in capsys.readouterr().out
    await octavia("clear")
    assert str(sum(sizes)) in capsys.readouterr().out
    assert await shelf.contents() == []
    assert [one async for one in runtime.objects.list("cache")] == []
