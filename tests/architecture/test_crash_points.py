"""Crash points: each name stands at one place, so that a walk over all names is a walk over all places."""

import ast
from collections import Counter
from pathlib import Path

from octavia_stream.crash_points import CrashPoint

ROOT = Path(__file__).parents[2]


def named_places() -> list[str]:
    """The name at each place in the code."""
    return [
        argument.attr
        for package in ("octavia_stream", "api", "deployments")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point"
        for argument in node.args
        if isinstance(argument, ast.Attribute)
    ]


def test_each_crash_point_stands_at_exactly_one_place() -> None:
    assert Counter(named_places()) == Counter(point.name for point in CrashPoint)
