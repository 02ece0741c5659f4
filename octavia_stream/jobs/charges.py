"""Port: what jobs cost. It is asked within the transaction that changes the job: both happen, or neither."""

from typing import Protocol

from octavia_stream.database.pool import Connection
from octavia_stream.jobs.job import Job


class Charges(Protocol):
    """Sets aside what a job may cost, and settles when it ends. The job's row is locked by whoever asks."""

    async def submitted(self, connection: Connection, job: Job) -> None:
        """The job is about to be submitted, for the first time or to be run again: its epoch says which.

        Raises InsufficientCredits: then it is not.
        """
        ...

    async def ended(self, connection: Connection, job: Job) -> None:
        """The job has just ended; its status and report say how."""
        ...


class EveryCharge:
    """Several charges for one job: asked in their order, and the first that refuses has the word."""

    def __init__(self, *charges: Charges) -> None:
        self._charges = charges

    async def submitted(self, connection: Connection, job: Job) -> None:
        for charge in self._charges:
            await charge.submitted(connection, job)

    async def ended(self, connection: Connection, job: Job) -> None:
        for charge in self._charges:
            await charge.ended(connection, job)


class NoCharges:
    """Everything is free."""

    async def submitted(self, connection: Connection, job: Job) -> None:
        pass

    async def ended(self, connection: Connection, job: Job) -> None:
        pass
