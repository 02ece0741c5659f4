"""What becomes of a message or a letter when the api dies that was about to bring it: it comes, at least once."""

from uuid import uuid4

import httpx

from octavia_stream.crash_points import CrashPoint
from octavia_stream.mail import outbox
from tests.api.conftest import eventually
from tests.faults.neighbours import GONE
from tests.faults.server import Server, walk

HOOKS = "/api/v1/webhooks"


async def hook(server: Server, path: str) -> str:
    """The address of a webhook that wants to know of cancelled jobs."""
    answer = await server.http.post(HOOKS, json={"url": server.hooked.url + path, "events": ["job.cancelled"]})
    assert answer.status_code == 201, answer.text
    return f"{HOOKS}/{answer.json()['webhook']['id']}"


async def die_telling(server: Server, point: CrashPoint) -> None:
    """A job is cancelled, and the api dies of telling so."""
    where = await server.created()
    assert (await server.http.post(f"{where}/process")).status_code == 202

    async def cancel() -> httpx.Response:
        return await server.http.post(f"{where}/cancel")

    async def a_minute_passes() -> None:
        await server.runtime.pool.execute("update webhook_delivery set next_at = now() where state = 'waiting'")

    await server.die(point, cancel, answered=True, meanwhile=a_minute_passes)
    await server.none_left("webhook_delivery where state = 'waiting'")


async def deliveries(server: Server, webhook: str) -> list[str]:
    """How those to a webhook ended."""
    answer = await server.http.get(f"{webhook}/deliveries")
    return [one["state"] for one in answer.json()["deliveries"]]


@walk(CrashPoint.DELIVERY_TAKEN, CrashPoint.DELIVERY_POSTED, CrashPoint.DELIVERY_RECORDED)
async def a_message_comes_at_least_once_under_one_id(server: Server, point: CrashPoint) -> None:
    path = f"/{uuid4().hex}"
    webhook = await hook(server, path)
    await die_telling(server, point)
    assert await deliveries(server, webhook) == ["delivered"]
    told = server.hooked.told(path)
    assert len(told) == (2 if point is CrashPoint.DELIVERY_POSTED else 1)
    assert len(set(told)) == 1, "it is the same message"
    await server.money_is_right()
    await server.nothing_is_off()


@walk(CrashPoint.DELIVERY_FAILED)
async def an_address_that_is_gone_is_told_once_more_and_then_no_more(server: Server, point: CrashPoint) -> None:
    path = f"{GONE}{uuid4().hex}"
    webhook = await hook(server, path)
    await die_telling(server, point)
    assert await deliveries(server, webhook) == ["failed"]
    assert (await server.http.post(f"{webhook}/test")).status_code == 202

    async def is_off() -> bool:
        return not (await server.http.get(webhook)).json()["enabled"]

    await eventually(is_off, "the end of a webhook that is gone")
    assert len(set(server.hooked.told(path))) == 2
    await server.nothing_is_off()


@walk(CrashPoint.LETTER_TAKEN, CrashPoint.LETTER_SENT)
async def a_letter_comes_at_least_once_under_one_id(server: Server, point: CrashPoint) -> None:
    await server.api.stopped()
    async with server.runtime.pool.transaction() as connection:
        await outbox.put(connection, server.person, key=uuid4().hex, subject="Done", text="Your job is done.\n")

    async def minutes_pass() -> None:
        await server.runtime.pool.execute("update letter set next_try_at = now()")

    await server.die_at_start(minutes_pass, crash_point=point)
    await server.none_left("letter")
    came = server.post.letters_to(server.email)
    assert len(came) == (2 if point is CrashPoint.LETTER_SENT else 1)
    assert len(set(came)) == 1, "it is the same letter"
    await server.nothing_is_off()
