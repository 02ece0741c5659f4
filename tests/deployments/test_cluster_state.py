"""The cluster is asked seldom while it is well, and always when it is not."""

from typing import Any

import pytest

from deployments import cluster_state
from deployments.cluster_state import GOOD_FOR_S, ClusterState


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cluster says next of its one deployment; each answer is given once."""
    said: list[str] = []

    def ask() -> dict[str, Any]:
        return {"nodes": [], "deployments": {"Tts": {"status": said.pop(0), "replicas": {}}}}

    monkeypatch.setattr(cluster_state, "_ask", ask)
    return said


def status(state: dict[str, Any]) -> str:
    return str(state["deployments"]["Tts"]["status"])


async def test_a_healthy_cluster_is_not_asked_again_at_once(answers: list[str]) -> None:
    now = 100.0
    state = ClusterState(lambda: now)
    answers += ["HEALTHY", "UNHEALTHY"]

    assert status(await state()) == "HEALTHY"
    now += GOOD_FOR_S - 0.1
    assert status(await state()) == "HEALTHY"
    now += 0.2
    assert status(await state()) == "UNHEALTHY"


async def test_what_is_not_well_is_asked_every_time(answers: list[str]) -> None:
    state = ClusterState(lambda: 100.0)
    answers += ["UPDATING", "UNHEALTHY", "HEALTHY"]

    assert [status(await state()) for _ in range(4)] == ["UPDATING", "UNHEALTHY", "HEALTHY", "HEALTHY"]


async def test_a_cluster_that_does_not_answer_leaves_the_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> dict[str, Any]:
        raise ConnectionError

    monkeypatch.setattr(cluster_state, "_ask", gone)

    assert await ClusterState()() == {}
