"""Whose call it is, and how much of the model servers is theirs beside others."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias
from uuid import UUID

from octavia_stream.dubbing.engines import Engines


class Priority(IntEnum):
    """What goes first."""

    LIVE = 0
    """Somebody waits for the answer."""
    BATCH = 1
    """A job."""


@dataclass(frozen=True, slots=True)
class Share:
    """What is served as one; calls of the same tenant and priority go in the order they came."""

    tenant: UUID
    """The account or team that pays."""
    weight: float = 1.0
    """Twice the weight gets twice as much while both have calls waiting. Above 0."""
    priority: Priority = Priority.BATCH


EnginesFor: TypeAlias = Callable[[Share], Engines]
"""The engines as one tenant's work sees them."""


def alike(engines: Engines) -> EnginesFor:
    """The same engines for everybody: for a script, or a test of something else."""
    return lambda _: engines
