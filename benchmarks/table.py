"""The report as a table for people and as JSON for programs."""

import math

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figure import Figure, Section
from benchmarks.machine import Machine

QUIET_CORES = 0.15
"""Others may use this much before it shows in the figures."""


class Report(msgspec.Struct, frozen=True):
    """All that one call of the benchmarks measured."""

    machine: Machine
    measured_at: str
    """ISO 8601, UTC."""
    quick: bool
    sections: list[Section]


def show(report: Report, console: Console) -> None:
    """Print one table, the machine above it."""
    machine = report.machine
    console.print(machine.sentence, highlight=False, soft_wrap=True)
    if report.quick:
        console.print("A quick run on a short excerpt: for finding mistakes, not for quoting.", highlight=False)
    if any(cores > QUIET_CORES for section in report.sections for cores in section.others.values()):
        console.print("Other programs ran meanwhile: seconds are upper bounds, ratios of seconds mean little.")
    table = Table(title=f"octavia-stream, measured {report.measured_at}", title_justify="left")
    table.add_column("figure", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for section in report.sections:
        table.add_section()
        table.add_row(Text(section.part, style="bold"), "", "")
        if section.failure is not None:
            table.add_row(Text(f"failed: {section.failure}", style="red"), "", "")
        for figure in section.figures:
            table.add_row(figure.name, written(figure.value, figure.unit), _goal(figure))
        for what, cores in section.others.items():
            table.add_row(Text(f"other programs meanwhile ({what})", style="dim"), written(cores, "cores"), "")
    console.print(table)


def to_json(report: Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


def written(value: float, unit: str) -> str:
    """A count as it is, a measure with three significant figures; then its unit: `9`, `72.4 s`, `1.21 ×`."""
    if not math.isfinite(value):
        return f"– {unit}".rstrip()
    decimals = 0 if isinstance(value, int) else _decimals(abs(value))
    return f"{value:,.{decimals}f} {unit}".rstrip()


def _decimals(size: float) -> int:
    if size == 0:
        return 0
    return min(max(2 - math.floor(math.log10(size)), 0), 3)


def _goal(figure: Figure) -> Text:
    if figure.goal is None:
        return Text("")
    sign = "≤" if figure.goal.relation == "at most" else "≥"
    goal = f"{sign} {figure.goal.bound:g} {figure.unit}".rstrip()
    return Text(f"{goal} ✓", style="green") if figure.met else Text(f"{goal} ✗", style="red")
