"""Webhooks: addresses that are told what happens to jobs, and what became of it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from api.auth import PROTECTED
from api.errors import problems
from api.services import OwnerId, TheServices
from octavia_stream.webhooks.endpoint import JOB_HOOKS, Delivery, DeliveryState, Endpoint, HookType, JobHookType
from octavia_stream.webhooks.signature import message_name

MAX_PAGE = 100

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Events = Annotated[list[JobHookType], msgspec.Meta(min_length=1, max_length=20)]
Description = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
EndpointId = FromPath[UUID]
DeliveryId = FromPath[UUID]


class WebhookRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to tell what."""

    url: Url
    events: Events = msgspec.field(default_factory=lambda: list(JOB_HOOKS))
    description: Description = ""


class WebhookChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = None
    """True also lets one go on that the server had switched off."""


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook as its owner sees it later, without the secret."""

    id: UUID
    url: str
    description: str
    events: list[JobHookType]
    enabled: bool
    disabled_reason: str | None
    """Why the server switched it off."""
    failing_since: datetime | None
    created_at: datetime


class NewWebhookView(msgspec.Struct, frozen=True):
    """A webhook, and its secret, shown this once."""

    secret: str
    """With it messages are signed, as Standard Webhooks has it."""
    webhook: WebhookView


class WebhookList(msgspec.Struct, frozen=True):
    """Webhooks, newest first."""

    webhooks: list[WebhookView]


class NewSecretView(msgspec.Struct, frozen=True):
    """A new secret, shown this once."""

    secret: str
    old_secret_hours: int
    """For so long the old one signs too."""


class DeliveryView(msgspec.Struct, frozen=True):
    """One message to one webhook."""

    id: UUID
    webhook_id: str
    """As the header of that name had it."""
    type: HookType
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    """When it is tried next."""
    last_at: datetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None


class DeliveryPage(msgspec.Struct, frozen=True):
    """Deliveries, newest first."""

    deliveries: list[DeliveryView]
    next_before: UUID | None
    """Pass as `before` for the page after; None on the last one."""


@post("/", operation_id="createWebhook", summary="Make a webhook", responses=problems(401, 409, 422))
async def create_webhook(data: JSONBody[WebhookRequest], owner_id: OwnerId, services: TheServices) -> NewWebhookView:
    """The secret is in this answer and never again. 422 for an address where this server does not go."""
    made = await services.runtime.webhooks.create(owner_id, data.url, data.events, data.description)
    return NewWebhookView(made.secret, view(made.endpoint))


@get("/", operation_id="listWebhooks", summary="My webhooks", responses=problems(401))
async def list_webhooks(owner_id: OwnerId, services: TheServices) -> WebhookList:
    """Newest first."""
    return WebhookList([view(one) for one in await services.runtime.webhooks.list_endpoints(owner_id)])


@get("/{endpoint_id:uuid}", operation_id="getWebhook", summary="A webhook", responses=problems(401, 404))
async def get_webhook(endpoint_id: EndpointId, owner_id: OwnerId, services: TheServices) -> WebhookView:
    """Whether it works, and if not, since when."""
    return view(await services.runtime.webhooks.get(endpoint_id, owner_id))


@patch(
    "/{endpoint_id:uuid}", operation_id="changeWebhook", summary="Change a webhook", responses=problems(401, 404, 422)
)
async def change_webhook(
    endpoint_id: EndpointId, data: JSONBody[WebhookChange], owner_id: OwnerId, services: TheServices
) -> WebhookView:
    """What waits for a webhook that is switched on again goes out then."""
    changed = await services.runtime.webhooks.update(
        endpoint_id,
        owner_id,
        url=data.url,
        description=data.description,
        events=data.events,
        enabled=data.enabled,
    )
    return view(changed)


@delete("/{endpoint_id:uuid}", operation_id="deleteWebhook", summary="Delete a webhook", responses=problems(401, 404))
async def delete_webhook(endpoint_id: EndpointId, owner_id: OwnerId, services: TheServices) -> None:
    """It is told nothing more; its deliveries are forgotten."""
    await services.runtime.webhooks.delete(endpoint_id, owner_id)


@post(
    "/{endpoint_id:uuid}/secret",
    operation_id="rotateWebhookSecret",
    summary="A new secret",
    responses=problems(401, 404),
)
async def rotate_secret(endpoint_id: EndpointId, owner_id: OwnerId, services: TheServices) -> NewSecretView:
    """Shown this once. For some hours messages are signed with the old one too, so that nothing is lost meanwhile."""
    secret = await services.runtime.webhooks.rotate(endpoint_id, owner_id)
    return NewSecretView(secret, services.runtime.settings.webhooks.rotation_hours)


@post(
    "/{endpoint_id:uuid}/test",
    operation_id="testWebhook",
    summary="Send a message to try it",
    status_code=202,
    responses=problems(401, 404, 409),
)
async def test_webhook(endpoint_id: EndpointId, owner_id: OwnerId, services: TheServices) -> DeliveryView:
    """A message of type `ping`, delivered like any other. 409 when the webhook is switched off."""
    return delivery_view(await services.runtime.webhooks.ping(endpoint_id, owner_id))


@get(
    "/{endpoint_id:uuid}/deliveries",
    operation_id="listDeliveries",
    summary="What a webhook was told",
    responses=problems(401, 404),
)
async def list_deliveries(
    endpoint_id: EndpointId,
    owner_id: OwnerId,
    services: TheServices,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
) -> DeliveryPage:
    """Newest first, kept for some weeks."""
    found = await services.runtime.webhooks.deliveries(endpoint_id, owner_id, limit + 1, before, delivery_state)
    page = found[:limit]
    return DeliveryPage([delivery_view(one) for one in page], page[-1].message_id if len(found) > limit else None)


@post(
    "/deliveries/{delivery_id:uuid}/redeliver",
    operation_id="redeliver",
    summary="Deliver a message again",
    status_code=202,
    responses=problems(401, 404),
)
async def redeliver(delivery_id: DeliveryId, owner_id: OwnerId, services: TheServices) -> DeliveryView:
    """The same message under the same `webhook-id`, with as many attempts as a new one."""
    return delivery_view(await services.runtime.webhooks.redeliver(delivery_id, owner_id))


def view(endpoint: Endpoint) -> WebhookView:
    """What the owner sees."""
    return WebhookView(
        endpoint.id,
        endpoint.url,
        endpoint.description,
        endpoint.events,
        endpoint.enabled,
        endpoint.disabled_reason,
        endpoint.failing_since,
        endpoint.created_at,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """What the owner sees."""
    return DeliveryView(
        delivery.id,
        message_name(delivery.message_id),
        delivery.type,
        delivery.state,
        delivery.attempts,
        delivery.created_at,
        delivery.next_at,
        delivery.last_at,
        delivery.last_status,
        delivery.last_error,
        delivery.delivered_at,
    )


webhooks_router = Router(
    "/webhooks",
    route_handlers=[
        create_webhook,
        list_webhooks,
        get_webhook,
        change_webhook,
        delete_webhook,
        rotate_secret,
        test_webhook,
        list_deliveries,
        redeliver,
    ],
    security=PROTECTED,
    tags=["webhooks"],
)
