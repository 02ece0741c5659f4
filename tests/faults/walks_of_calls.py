"""What clients do about a death while they wait for an answer, and administrators while they give credits by hand."""

import asyncio
from uuid import UUID, uuid4

import httpx

from octavia_stream.crash_points import CrashPoint
from octavia_stream.instant.tidying import PREFIX
from tests.api.conftest import eventually
from tests.faults.lives import answering_life
from tests.faults.server import Server, walk

GIVEN = 70


@walk(
    CrashPoint.RECORDING_STORED,
    CrashPoint.CALL_HELD,
    CrashPoint.CALL_QUEUED,
    CrashPoint.CALL_ANSWERED,
    CrashPoint.CALL_SETTLED,
)
async def a_recording_is_sent_again(server: Server, point: CrashPoint) -> None:
    await server.die(point, server.transcribe, meanwhile=server.calls_are_over)
    # The next api lets go what its predecessor has left, when it starts.
    await nothing_is_left_of_calls(server)
    answer = await server.transcribe()
    assert answer.status_code == 200, answer.text
    # Who is charged is so before the answer goes out: a death in between costs a client one answer.
    await server.calls_were_charged(2 if point is CrashPoint.CALL_SETTLED else 1)
    await server.nothing_is_off()


@walk(CrashPoint.CALL_TAKEN)
async def a_client_leaves_a_worker_that_says_nothing(server: Server, point: CrashPoint) -> None:
    await server.answering.arm(point)
    asking = asyncio.create_task(server.transcribe())
    await server.answering.killed()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await nothing_is_left_of_calls(server)
    server.answering = answering_life(server.settings)
    answer = await server.transcribe()
    assert answer.status_code == 200, answer.text
    await server.calls_were_charged(1)
    await server.nothing_is_off()


async def nothing_is_left_of_calls(server: Server) -> None:
    """Holds, sound and recordings go by themselves."""
    await server.none_left(f"credit_hold where state = 'open' and owner_id = '{server.person}'")
    await server.none_left(f"sound_use where settled_at is null and owner_id = '{server.person}'")

    async def no_recordings() -> bool:
        return not await server.stored(PREFIX)

    await eventually(no_recordings, "the end of all recordings")


async def becomes_admin(server: Server) -> None:
    await server.runtime.pool.execute("update account set role = 'admin' where id = $1", server.person)


async def acts_of(server: Server) -> int:
    """How many are written down."""
    count: int = await server.runtime.pool.fetchval("select count(*) from admin_act where actor_id = $1", server.person)
    return count


@walk(CrashPoint.CREDITS_ADJUSTED, CrashPoint.ADJUSTMENT_RECORDED)
async def credits_are_given_by_hand_once(server: Server, point: CrashPoint) -> None:
    await becomes_admin(server)
    headers = {"Idempotency-Key": uuid4().hex}
    wish = {"amount": GIVEN, "reason": "For patience."}

    async def give() -> httpx.Response:
        return await server.http.post(f"/api/v1/admin/credits/{server.person}", json=wish, headers=headers)

    await server.die(point, give)
    for _ in range(2):
        again = await give()
        assert again.status_code == 200, again.text
    assert await acts_of(server) == 1
    server.bought = GIVEN
    await server.money_is_right()
    await server.nothing_is_off()


@walk(CrashPoint.DEED_WRITTEN_DOWN)
async def a_job_is_cancelled_for_somebody_after_all(server: Server, point: CrashPoint) -> None:
    await becomes_admin(server)
    where = await server.created()
    assert (await server.http.post(f"{where}/process")).status_code == 202
    job_id = UUID(where.rpartition("/")[2])

    async def cancel() -> httpx.Response:
        return await server.http.post(f"/api/v1/admin/jobs/{job_id}/cancel", json={"reason": "It was asked for."})

    await server.die(point, cancel)
    assert (await server.runtime.jobs.get(job_id, server.person)).status == "pending"
    assert (await cancel()).status_code == 202
    assert (await server.runtime.jobs.get(job_id, server.person)).status == "cancelled"
    # It was asked for twice, and done once.
    assert await acts_of(server) == 2
    await server.money_is_right()
    await server.nothing_is_off()
