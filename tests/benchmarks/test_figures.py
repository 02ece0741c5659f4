"""Figures, goals and how they are written."""

import math

import msgspec
import pytest
from rich.console import Console

from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.machine import this_machine
from benchmarks.table import Report, show, to_json, written


def report(*sections: Section) -> Report:
    return Report(this_machine(), "2026-01-01 00:00 UTC", False, list(sections))


def test_a_goal_is_met_at_its_bound_and_on_one_side_of_it() -> None:
    assert Figure("x", 1.25, "×", at_most(1.25)).met is True
    assert Figure("x", 1.26, "×", at_most(1.25)).met is False
    assert Figure("x", 0.8, "×", at_least(0.8)).met is True
    assert Figure("x", 0.79, "×", at_least(0.8)).met is False
    assert Figure("x", 1.0).met is None


def test_a_figure_that_could_not_be_measured_meets_no_goal() -> None:
    assert Figure("x", math.nan, "ms", at_most(40)).met is False
    assert Figure("x", ratio(3.0, 0.0), "×", at_most(1.25)).met is False


def test_ratios_are_quotients() -> None:
    assert ratio(3.0, 2.0) == 1.5


def test_measures_have_three_significant_figures_and_counts_all_of_theirs() -> None:
    assert written(72.44, "s") == "72.4 s"
    assert written(1.2049, "×") == "1.20 ×"
    assert written(0.0931, "") == "0.093"
    assert written(1234.5, "MiB") == "1,234 MiB"
    assert written(0.0, "ms") == "0 ms"
    assert written(-3.456, "LU") == "-3.46 LU"
    assert written(7, "") == "7"
    assert written(math.nan, "ms") == "– ms"


def test_the_table_shows_every_figure_its_goal_and_whether_it_is_met() -> None:
    console = Console(record=True, width=100)
    figures = [Figure("server / lower bound", 1.3, "×", at_most(1.25)), Figure("chunks", 9)]
    show(report(Section("Speed", figures, {"server": 0.5}), Section("Copy", [], failure="no disk")), console)
    text = console.export_text()
    [bound] = [line for line in text.splitlines() if "server / lower bound" in line]
    assert "1.30 ×" in bound
    assert "≤ 1.25 × ✗" in bound
    assert "failed: no disk" in text
    assert "0.500 cores" in text


@pytest.mark.parametrize(("others", "warned"), [(0.05, False), (0.5, True)])
def test_a_busy_machine_is_told(others: float, warned: bool) -> None:
    console = Console(record=True, width=100)
    show(report(Section("Speed", [], {"server": others})), console)
    assert ("Other programs ran" in console.export_text()) is warned


def test_the_json_reads_back_as_the_report() -> None:
    made = report(Section("Speed", [Figure("wall", 72.44, "s", at_most(80))]))
    assert msgspec.json.decode(to_json(made), type=Report) == made
