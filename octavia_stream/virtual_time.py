"""An event loop whose time is counted and not waited for: an hour of conversation passes in what it takes to compute.

When nothing is ready, time leaps to the next timer. Work in threads stands still in this time, or, when it is charged,
takes as long as it used the processor: then what comes out is what a machine with a free core for each engine would do,
however busy this one is. For tests and benchmarks: `asyncio.Runner(loop_factory=VirtualTimeLoop)`, and `loop.time` as
the clock.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import Any

_STUCK_S = 60.0
"""Real time in which nothing happens and nothing could."""


class _LeapingSelector(selectors.DefaultSelector):
    """Waits for threads and never for timers."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop.threads_at_work:
            return super().select(None if timeout is None or timeout > 0 else 0)
        if timeout is None:
            return super().select(_STUCK_S)
        found = super().select(0)
        if not found and timeout > 0:
            self.loop.leap(timeout)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0."""

    def __init__(self, *, charged: bool = False) -> None:
        """charged: work in threads takes the processor time it used; else none."""
        self._now_s = 0.0
        self.threads_at_work = 0
        self._charged = charged
        self._one_at_a_time = Lock()
        self._free_at: dict[Executor, float] = {}
        selector = _LeapingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def leap(self, seconds: float) -> None:
        """Nothing happens for so long."""
        self._now_s += seconds

    def run_in_executor(  # type: ignore[override]  # a Future, as there, of whatever the function returns
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        began = self._now_s
        self.threads_at_work += 1
        real = super().run_in_executor(executor, self._measured, func, args)
        outcome: asyncio.Future[Any] = self.create_future()

        def done(worked: asyncio.Future[Any]) -> None:
            self.threads_at_work -= 1
            if worked.cancelled():
                outcome.cancel()
                return
            result, error, cost = worked.result()
            self.call_at(self._end(executor, began, cost), _settle, outcome, result, error)

        real.add_done_callback(done)
        return outcome

    def _measured(self, func: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None, float]:
        """What came out, and the processor time of all threads it used."""
        with self._one_at_a_time:
            began = time.process_time()
            try:
                return func(*args), None, time.process_time() - began
            except Exception as error:  # noqa: BLE001  # goes to whoever awaits it
                return None, error, time.process_time() - began

    def _end(self, executor: Executor | None, began: float, cost: float) -> float:
        if not self._charged:
            return self._now_s
        if executor is None:
            return began + cost
        # An engine has one thread: a call waits for those before it.
        self._free_at[executor] = max(began, self._free_at.get(executor, 0.0)) + cost
        return self._free_at[executor]


def _settle(outcome: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if outcome.cancelled():
        return
    if error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
