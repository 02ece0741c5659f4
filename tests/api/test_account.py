"""One's own account: a new password, a letter for who forgot it, all one's data, and the end."""

import asyncio
import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from api.app import create_app
from octavia_stream.accounts.removal import Removal
from octavia_stream.config import MailSettings, Settings
from octavia_stream.errors import StorageUnavailable
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.storage.objects import ObjectStore
from tests.api.conftest import PASSWORD, Person, ScriptedWorker, create_job, eventually, person, serving, upload_video

pytestmark = pytest.mark.services

NEW_PASSWORD = "staple of the battery"


class Mailbox:
    """What an SMTP server on this machine took."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        letter = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        self.recipients += envelope.rcpt_tos
        return "250 taken"


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
async def address(settings: Settings, mailbox: Mailbox) -> AsyncIterator[str]:
    """A server that sends letters."""
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    port = smtp.sockets[0].getsockname()[1]
    mail = MailSettings(host="127.0.0.1", port=port, security="none", reset_page="https://dub.example.org/reset")
    with_mail = settings.model_copy(update={"mail": mail})
    try:
        async with serving(create_app(with_mail), with_mail) as url:
            yield url
    finally:
        smtp.close()
        await smtp.wait_closed()


@pytest.fixture
async def carol(address: str) -> AsyncIterator[Person]:
    async with person(address) as somebody:
        yield somebody


async def log_in_status(anyone: httpx.AsyncClient, somebody: Person, password: str) -> int:
    body = {"email": somebody.email, "password": password}
    return (await anyone.post("/api/v1/auth/log-in", json=body)).status_code


async def letter_to(mailbox: Mailbox, email: str, anyone: httpx.AsyncClient) -> str:
    """Ask for a new password; returns the secret of the letter."""
    before = mailbox.recipients.count(email)
    answer = await anyone.post("/api/v1/auth/password-reset", json={"email": email})
    assert answer.status_code == 202, answer.text

    async def arrived() -> bool:
        return mailbox.recipients.count(email) > before

    await eventually(arrived, "the letter arrives")
    found = re.search(r"https://dub\.example\.org/reset#token=(\S+)", mailbox.letters[-1].get_content())
    assert found is not None
    return found[1]


async def test_a_new_password_ends_all_other_sessions(anyone: httpx.AsyncClient, carol: Person) -> None:
    other = await anyone.post("/api/v1/auth/log-in", json={"email": carol.email, "password": PASSWORD})
    change = {"password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await carol.http.post("/api/v1/auth/password", json=change)).status_code == 204
    assert (await carol.http.get("/api/v1/auth/me")).status_code == 200
    header = {"Authorization": f"Bearer {other.json()['access_token']}"}
    assert (await anyone.get("/api/v1/auth/me", headers=header)).status_code == 401
    again = await anyone.post("/api/v1/auth/refresh", json={"refresh_token": other.json()["refresh_token"]})
    assert again.status_code == 401
    assert await log_in_status(anyone, carol, PASSWORD) == 401
    assert await log_in_status(anyone, carol, NEW_PASSWORD) == 200


async def test_who_does_not_know_the_password_changes_nothing(anyone: httpx.AsyncClient, carol: Person) -> None:
    change = {"password": "a wrong guess", "new_password": NEW_PASSWORD}
    assert (await carol.http.post("/api/v1/auth/password", json=change)).status_code == 403
    short = {"password": PASSWORD, "new_password": "short"}
    assert (await carol.http.post("/api/v1/auth/password", json=short)).status_code == 400
    gone = await carol.http.request("DELETE", "/api/v1/auth/me", json={"password": "a wrong guess"})
    assert gone.status_code == 403
    assert await log_in_status(anyone, carol, PASSWORD) == 200


async def test_the_letter_opens_the_account_once_and_ends_all_sessions(
    anyone: httpx.AsyncClient, carol: Person, mailbox: Mailbox
) -> None:
    token = await letter_to(mailbox, carol.email, anyone)
    letter = mailbox.letters[-1]
    assert letter["To"] == carol.email
    assert letter["Auto-Submitted"] == "auto-generated"
    confirm = {"token": token, "new_password": NEW_PASSWORD}
    short = {"token": token, "new_password": "short"}
    assert (await anyone.post("/api/v1/auth/password-reset/confirm", json=short)).status_code == 400
    answers = await asyncio.gather(
        *(anyone.post("/api/v1/auth/password-reset/confirm", json=confirm) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400, 400]
    assert (await carol.http.get("/api/v1/auth/me")).status_code == 401
    assert await log_in_status(anyone, carol, PASSWORD) == 401
    assert await log_in_status(anyone, carol, NEW_PASSWORD) == 200


async def test_an_older_or_a_late_letter_opens_nothing(
    anyone: httpx.AsyncClient, carol: Person, mailbox: Mailbox, runtime: Runtime
) -> None:
    first = await letter_to(mailbox, carol.email, anyone)
    second = await letter_to(mailbox, carol.email, anyone)
    kept = await runtime.pool.fetch("select hash, expires_at - now() < '30 minutes' as soon from password_reset")
    assert all(row["soon"] for row in kept)
    assert not any(second.encode() in row["hash"] for row in kept)
    await runtime.pool.execute("update password_reset set expires_at = now() - interval '1 second'")
    for token in (first, second, "op_x"):
        answer = await anyone.post(
            "/api/v1/auth/password-reset/confirm", json={"token": token, "new_password": NEW_PASSWORD}
        )
        assert answer.status_code == 400
    assert await log_in_status(anyone, carol, PASSWORD) == 200


async def test_the_answer_does_not_tell_whether_there_is_an_account(
    anyone: httpx.AsyncClient, carol: Person, mailbox: Mailbox
) -> None:
    unknown = await anyone.post("/api/v1/auth/password-reset", json={"email": "nobody@example.org"})
    await letter_to(mailbox, carol.email, anyone)
    known = await anyone.post("/api/v1/auth/password-reset", json={"email": carol.email})
    assert (unknown.status_code, unknown.json()) == (known.status_code, known.json())
    assert "nobody@example.org" not in mailbox.recipients


async def test_a_server_without_mail_says_so(settings: Settings) -> None:
    async with serving(create_app(settings), settings) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/api/v1/auth/password-reset", json={"email": "a@example.org"})
    assert answer.status_code == 404


async def test_one_s_data_comes_as_one_document_without_secrets(carol: Person) -> None:
    upload = await upload_video(carol)
    job = await create_job(carol, upload["id"])
    key = (await carol.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).json()
    answer = await carol.http.get("/api/v1/auth/me/export")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    export = answer.json()
    assert export["account"]["email"] == carol.email
    assert [one["id"] for one in export["uploads"]] == [upload["id"]]
    assert [one["id"] for one in export["jobs"]] == [job["id"]]
    assert [one["name"] for one in export["keys"]] == ["k"]
    assert len(export["sessions"]) == 1
    assert key["api_key"] not in answer.text
    assert "hash" not in answer.text
    assert "password" not in answer.text


async def objects_of(runtime: Runtime) -> int:
    return len([one async for one in runtime.objects.list("uploads")]) + len(
        [one async for one in runtime.objects.list("jobs")]
    )


async def test_an_account_goes_with_everything_it_owns_and_nothing_else(
    anyone: httpx.AsyncClient, carol: Person, address: str, runtime: Runtime
) -> None:
    async with person(address) as dave:
        kept = await create_job(dave, (await upload_video(dave))["id"])
        before = await objects_of(runtime)
        upload = await upload_video(carol)
        done, waiting = [await create_job(carol, upload["id"]) for _ in range(2)]
        key = (await carol.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).json()
        await carol.http.post(f"/api/v1/jobs/{done['id']}/process")
        await ScriptedWorker(runtime).play(done["id"])
        await carol.http.post(f"/api/v1/jobs/{waiting['id']}/process")
        assert await objects_of(runtime) > before
        gone = await carol.http.request("DELETE", "/api/v1/auth/me", json={"password": PASSWORD})
        assert gone.status_code == 204, gone.text
        assert await objects_of(runtime) == before
        for header in (carol.http.headers["Authorization"], f"Bearer {key['api_key']}"):
            answer = await anyone.get("/api/v1/jobs", headers={"Authorization": header})
            assert answer.status_code == 401
        assert await log_in_status(anyone, carol, PASSWORD) == 401
        for table in ("upload", "job"):
            query = f"select count(*) from {table} where owner_id = $1"  # noqa: S608  (of this list)
            assert await runtime.pool.fetchval(query, carol.id) == 0
        assert (await dave.http.get(f"/api/v1/jobs/{kept['id']}")).status_code == 200


async def test_an_account_waits_for_its_running_jobs_to_stop(carol: Person, runtime: Runtime) -> None:
    upload = await upload_video(carol)
    job = await create_job(carol, upload["id"])
    await carol.http.post(f"/api/v1/jobs/{job['id']}/process")
    worker = ScriptedWorker(runtime)
    await worker.take(job["id"])
    gone = await carol.http.request("DELETE", "/api/v1/auth/me", json={"password": PASSWORD})
    assert (gone.status_code, gone.json()["code"]) == (409, "conflict")
    assert (await carol.http.get(f"/api/v1/jobs/{job['id']}")).json()["cancel_requested"] is True
    await runtime.jobs.finish(worker.claim, "cancelled")
    gone = await carol.http.request("DELETE", "/api/v1/auth/me", json={"password": PASSWORD})
    assert gone.status_code == 204


class AwayOnce(ObjectStore):
    """A store that cannot be reached the first time something is to be deleted."""

    away = True

    async def delete(self, key: str) -> None:
        if self.away:
            self.away = False
            raise StorageUnavailable
        await super().delete(key)


async def test_files_that_could_not_go_with_their_account_go_later(carol: Person, runtime: Runtime) -> None:
    before = await objects_of(runtime)
    await upload_video(carol)
    objects = AwayOnce.from_url((runtime.settings.home / "objects").as_uri())
    removal = Removal(runtime.pool, runtime.jobs, objects)
    with pytest.raises(StorageUnavailable):
        await removal.remove_account(carol.id)
    assert await objects_of(runtime) == before + 1
    assert await removal.remove_objects() == 1
    assert await objects_of(runtime) == before
    assert await removal.remove_objects() == 0


async def test_what_a_waiting_job_held_is_let_go_before_its_owner_is(carol: Person, settings: Settings) -> None:
    charging = settings.model_copy(update={"billing": settings.billing.model_copy(update={"enabled": True})})
    async with open_runtime(charging) as runtime:
        await runtime.credits.grant(carol.id, 100, key=f"test:{carol.id}", reason="for a test")
        job = await create_job(carol, (await upload_video(carol))["id"])
        await runtime.jobs.submit(UUID(job["id"]), carol.id)
        assert len(await runtime.credits.open_holds(carol.id)) == 1
        await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_account(carol.id)
        assert await runtime.credits.open_holds(carol.id) == []
        assert (await runtime.credits.balance(carol.id)).balance == 100
