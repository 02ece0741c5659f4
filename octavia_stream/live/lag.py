"""Lag: how a phrase is to be spoken, by how late it is. Pure."""

from dataclasses import dataclass

FASTEST = 1.25
RELAXED_S = 0.3
"""Waiting for the phrase before is normal up to here…"""
HURRIED_S = 1.5
"""…and from here on everything is said as fast as it may."""
HOPELESS = 1.5
"""Phrases later than so many times the limit are dropped."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How one phrase is spoken."""

    speed: float
    pauses: float
    """How much is left of the pauses between phrases: 1 is all, 0 is none."""


def pace(behind_s: float, lag_s: float, most_lag_s: float) -> Pace | None:
    """How to speak a phrase; None: not at all.

    behind_s: how long it has to wait for those before it. lag_s: its ear-voice span if it were next.
    most_lag_s: what the session asks for.
    """
    if lag_s > HOPELESS * most_lag_s:
        return None
    if lag_s > most_lag_s:
        return Pace(FASTEST, 0.0)
    hurry = min(max((behind_s - RELAXED_S) / (HURRIED_S - RELAXED_S), 0.0), 1.0)
    return Pace(round(1.0 + (FASTEST - 1.0) * hurry, 3), 1.0 - hurry)
