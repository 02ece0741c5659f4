"""What every process opens first."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from octavia_stream.config import Settings
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.runtime import Runtime, load_secret, open_runtime, storage_url

pytestmark = pytest.mark.services

_PRINT_SECRET = """
import sys
from octavia_stream.config import Settings
from octavia_stream.runtime import load_secret
sys.stdin.readline()
print(load_secret(Settings.model_validate({"home": sys.argv[1], "secret_key": None})).get_secret_value())
"""


async def test_a_runtime_opens_on_real_services_and_answers(runtime: Runtime) -> None:
    await runtime.pool.ping()
    await runtime.redis.ping()
    await runtime.objects.put("a", b"b")
    assert (runtime.settings.home / "objects" / "a").read_bytes() == b"b"


async def test_a_runtime_starts_without_redis_but_not_without_postgres(settings: Settings, tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    async with open_runtime(Settings.model_validate({**dict(settings), "redis_url": nowhere})) as runtime:
        await runtime.pool.ping()
        with pytest.raises(DependencyUnavailable):
            await runtime.redis.ping()
    gone = f"postgresql://x@/x?host={tmp_path}"
    with pytest.raises(DependencyUnavailable):
        async with open_runtime(Settings.model_validate({**dict(settings), "database_url": gone})):
            pass


async def test_without_urls_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "database_url": None, "redis_url": None})
    with pytest.raises(DependencyUnavailable, match="octavia serve"):
        async with open_runtime(settings):
            pass


def test_processes_that_start_together_agree_on_one_private_secret(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-c", _PRINT_SECRET, str(home)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    secrets = {process.communicate()[0].strip() for process in processes}
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 32
    assert stat.S_IMODE((home / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["secret_key"]


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "secret_key": "mine", "storage_url": "s3://bucket"})
    assert load_secret(settings).get_secret_value() == "mine"
    assert storage_url(settings) == "s3://bucket"
    assert list(tmp_path.iterdir()) == []
