"""What happens to a server in one round, and when: drawn from a seed, so that it can happen again."""

import random
from dataclasses import dataclass
from typing import Literal

Act = Literal["kill", "stop", "fill", "damage"]
Harm = Literal["flip", "truncate", "remove"]

LIGHT = (
    "api",
    "worker",
    "asr",
    "mt",
    "tts",
    "controller",
    "postgres",
    "postgres backend",
    "valkey",
    "jail",
)
"""Parts that come back within a second or two."""
HEAVY = ("gcs", "raylet", "ray", "deploy", "launcher")
"""Parts with which all of Ray goes: the machine needs a quarter of a minute for that, so one of them a round."""
STOPPABLE = ("api", "worker", "asr", "mt", "tts", "postgres", "valkey", "raylet", "launcher")
HARMS: tuple[Harm, ...] = ("flip", "truncate", "remove")
EARLIEST_S, LATEST_S = 0.5, 14.0
HEAVY_EVERY = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    """After the first job is asked for."""
    act: Act
    part: str = ""
    """Which process; none for the disk."""
    for_s: float = 0.0
    """How long a process is stopped, or the disk full."""
    harm: Harm = "flip"
    """What is done to an object."""

    def __str__(self) -> str:
        what = {"kill": f"kill -9 {self.part}", "stop": f"stop {self.part}", "fill": "fill the disk"}
        text = what.get(self.act, f"{self.harm} a checkpoint, kill the worker")
        return f"{self.at_s:.1f} s: {text}" + (f" for {self.for_s:.1f} s" if self.for_s else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that goes wrong in one round, and when its jobs are asked for."""

    seed: int
    faults: tuple[Fault, ...]
    submits_s: tuple[float, ...]
    """When each piece of work is asked for, in seconds from the first."""

    def __str__(self) -> str:
        return f"seed {self.seed}: " + "; ".join(str(fault) for fault in self.faults)


def draw(seed: int, works: int, *, can_fill: bool = True) -> Plan:
    """The plan of this seed. Every part has its turn within as many seeds as there are parts.

    works: how many pieces of work are asked for. can_fill: whether there is a disk that may be filled.
    """
    chance = random.Random(seed)  # noqa: S311  (no secret)
    faults = [Fault(_moment(chance), "kill", LIGHT[seed % len(LIGHT)])]
    if seed % HEAVY_EVERY == 0:
        faults.append(Fault(_moment(chance), "kill", HEAVY[seed // HEAVY_EVERY % len(HEAVY)]))
    else:
        faults.append(Fault(_moment(chance), "kill", chance.choice(LIGHT)))
    others: list[Act] = ["stop", "damage", "fill"] if can_fill else ["stop", "damage"]
    faults.append(_other(chance, others[seed % len(others)]))
    faults.append(_other(chance, chance.choice(others)))
    submits = [0.0] + [chance.uniform(0.0, LATEST_S / 2) for _ in range(works - 1)]
    return Plan(seed, tuple(sorted(faults, key=lambda fault: fault.at_s)), tuple(submits))


def _other(chance: random.Random, act: Act) -> Fault:
    if act == "stop":
        return Fault(_moment(chance), act, chance.choice(STOPPABLE), for_s=chance.uniform(1.0, 8.0))
    if act == "fill":
        return Fault(_moment(chance), act, for_s=chance.uniform(1.0, 6.0))
    return Fault(_moment(chance), "damage", harm=chance.choice(HARMS))


def _moment(chance: random.Random) -> float:
    return chance.uniform(EARLIEST_S, LATEST_S)
