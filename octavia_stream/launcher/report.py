"""What the launcher tells: steps with their times, moving on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Report:
    """Steps may overlap; a terminal shows each that is under way, and for how long."""

    def __init__(self, console: Console | None) -> None:
        """console: None tells nobody."""
        self._console = console
        self._moving: Progress | None = None
        self._under_way: dict[str, TaskID] = {}

    @contextmanager
    def step(self, name: str, done: str = "ready") -> Iterator[None]:
        """Say that something is waited for, and how long it took; one that fails is named as such."""
        started_at = time.monotonic()
        self._begin(name)
        outcome = "[red]failed[/]"
        try:
            yield
            outcome = f"[green]{done}[/]"
        finally:
            self._end(name, outcome, time.monotonic() - started_at)

    def note(self, sentence: str) -> None:
        """Something that an operator should know."""
        if self._console is not None:
            self._console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def log_tail(self, name: str, lines: Sequence[str]) -> None:
        """The last words of a process that failed; a single line is the reason itself, told anyway."""
        if len(lines) < 2:
            return
        self.note(f"The end of logs/{name}.log:")
        for line in lines:
            self.note(f"  {line}")

    def _begin(self, name: str) -> None:
        if self._console is None:
            return
        if not self._console.is_terminal:
            self._console.print(f"{name}: starting", highlight=False)
            return
        if self._moving is None:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._moving = Progress(*columns, console=self._console, transient=True)
            self._moving.start()
        self._under_way[name] = self._moving.add_task(name, total=None)

    def _end(self, name: str, outcome: str, took_s: float) -> None:
        if self._console is None:
            return
        if self._moving is not None:
            self._moving.remove_task(self._under_way.pop(name))
            if not self._under_way:
                self._moving.stop()
                self._moving = None
        self._console.print(f"{name}: {outcome} after {took_s:.1f} s", highlight=False)
