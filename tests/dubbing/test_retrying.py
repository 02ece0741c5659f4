"""Retryable errors are asked again, others are not, and a full queue is no failure."""

import pytest

from octavia_stream.dubbing import retrying
from octavia_stream.dubbing.retrying import with_retries
from octavia_stream.errors import EngineUnavailable, InvalidRequest, OctaviaError, Overloaded


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_S", 0.0)


class Flaky:
    def __init__(self, *errors: OctaviaError) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_a_dead_replica_is_asked_again() -> None:
    flaky = Flaky(EngineUnavailable(), EngineUnavailable())
    assert await with_retries(flaky, 3) == "done"
    assert flaky.calls == 3


async def test_the_last_attempt_reports_its_error() -> None:
    flaky = Flaky(*(EngineUnavailable(str(n)) for n in range(5)))
    with pytest.raises(EngineUnavailable, match="2"):
        await with_retries(flaky, 3)


async def test_what_cannot_help_is_not_tried_again() -> None:
    flaky = Flaky(InvalidRequest())
    with pytest.raises(InvalidRequest):
        await with_retries(flaky, 3)
    assert flaky.calls == 1


async def test_a_full_queue_is_waited_for() -> None:
    flaky = Flaky(*(Overloaded() for _ in range(10)))
    assert await with_retries(flaky, 2) == "done"
