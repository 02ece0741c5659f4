"""`make chaos`: a whole server, jobs of several customers, and everything that can go wrong, again and again.

Each round is drawn from a seed and can be repeated with `--seed`. Nothing outside of this program's own
descendants and its own disk is touched.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from tests.chaos.books import Books
from tests.chaos.disk import small_disk
from tests.chaos.harm import Trouble
from tests.chaos.plan import Plan, draw
from tests.chaos.server import Server
from tests.chaos.verdict import (
    Counts,
    Product,
    audited,
    counted,
    differences,
    ended_once,
    jobs_of,
    nothing_left,
    unexplained,
)
from tests.chaos.victims import adopt_orphans
from tests.chaos.work import WORKS, Customer, Done, Work

OWNERS = 3
QUIET = Plan(-1, (), (0.0,) * len(WORKS))


@dataclass(slots=True)
class Result:
    """One round."""

    plan: Plan
    seconds: float
    counts: Counts
    runs: int
    happened: list[str]
    repaired: dict[str, int]
    wrong: list[str]
    products: dict[str, Product] = field(default_factory=dict)


@dataclass(slots=True)
class Rounds:
    """The rounds of one server."""

    server: Server
    books: Books
    customers: list[Customer]
    console: Console

    async def play(self, plan: Plan, expected: dict[str, Product]) -> Result:
        """One round, from the first job to the last audit."""
        started_at = time.monotonic()
        before = len(self.server.journal.read())
        trouble = Trouble(self.server, self.books)
        works = [self._work(work, at_s) for work, at_s in zip(WORKS, plan.submits_s, strict=True)]
        troubled, *done = await asyncio.gather(trouble.make(plan), *works, return_exceptions=True)
        wrong = [f"{type(one).__name__}: {one}" for one in [troubled, *done] if isinstance(one, BaseException)]
        ended = [one for one in done if isinstance(one, Done)]
        await self.server.whole()
        result = Result(plan, 0.0, Counts(0, 0, 0, 0), sum(one.runs for one in ended), trouble.told, {}, wrong)
        await self._judge(result, ended, trouble, expected, before)
        result.seconds = time.monotonic() - started_at
        return result

    async def _work(self, work: Work, at_s: float) -> Done:
        await asyncio.sleep(at_s)
        return await self.customers[work.owner].see_through(work)

    async def _judge(
        self, result: Result, done: Sequence[Done], trouble: Trouble, expected: dict[str, Product], before: int
    ) -> None:
        begun = await jobs_of(self.books, done)
        result.counts = counted(begun.values(), trouble.damaged.keys())
        if result.counts.rerun:
            result.wrong.append(f"{result.counts.rerun} finished pieces were done again")
        stages = Counter(one.piece[0] for job in begun.values() for one in job)
        result.wrong += unexplained(self.server.journal.read()[before:], stages)
        for one in done:
            result.wrong += await ended_once(self.books, one)
            files = await self.customers[one.work.owner].fingerprints(one)
            made = Product(files, frozenset(await self.books.finished(one.job_id)))
            result.products[one.work.name] = made
            if expected:
                result.wrong += differences(one.work.name, made, expected[one.work.name])
        for customer in self.customers:
            result.wrong += [f"{times} × {what}" for what, times in Counter(customer.broken).items()]
            customer.broken.clear()
        unread = trouble.restore(await self.books.keys([one.job_id for one in done]))
        if unread:
            result.happened.append(f"{unread} damaged objects that nobody had to read again")
        result.repaired, off = await audited(self.server)
        result.wrong += off + await nothing_left(self.server)
        for one in done:
            await self.customers[one.work.owner].forget(one)


async def play_all(seeds: Sequence[int], console: Console, beside: Path, *, real_models: bool) -> list[Result]:
    """Rounds with these seeds, after one without faults that says what must come out.

    beside: where logs go.
    """
    with small_disk() as (home, can_fill):
        if not can_fill:
            console.print("No disk of our own can be mounted here (that takes root): the disk is not filled.")
        server = Server(home, beside, real_models=real_models)
        async with httpx.AsyncClient(base_url=server.url, timeout=30.0) as http:
            rounds = Rounds(server, Books(server.database_url), [Customer(http) for _ in range(OWNERS)], console)
            try:
                await server.start()
                await rounds.books.watch()
                expected = await rounds.play(QUIET, {})
                _tell(console, expected)
                results = [expected]
                if expected.wrong:
                    return results
                for seed in seeds:
                    plan = draw(seed, len(WORKS), can_fill=can_fill)
                    console.print(str(plan), highlight=False)
                    results.append(await rounds.play(plan, expected.products))
                    _tell(console, results[-1])
                    if results[-1].wrong:
                        server.keep_logs(f"seed-{seed}")
                return results
            finally:
                await server.stop()


def _tell(console: Console, result: Result) -> None:
    for line in [*result.happened, *(f"[bold red]{one}[/]" for one in result.wrong)]:
        console.print(f"    {line}", highlight=False)
    console.print(f"    {'WRONG' if result.wrong else 'right'} after {result.seconds:.0f} s", highlight=False)


def _table(results: Sequence[Result]) -> Table:
    table = Table(
        "seed", "seconds", "runs of jobs", "begun", "again", "remade", "finished done again", "repaired", "verdict"
    )
    for one in results:
        counts = one.counts
        numbers = (counts.begun, counts.again, counts.remade, counts.rerun)
        repaired = ", ".join(f"{count} {name}" for name, count in one.repaired.items())
        name = "no faults" if one.plan is QUIET else str(one.plan.seed)
        verdict = f"{len(one.wrong)} wrong" if one.wrong else "right"
        table.add_row(name, f"{one.seconds:.0f}", str(one.runs), *map(str, numbers), repaired, verdict)
    return table


def main() -> int:
    """Exit code 1 when anything was wrong in any round."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many rounds, with the seeds 0, 1, 2 …")
    parser.add_argument("--seed", type=int, action="append", help="repeat this one; may be given several times")
    parser.add_argument("--real-models", action="store_true", help="the embedded models in place of scripted engines")
    parser.add_argument("--logs", type=Path, help="keep the logs of the server here, and all of rounds that went wrong")
    arguments = parser.parse_args()
    # Told to end, it takes its server down and its disk away as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console(width=None if sys.stdout.isatty() else 160)
    adopt_orphans()
    seeds = arguments.seed if arguments.seed is not None else list(range(arguments.seeds))
    with tempfile.TemporaryDirectory(prefix="chaos-logs-") as beside:
        logs = Path(beside) if arguments.logs is None else arguments.logs
        logs.mkdir(parents=True, exist_ok=True)
        results = asyncio.run(play_all(seeds, console, logs, real_models=arguments.real_models))
    console.print(_table(results))
    return int(any(one.wrong for one in results))


if __name__ == "__main__":
    sys.exit(main())
