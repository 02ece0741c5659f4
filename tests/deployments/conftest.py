"""One Ray node for all tests of this room, started the way the launcher starts it."""

import asyncio
import atexit
import logging
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from octavia_stream.launcher.child import Child
from octavia_stream.launcher.home import ray_directory, ray_token
from octavia_stream.launcher.ports import LOOPBACK, free_ports
from octavia_stream.launcher.ray_node import ray_arguments, ray_environment

HOME = Path(tempfile.mkdtemp(prefix="ov-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
# Ray reads these when it is imported, which the test modules of this room do at their top.
os.environ.update(ray_environment({}, ray_token(HOME), threads=1))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own models use what pydantic has deprecated
    import ray
    from ray import serve

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture(scope="session")
def ray_home() -> Path:
    """Where the node and the tests keep their files."""
    return HOME


@pytest.fixture(scope="session")
async def ray_head(ray_home: Path) -> AsyncIterator[str]:
    """The address of a head node with Serve on it; this process is connected."""
    from deployments.deploy import NAMESPACE, QUIET_LOGS, wait_for_cluster

    [port] = free_ports(1)
    address = f"{LOOPBACK}:{port}"
    arguments = ray_arguments(ray_directory(ray_home), port, cpus=4)
    node = await Child.start("ray", arguments, os.environ, ray_home / "logs" / "ray.log", signal.SIGTERM)
    try:
        await asyncio.to_thread(wait_for_cluster, address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
        await asyncio.to_thread(serve.start, proxy_location="Disabled", logging_config=QUIET_LOGS)
        yield address
    finally:
        ray.shutdown()
        await node.stop(grace_s=0)


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until something holds, at most a minute."""

    async def wait(holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await holds():  # noqa: ASYNC110  (the other side is another process)
                await asyncio.sleep(0.2)

    return wait
