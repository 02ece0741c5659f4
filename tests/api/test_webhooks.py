"""Webhooks, from an address of a user to a message there, whatever happens in between."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from octavia_stream.config import Settings
from octavia_stream.runtime import Runtime
from octavia_stream.webhooks import deliverer
from octavia_stream.webhooks.deliverer import Deliverer
from tests.api.conftest import NewJob, Person, ScriptedWorker, eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

HOOKS = "/api/v1/webhooks"


@dataclass
class Receiver:
    """An address that keeps what it is told, and answers as it is told to."""

    url: str = ""
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        location = "Location: http://127.0.0.1:9/\r\n" if self.status == 302 else ""
        writer.write(f"HTTP/1.1 {self.status} So\r\n{location}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    inside = settings.outbound.model_validate({"allowed_networks": ["127.0.0.0/8"]})
    return settings.model_copy(update={"outbound": inside})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "POLL_S", 0.05)
    monkeypatch.setattr(deliverer, "RETRIES_S", (0.01, 0.01))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield made


async def hook(somebody: Person, receiver: Receiver, **options: Any) -> tuple[str, str]:
    """A webhook: its id and its secret."""
    answer = await somebody.http.post(HOOKS, json={"url": receiver.url, **options})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return made["webhook"]["id"], made["secret"]


async def deliveries(somebody: Person, endpoint_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await somebody.http.get(f"{HOOKS}/{endpoint_id}/deliveries")).json()["deliveries"]
    return found


async def states(somebody: Person, endpoint_id: str) -> list[str]:
    return [one["state"] for one in await deliveries(somebody, endpoint_id)]


async def gone(somebody: Person, endpoint_id: str) -> None:
    assert (await somebody.http.delete(f"{HOOKS}/{endpoint_id}")).status_code == 204


async def test_a_job_s_events_arrive_signed_at_who_wants_them(
    alice: Person, bob: Person, receiver: Receiver, new_job: NewJob, worker: ScriptedWorker
) -> None:
    mine, secret = await hook(alice, receiver)
    other, _ = await hook(bob, receiver)
    ends, _ = await hook(alice, receiver, events=["job.completed"])
    job = await new_job(submit=True)
    await worker.play(job["id"])

    async def all_told() -> bool:
        return await states(alice, mine) == ["delivered"] * 2 and await states(alice, ends) == ["delivered"]

    await eventually(all_told, "both endpoints were told")
    assert sorted(receiver.types()) == ["job.completed", "job.completed", "job.started"]
    assert await deliveries(bob, other) == []
    (signed,) = [(headers, body) for headers, body in receiver.got if json.loads(body)["type"] == "job.started"]
    told = Webhook(secret).verify(signed[1], signed[0])
    assert told["data"]["job_id"] == job["id"]
    done = next(json.loads(body) for _, body in receiver.got if json.loads(body)["type"] == "job.completed")
    assert done["data"]["status"] == "completed"
    assert [one["name"] for one in done["data"]["artifacts"]] == ["dub.mp4", "source.srt"]
    assert "key" not in done["data"]["artifacts"][0]
    assert (await deliveries(alice, mine))[0]["webhook_id"] in {headers["webhook-id"] for headers, _ in receiver.got}
    for person, endpoint_id in ((alice, mine), (alice, ends), (bob, other)):
        await gone(person, endpoint_id)


async def test_what_fails_is_tried_again_as_the_same_message_and_given_up_in_the_end(
    alice: Person, receiver: Receiver
) -> None:
    endpoint_id, _ = await hook(alice, receiver)
    receiver.status = 302
    await alice.http.post(f"{HOOKS}/{endpoint_id}/test")

    async def failed() -> bool:
        return await states(alice, endpoint_id) == ["failed"]

    await eventually(failed, "it was given up")
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    (told,) = await deliveries(alice, endpoint_id)
    assert (told["attempts"], told["last_status"], told["next_at"]) == (3, 302, None)
    assert (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["failing_since"] is not None

    receiver.status = 204
    again = await alice.http.post(f"{HOOKS}/deliveries/{told['id']}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "waiting")

    async def arrived() -> bool:
        return await states(alice, endpoint_id) == ["delivered"]

    await eventually(arrived, "it arrived after all")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["failing_since"] is None
    await gone(alice, endpoint_id)


async def test_while_a_secret_is_replaced_both_are_right(alice: Person, receiver: Receiver) -> None:
    endpoint_id, old = await hook(alice, receiver)
    new = (await alice.http.post(f"{HOOKS}/{endpoint_id}/secret")).json()["secret"]
    await alice.http.post(f"{HOOKS}/{endpoint_id}/test")

    async def arrived() -> bool:
        return bool(receiver.got)

    await eventually(arrived, "a ping arrived")
    headers, body = receiver.got[0]
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)
    await gone(alice, endpoint_id)


async def test_an_address_that_is_gone_is_switched_off_until_its_owner_says_otherwise(
    alice: Person, receiver: Receiver
) -> None:
    endpoint_id, _ = await hook(alice, receiver)
    receiver.status = 410
    await alice.http.post(f"{HOOKS}/{endpoint_id}/test")

    async def off() -> bool:
        return not (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["enabled"]

    await eventually(off, "it was switched off")
    assert "410" in (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["disabled_reason"]
    assert (await alice.http.post(f"{HOOKS}/{endpoint_id}/test")).status_code == 409
    on = await alice.http.patch(f"{HOOKS}/{endpoint_id}", json={"enabled": True, "description": "mended"})
    assert (on.json()["enabled"], on.json()["disabled_reason"], on.json()["description"]) == (True, None, "mended")
    await gone(alice, endpoint_id)


async def test_an_address_that_failed_for_days_is_switched_off(
    alice: Person, receiver: Receiver, runtime: Runtime
) -> None:
    endpoint_id, _ = await hook(alice, receiver)
    long_ago = "update webhook_endpoint set failing_since = now() - interval '6 days' where id = $1"
    await runtime.pool.execute(long_ago, UUID(endpoint_id))
    receiver.status = 500
    await alice.http.post(f"{HOOKS}/{endpoint_id}/test")

    async def off() -> bool:
        return not (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["enabled"]

    await eventually(off, "it was switched off")
    assert "5 days" in (await alice.http.get(f"{HOOKS}/{endpoint_id}")).json()["disabled_reason"]
    await gone(alice, endpoint_id)


async def test_what_was_taken_by_a_process_that_died_is_due_again(
    alice: Person, receiver: Receiver, runtime: Runtime
) -> None:
    """Of a kill between taking and concluding nothing is left but a time, after which the message is due."""
    endpoint_id, _ = await hook(alice, receiver)
    receiver.status = 503
    told = (await alice.http.post(f"{HOOKS}/{endpoint_id}/test")).json()

    async def failed() -> bool:
        return await states(alice, endpoint_id) == ["failed"]

    await eventually(failed, "it was given up")
    sent, receiver.status = len(receiver.got), 200
    as_taken = "update webhook_delivery set state = 'waiting', tries = 1, next_at = now() where id = $1"
    await runtime.pool.execute(as_taken, UUID(told["id"]))

    async def arrived() -> bool:
        return await states(alice, endpoint_id) == ["delivered"]

    await eventually(arrived, "the message was sent again")
    assert len(receiver.got) == sent + 1
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    await gone(alice, endpoint_id)


async def test_many_processes_deliver_a_message_once(
    alice: Person, receiver: Receiver, runtime: Runtime, settings: Settings
) -> None:
    endpoint_id, _ = await hook(alice, receiver)
    others = [
        asyncio.create_task(Deliverer(runtime.webhooks, settings.webhooks, settings.outbound).run()) for _ in range(3)
    ]
    for _ in range(12):
        await alice.http.post(f"{HOOKS}/{endpoint_id}/test")

    async def arrived() -> bool:
        return await states(alice, endpoint_id) == ["delivered"] * 12

    await eventually(arrived, "all of them arrived")
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert len(receiver.got) == len({headers["webhook-id"] for headers, _ in receiver.got}) == 12
    page = (await alice.http.get(f"{HOOKS}/{endpoint_id}/deliveries?limit=5")).json()
    rest = (await alice.http.get(f"{HOOKS}/{endpoint_id}/deliveries?before={page['next_before']}")).json()
    assert len({one["id"] for one in page["deliveries"] + rest["deliveries"]}) == 12
    await gone(alice, endpoint_id)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "ftp://example.org/", "http://u:p@example.org/", "x"]
)
async def test_nobody_sends_us_inside(alice: Person, url: str) -> None:
    answer = await alice.http.post(HOOKS, json={"url": url})
    assert answer.status_code == 422, answer.text


async def test_there_are_ten_at_most_and_keys_make_none(alice: Person, receiver: Receiver) -> None:
    made = [await hook(alice, receiver) for _ in range(10)]
    assert (await alice.http.post(HOOKS, json={"url": receiver.url})).status_code == 409
    assert len((await alice.http.get(HOOKS)).json()["webhooks"]) == 10
    key = (await alice.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:write"]})).json()["api_key"]
    answer = await alice.http.get(HOOKS, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    for endpoint_id, _ in made:
        await gone(alice, endpoint_id)
