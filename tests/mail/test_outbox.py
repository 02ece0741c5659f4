"""The outbox: a letter is sent at least once, whoever dies in between, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID, uuid4

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from octavia_stream.accounts.account import Account
from octavia_stream.config import MailSettings
from octavia_stream.database.pool import Database
from octavia_stream.errors import DependencyUnavailable
from octavia_stream.mail import outbox
from octavia_stream.mail.outbox import Outbox
from octavia_stream.mail.smtp import SmtpMail
from octavia_stream.runtime import Runtime

pytestmark = pytest.mark.services


class Post:
    """An SMTP server on this machine that can be told to refuse."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.open = True

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if not self.open:
            return "451 come back later"
        letter = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        return "250 taken"


@pytest.fixture
async def post() -> Post:
    return Post()


@pytest.fixture
async def mail(post: Post) -> AsyncIterator[SmtpMail]:
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(post), "127.0.0.1", 0)
    yield SmtpMail(MailSettings(host="127.0.0.1", port=smtp.sockets[0].getsockname()[1], security="none"))
    smtp.close()
    await smtp.wait_closed()


@pytest.fixture
async def reader(runtime: Runtime) -> Account:
    await runtime.pool.execute("delete from letter")
    return await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")


async def write(runtime: Runtime, reader: Account, key: str) -> None:
    async with runtime.pool.transaction() as connection:
        await outbox.put(connection, reader.id, key=key, subject="Done: Ação.mp4", text="Your job is done.\n")


async def left(runtime: Runtime) -> int:
    count: int = await runtime.pool.fetchval("select count(*) from letter")
    return count


async def time_passes(runtime: Runtime) -> None:
    await runtime.pool.execute("update letter set next_try_at = now()")


async def test_a_letter_goes_out_once_for_its_key_and_is_forgotten(
    runtime: Runtime, reader: Account, post: Post, mail: SmtpMail
) -> None:
    for _ in range(3):
        await write(runtime, reader, "one")
    sent = await asyncio.gather(*(Outbox(runtime.pool, mail).deliver() for _ in range(4)))
    assert sum(sent) == len(post.letters) == 1
    (letter,) = post.letters
    assert (letter["To"], letter["Subject"]) == (reader.email, "Done: Ação.mp4")
    assert letter["Auto-Submitted"] == "auto-generated"
    assert await left(runtime) == 0


async def test_what_a_transaction_takes_back_is_not_sent(
    runtime: Runtime, reader: Account, post: Post, mail: SmtpMail
) -> None:
    async with runtime.pool.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await outbox.put(connection, reader.id, key="never", subject="S", text="T")
        await transaction.rollback()
    assert (await Outbox(runtime.pool, mail).deliver(), post.letters) == (0, [])


async def test_a_letter_waits_for_a_server_that_refuses(
    runtime: Runtime, reader: Account, post: Post, mail: SmtpMail
) -> None:
    box, post.open = Outbox(runtime.pool, mail), False
    await write(runtime, reader, "patient")
    assert await box.deliver() == 1
    assert await box.deliver() == 0, "not again at once"
    waits = await runtime.pool.fetchval("select next_try_at - now() > interval '4 minutes' from letter")
    assert (waits, await left(runtime)) == (True, 1)
    post.open = True
    await time_passes(runtime)
    assert (await box.deliver(), len(post.letters), await left(runtime)) == (1, 1, 0)


class DyingDatabase:
    """The database of a process that dies once it has handed a letter over."""

    def __init__(self, database: Database) -> None:
        self.fetch = database.fetch

    async def execute(self, query: str, *arguments: object) -> str:
        raise DependencyUnavailable


async def test_a_process_that_dies_after_sending_leaves_the_letter_to_the_next(
    runtime: Runtime, reader: Account, post: Post, mail: SmtpMail
) -> None:
    await write(runtime, reader, "twice")
    with pytest.raises(DependencyUnavailable):
        await Outbox(DyingDatabase(runtime.pool), mail).deliver()  # type: ignore[arg-type]
    await time_passes(runtime)
    assert await Outbox(runtime.pool, mail).deliver() == 1
    first, second = post.letters
    assert first["Message-ID"] == second["Message-ID"], "whoever gets it twice can tell"
    assert await left(runtime) == 0


async def test_a_letter_nobody_takes_is_given_up_after_days(
    runtime: Runtime, reader: Account, post: Post, mail: SmtpMail
) -> None:
    post.open = False
    await write(runtime, reader, "hopeless")
    await runtime.pool.execute("update letter set created_at = now() - interval '73 hours'")
    assert (await Outbox(runtime.pool, mail).deliver(), await left(runtime)) == (0, 0)


async def test_who_is_gone_gets_no_letter(runtime: Runtime, reader: Account, post: Post, mail: SmtpMail) -> None:
    await write(runtime, reader, "gone")
    await runtime.pool.execute("delete from account where id = $1", UUID(str(reader.id)))
    assert (await Outbox(runtime.pool, mail).deliver(), post.letters) == (0, [])
