"""Figure: one number that was measured, its unit, and the number we hold ourselves to."""

from typing import Literal

import msgspec

Relation = Literal["at most", "at least"]


class Goal(msgspec.Struct, frozen=True):
    """A bound, in the figure's unit."""

    relation: Relation
    bound: float

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.relation == "at most" else value >= self.bound


class Figure(msgspec.Struct, frozen=True):
    """One row of the table. docs/reference/benchmarks.md says what each name means."""

    name: str
    value: float
    """An integer is a count."""
    unit: str = ""
    """`%` means that `value` counts hundredths."""
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        """None without a goal."""
        return None if self.goal is None else self.goal.met_by(self.value)


class Section(msgspec.Struct, frozen=True):
    """Figures of one part, all from one run."""

    part: str
    figures: list[Figure]
    others: dict[str, float] = {}
    """Cores that other programs used meanwhile, by what was measured."""
    failure: str | None = None
    """Why there are no figures."""


def at_most(bound: float) -> Goal:
    return Goal("at most", bound)


def at_least(bound: float) -> Goal:
    return Goal("at least", bound)


def ratio(numerator: float, denominator: float) -> float:
    """Infinite when divided by nothing, so that a broken measurement meets no upper bound."""
    return numerator / denominator if denominator > 0 else float("inf")
