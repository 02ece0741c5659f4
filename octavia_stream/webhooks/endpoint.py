"""Where to tell what, and what became of it."""

from datetime import datetime
from typing import Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

HookType: TypeAlias = Literal["job.started", "job.quality", "job.completed", "job.failed", "job.cancelled", "ping"]
JobHookType: TypeAlias = Literal["job.started", "job.quality", "job.completed", "job.failed", "job.cancelled"]
JOB_HOOKS: tuple[JobHookType, ...] = get_args(JobHookType)
DeliveryState: TypeAlias = Literal["waiting", "delivered", "failed"]


class Endpoint(msgspec.Struct, frozen=True):
    """One row of table `webhook_endpoint`, without its secrets."""

    id: UUID
    account_id: UUID
    url: str
    description: str
    events: list[JobHookType]
    enabled: bool
    disabled_reason: str | None
    """Why the server stopped telling; None when it did not."""
    failing_since: datetime | None
    """When the first of the failures came that nothing has succeeded since; None when all is well."""
    created_at: datetime


class Delivery(msgspec.Struct, frozen=True):
    """One message to one endpoint."""

    id: UUID
    message_id: UUID
    type: HookType
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    """When it is tried next; None when it is not."""
    last_at: datetime | None
    last_status: int | None
    """HTTP status of the last answer; None when there was none."""
    last_error: str | None
    """Why the last attempt failed; None when it did not."""
    delivered_at: datetime | None


class DueDelivery(msgspec.Struct, frozen=True):
    """What a deliverer needs for one attempt, and nobody else may see."""

    id: UUID
    endpoint_id: UUID
    message_id: UUID
    tries: int
    """This one included, in this round."""
    url: str
    secrets: list[str]
    """With each of them it is signed."""
    payload: msgspec.Raw
    """JSON."""
