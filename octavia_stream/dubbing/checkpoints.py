"""Port: what is finished need not be done again."""

from typing import Literal, Protocol

Stage = Literal["transcribe", "translate", "synthesize", "assemble", "draw"]
"""The stages of the corridor, in order."""


class Checkpoints(Protocol):
    """Results of finished work, by stage and index, each under the digest of all that it depends on."""

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        """The payload saved under exactly this digest, or None."""
        ...

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        """Count an attempt before the work starts. Raises LeaseLost when the job has a new owner."""
        ...

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        """Keep a result; it is durable when this returns. Raises LeaseLost, StorageFull, StorageUnavailable."""
        ...


class NoCheckpoints:
    """Keeps nothing: for a REPL, a script, a benchmark."""

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        return None

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        return None

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        return None
