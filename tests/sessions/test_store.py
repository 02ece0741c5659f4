"""Live sessions in Postgres: one node has each, and what is held for it is charged once or let go."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from octavia_stream.accounts.standing import Grant
from octavia_stream.accounts.store import AccountStore
from octavia_stream.billing.audit import audit_ledger
from octavia_stream.config import Settings
from octavia_stream.errors import (
    Conflict,
    InsufficientCredits,
    LeaseLost,
    NotFound,
    OctaviaError,
    TooManySessions,
    Unauthorized,
)
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.live.state import RoomState, SpeakerState
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.sessions.session import AHEAD_S, TOP_UP_S, LiveSession

pytestmark = pytest.mark.services

ONE = LiveOptions(targets=(LiveTarget(Language("pt")),))
TWO = LiveOptions(targets=(LiveTarget(Language("pt")), LiveTarget(Language("es"))))
RATE = 12
"""Credits for a minute of one language, as the package has it."""
STATE = RoomState(seq=7, segment=3, speakers={"a": SpeakerState(position=16_000, voices={"pt": "amy"})})


@pytest.fixture(scope="module")
async def paid(settings: Settings) -> AsyncIterator[Runtime]:
    """A server at which credits are charged."""
    billing = settings.billing.model_copy(update={"enabled": True, "free_credits": 0})
    async with open_runtime(settings.model_copy(update={"billing": billing})) as runtime:
        yield runtime


async def somebody(accounts: AccountStore) -> UUID:
    return (await accounts.sign_up(f"{uuid4().hex}@example.org", "correct horse battery")).id


async def payer(runtime: Runtime, credits: int) -> UUID:
    owner = await somebody(runtime.accounts)
    await runtime.credits.grant(owner, credits, key=f"grant/{owner}", reason="A gift.")
    return owner


async def begin(runtime: Runtime, owner: UUID, options: LiveOptions = ONE) -> tuple[LiveSession, int]:
    session, _ = await runtime.live.create(owner, options, Grant(owner))
    return session, await runtime.live.take(session.id, "node-1")


async def lapse(runtime: Runtime, session: LiveSession, seconds: float) -> None:
    """As if nobody had said anything for that long."""
    query = """
    update live_session set lease_until = lease_until - make_interval(secs => $2),
        created_at = created_at - make_interval(secs => $2) where id = $1
    """
    await runtime.pool.execute(query, session.id, seconds)


async def test_a_node_that_fell_silent_is_followed_by_one_that_goes_on_where_it_was(runtime: Runtime) -> None:
    session, epoch = await begin(runtime, await somebody(runtime.accounts))
    await runtime.live.beat(session.id, epoch, STATE, 4.0)
    with pytest.raises(Conflict):
        await runtime.live.take(session.id, "node-2")
    await lapse(runtime, session, 15)
    later = await runtime.live.take(session.id, "node-2")
    assert later > epoch
    kept = await runtime.live.get(session.id)
    assert (kept.state, kept.heard_s, kept.node_id) == (STATE, 4.0, "node-2")
    for late in (runtime.live.beat(session.id, epoch, STATE, 5.0), runtime.live.end(session.id, epoch, "closed", 5.0)):
        with pytest.raises(LeaseLost):
            await late
    assert (await runtime.live.end(session.id, later, "closed", 6.5)).heard_s == 6.5


async def test_a_session_waits_for_its_speaker_and_lives_again(runtime: Runtime) -> None:
    session, epoch = await begin(runtime, await somebody(runtime.accounts))
    told: list[str] = []
    for heard_s, speaking in ((0.0, False), (0.0, True), (2.0, True), (2.0, False), (3.0, True)):
        await runtime.live.beat(session.id, epoch, STATE, heard_s, speaking=speaking)
        told.append((await runtime.live.get(session.id)).status)
    assert told == ["created", "live", "live", "waiting", "live"]
    await runtime.live.end(session.id, epoch, "closed", 3.0)
    assert (await runtime.live.end(session.id, epoch, "again", 9.0)).end_reason == "closed"
    with pytest.raises(NotFound):
        await runtime.live.take(session.id, "node-1")


async def test_a_session_is_charged_for_what_was_heard_and_by_its_languages(paid: Runtime) -> None:
    owner = await payer(paid, 1000)
    session, epoch = await begin(paid, owner, TWO)
    assert (await paid.credits.balance(owner)).held == 2 * RATE * AHEAD_S / 60
    ended = await paid.live.end(session.id, epoch, "closed", 90.0)
    assert ended.charged == 2 * RATE * 1.5
    now = await paid.credits.balance(owner)
    assert (now.balance, now.held) == (1000 - ended.charged, 0)
    newest = (await paid.credits.statement(owner, 1))[0]
    assert (newest.type, newest.amount, newest.reason) == ("capture", -ended.charged, "live")


async def test_more_is_held_while_it_goes_on_and_one_line_says_what_it_cost(paid: Runtime) -> None:
    owner = await payer(paid, 400)
    session, epoch = await begin(paid, owner)
    far = AHEAD_S - TOP_UP_S + 1
    assert (await paid.live.beat(session.id, epoch, STATE, far)).left_s == AHEAD_S
    assert len(await paid.credits.open_holds(owner)) == 1
    assert (await paid.credits.balance(owner)).held == -(-int(far + AHEAD_S) * RATE // 60)
    ended = await paid.live.end(session.id, epoch, "closed", far + 60)
    assert ended.charged == -(-int(far + 60) * RATE // 60)
    lines = await paid.credits.statement(owner, 10)
    assert [line.type for line in lines] == ["capture", "grant"]


async def test_who_has_no_more_credits_is_told_in_time_and_pays_for_no_more_than_was_held(paid: Runtime) -> None:
    owner = await payer(paid, int(RATE * AHEAD_S / 60))
    session, epoch = await begin(paid, owner)
    beat = await paid.live.beat(session.id, epoch, STATE, AHEAD_S - 60)
    assert (beat.left_s, beat.ending) == (60.0, None)
    beat = await paid.live.beat(session.id, epoch, STATE, AHEAD_S + 1)
    assert (beat.left_s, beat.ending) == (0.0, "credits_used_up")
    await paid.live.end(session.id, epoch, "credits_used_up", AHEAD_S + 2)
    now = await paid.credits.balance(owner)
    assert (now.balance, now.held) == (0, 0)
    with pytest.raises(InsufficientCredits):
        await paid.live.create(owner, ONE, Grant(owner))


async def test_what_nobody_takes_up_again_ends_by_itself_and_lets_go_what_it_holds(paid: Runtime) -> None:
    owner = await payer(paid, 1000)
    lost, epoch = await begin(paid, owner)
    await paid.live.beat(lost.id, epoch, STATE, 20.0)
    unused, _ = await paid.live.create(owner, ONE, Grant(owner))
    await paid.live.end_lost()
    assert {one.status for one in await paid.live.list_sessions(owner, 9)} == {"live", "created"}
    await lapse(paid, lost, 60)
    await lapse(paid, unused, 600)
    await asyncio.gather(*(paid.live.end_lost() for _ in range(3)))
    ended = {one.id: one for one in await paid.live.list_sessions(owner, 9)}
    assert ended[lost.id].end_reason == "lost"
    assert ended[lost.id].charged == 20 * RATE / 60
    assert (ended[unused.id].end_reason, ended[unused.id].charged) == ("nobody_came", 0)
    assert (await paid.credits.balance(owner)).held == 0
    with pytest.raises(LeaseLost):
        await paid.live.beat(lost.id, epoch, STATE, 21.0)


async def test_of_many_asked_for_at_once_as_many_begin_as_the_quota_has(runtime: Runtime) -> None:
    owner = await somebody(runtime.accounts)
    asked = [runtime.live.create(owner, ONE, Grant(owner)) for _ in range(10)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, TooManySessions) for answer in answers) == 8
    (first, _) = next(answer for answer in answers if not isinstance(answer, BaseException))
    await runtime.live.end_now(first.id, "closed")
    await runtime.live.create(owner, ONE, Grant(owner))


async def test_a_session_ends_when_what_it_was_asked_for_by_is_withdrawn(runtime: Runtime) -> None:
    owner = await somebody(runtime.accounts)
    key = (await runtime.api_keys.create(owner, "a stage", ["live:write"])).key
    session, _ = await runtime.live.create(owner, ONE, Grant(owner, key_id=key.id))
    epoch = await runtime.live.take(session.id, "node-1")
    assert (await runtime.live.beat(session.id, epoch, STATE, 1.0)).ending is None
    await runtime.api_keys.delete(key.id, owner)
    assert (await runtime.live.beat(session.id, epoch, STATE, 2.0)).ending == "withdrawn"


async def test_a_session_of_others_outlives_the_account_that_began_it_only_to_be_settled(paid: Runtime) -> None:
    """As in a team: what was held for it must not be forgotten with the account."""
    owner, founder = await payer(paid, 1000), await somebody(paid.accounts)
    session, _ = await paid.live.create(owner, ONE, Grant(founder))
    epoch = await paid.live.take(session.id, "node-1")
    await paid.pool.execute("delete from account where id = $1", founder)
    assert (await paid.live.beat(session.id, epoch, STATE, 30.0)).ending == "withdrawn"
    assert (await paid.live.end(session.id, epoch, "withdrawn", 30.0)).charged == RATE / 2
    assert (await paid.credits.balance(owner)).held == 0


async def test_who_asks_for_its_end_is_heard_at_the_next_sign_of_life(runtime: Runtime) -> None:
    session, epoch = await begin(runtime, await somebody(runtime.accounts))
    await runtime.live.ask_to_end(session.id, "administrator")
    assert (await runtime.live.beat(session.id, epoch, STATE, 1.0)).ending == "administrator"


async def test_a_listener_s_token_opens_the_session_until_it_is_taken_back(runtime: Runtime) -> None:
    owner = await somebody(runtime.accounts)
    session, token = await runtime.live.create(owner, ONE, Grant(owner))
    link, secret = await runtime.live.add_listener(session.id, "The balcony")
    mine, theirs = await runtime.live.open_by(token), await runtime.live.open_by(secret)
    assert (mine.session_id, mine.listener_id, theirs.listener_id) == (session.id, None, link.id)
    await runtime.live.add_peer(mine, "speaking")
    await runtime.live.add_peer(theirs, "hearing")
    await runtime.live.require_peer(theirs, "hearing")
    for peer in ("speaking", "guessed"):
        with pytest.raises(NotFound):
            await runtime.live.require_peer(theirs, peer)
    assert await runtime.live.remove_listener(session.id, link.id) == ["hearing"]
    for wrong in (secret, token + "x"):
        with pytest.raises(Unauthorized):
            await runtime.live.open_by(wrong)


async def test_after_all_this_the_books_add_up(paid: Runtime) -> None:
    assert (await audit_ledger(paid.pool)).clean


async def test_nothing_here_raises_anything_else(runtime: Runtime) -> None:
    unknown = uuid4()
    for asked in (
        runtime.live.get(unknown),
        runtime.live.end_now(unknown, "closed"),
        runtime.live.take(unknown, "node-1"),
        runtime.live.end(unknown, 1, "closed", 0.0),
        runtime.live.add_listener(unknown, "Nobody"),
        runtime.live.remove_listener(unknown, unknown),
    ):
        with pytest.raises(OctaviaError):
            await asked
