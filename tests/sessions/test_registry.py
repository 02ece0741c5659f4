"""The registry of live nodes: the least loaded first, and the silent gone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from octavia_stream.errors import DependencyUnavailable
from octavia_stream.sessions import registry as registry_module
from octavia_stream.sessions.registry import NodeCard, NodeRegistry

pytestmark = pytest.mark.services


@pytest.fixture
async def registry(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NodeRegistry]:
    # The server is shared with other modules, the names are not.
    monkeypatch.setattr(registry_module, "_NODES", f"test:{uuid4()}")
    async with NodeRegistry(redis_url) as opened:
        yield opened


def card(load: float, *, draining: bool = False) -> NodeCard:
    return NodeCard(uuid4().hex, "http://127.0.0.1:1", 0, load, draining, datetime.now(UTC))


async def test_who_has_the_least_to_do_comes_first_and_who_drains_last(registry: NodeRegistry) -> None:
    busy, idle, leaving = card(0.8), card(0.1), card(0.0, draining=True)
    for one in (busy, leaving, idle):
        await registry.show(one)
    assert await registry.nodes() == [idle, busy, leaving]
    await registry.withdraw(idle.node_id)
    assert await registry.nodes() == [busy, leaving]
    assert await registry.node(idle.node_id) is None


async def test_a_node_that_says_nothing_is_gone(registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    silent, there = card(0.1), card(0.2)
    await registry.show(there)
    monkeypatch.setattr(registry_module, "GOOD_FOR_S", 1)
    await registry.show(silent)
    while await registry.node(silent.node_id) is not None:
        pass
    assert await registry.nodes() == [there]


async def test_without_redis_a_node_that_was_seen_is_still_found(
    registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = card(0.1)
    await registry.show(seen)
    await registry.nodes()
    async with NodeRegistry(f"unix://{tmp_path}/nobody.sock") as nowhere:
        with monkeypatch.context() as without_redis:
            without_redis.setattr(registry, "_client", nowhere._client)
            assert await registry.node(seen.node_id) == seen
            with pytest.raises(DependencyUnavailable):
                await registry.nodes()
            with pytest.raises(DependencyUnavailable):
                await registry.node("never seen")
