"""Teams over HTTP: who may do what, who comes in and how, whose credits a job takes, and what a team leaves behind."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from api.app import create_app
from octavia_stream.accounts.standing import Grant
from octavia_stream.accounts.team import ROLES, Role
from octavia_stream.accounts.team_roles import ACTIONS, Action, allowed
from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.config import BillingSettings, MailSettings, Settings
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.runtime import Runtime
from tests.api.conftest import PASSWORD, Person, ScriptedWorker, create_job, person, serving, upload_video

pytestmark = pytest.mark.services

SECRET = re.compile(r"https://dub\.example\.org/come#token=(\S+)")


class Mailbox:
    """What an SMTP server on this machine took."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}
        self.refuses = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refuses:
            return "451 not now"
        for recipient in envelope.rcpt_tos:
            self.letters[recipient] = (envelope.content or b"").decode().replace("=\r\n", "").replace("=3D", "=")  # type: ignore[union-attr]
        return "250 taken"

    def secret(self, email: str) -> str:
        found = SECRET.search(self.letters[email])
        assert found is not None
        return found[1]


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Jobs cost something, and nobody is given anything."""
    limits = settings.limits.model_copy(update={"invitations": 10_000})
    billing = BillingSettings(enabled=True, free_credits=0)
    return settings.model_copy(update={"billing": billing, "limits": limits})


@pytest.fixture(scope="module")
async def address(settings: Settings, mailbox: Mailbox) -> AsyncIterator[str]:
    """A server that sends letters."""
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    page = "https://dub.example.org/come"
    mail = MailSettings(host="127.0.0.1", port=smtp.sockets[0].getsockname()[1], security="none", invitation_page=page)
    with_mail = settings.model_copy(update={"mail": mail})
    try:
        async with serving(create_app(with_mail), with_mail) as url:
            yield url
    finally:
        smtp.close()
        await smtp.wait_closed()


@dataclass(frozen=True)
class Crew:
    """A team with somebody in every role, and somebody outside."""

    id: str
    people: dict[Role, Person]
    outsider: Person

    def http(self, role: Role) -> httpx.AsyncClient:
        return self.people[role].http

    @property
    def path(self) -> str:
        return f"/api/v1/teams/{self.id}"


async def found(owner: Person, name: str = "Dubbers") -> str:
    answer = await owner.http.post("/api/v1/teams", json={"name": name})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/api/v1/teams/{answer.json()['id']}"
    team_id: str = answer.json()["id"]
    return team_id


async def bring_in(team_id: str, by: Person, somebody: Person, role: str, mailbox: Mailbox) -> None:
    """By letter, as everybody comes in."""
    wish = {"email": somebody.email, "role": role}
    answer = await by.http.post(f"/api/v1/teams/{team_id}/invitations", json=wish)
    assert (answer.status_code, answer.json()["token"]) == (201, None), answer.text
    answer = await somebody.http.post("/api/v1/invitations/accept", json={"token": mailbox.secret(somebody.email)})
    assert (answer.status_code, answer.json()["role"]) == (200, role), answer.text


@pytest.fixture(scope="module")
async def crowd(address: str) -> AsyncIterator[dict[Role | None, Person]]:
    """Somebody for each role, and for none."""
    async with AsyncExitStack() as stack:
        roles: tuple[Role | None, ...] = (*ROLES, None)
        yield {role: await stack.enter_async_context(person(address)) for role in roles}


async def crew_of(crowd: dict[Role | None, Person], mailbox: Mailbox) -> Crew:
    people = {role: crowd[role] for role in ROLES}
    team_id = await found(people["owner"])
    for role in ("admin", "member", "viewer"):
        await bring_in(team_id, people["owner"], people[role], role, mailbox)
    return Crew(team_id, people, crowd[None])


@pytest.fixture
async def crew(crowd: dict[Role | None, Person], mailbox: Mailbox) -> Crew:
    """A team of the test's own."""
    return await crew_of(crowd, mailbox)


async def team_upload(crew: Crew, role: Role = "member") -> dict[str, Any]:
    upload = await upload_video(crew.people[role])
    answer = await crew.http(role).post(f"{crew.path}/uploads", json={"upload_id": upload["id"]})
    assert answer.status_code == 204, answer.text
    return upload


async def team_job(crew: Crew, upload_id: str, role: Role = "member") -> str:
    job_id: str = (await create_job(crew.people[role], upload_id, team_id=crew.id))["id"]
    return job_id


async def fund(crew: Crew, runtime: Runtime, amount: int = 10_000) -> None:
    await runtime.credits.grant(UUID(crew.id), amount, key=f"fund/{uuid4()}", reason="For the test.")


Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def requests_for(crew: Crew, runtime: Runtime) -> dict[Action, Ask]:
    """For each action a request that does it to something of this team; one that an allowed role can repeat."""
    upload = await team_upload(crew, "owner")
    job = await team_job(crew, upload["id"], "owner")
    viewer = crew.people["viewer"]
    await fund(crew, runtime)
    options = LiveOptions(targets=(LiveTarget(Language("pt")),))
    live, _ = await runtime.live.create(UUID(crew.id), options, Grant(crew.people["owner"].id))

    async def delete_a_job(http: httpx.AsyncClient) -> httpx.Response:
        return await http.delete(f"/api/v1/jobs/{await team_job(crew, upload['id'], 'owner')}")

    async def delete_an_upload(http: httpx.AsyncClient) -> httpx.Response:
        return await http.delete(f"/api/v1/uploads/{(await team_upload(crew, 'owner'))['id']}")

    async def invite(http: httpx.AsyncClient) -> httpx.Response:
        return await http.post(f"{crew.path}/invitations", json={"email": f"{uuid4().hex}@example.org"})

    async def create(http: httpx.AsyncClient) -> httpx.Response:
        wish = {"upload_id": upload["id"], "target_language": "pt", "team_id": crew.id}
        return await http.post("/api/v1/jobs/video-translate/create", json=wish)

    async def give(http: httpx.AsyncClient) -> httpx.Response:
        # Nobody's: who may give is told that, who may not that they may not.
        return await http.post(f"{crew.path}/uploads", json={"upload_id": str(uuid4())})

    return {
        "team:read": lambda http: http.get(f"{crew.path}/members"),
        "team:rename": lambda http: http.patch(crew.path, json={"name": "Renamed"}),
        # Refused to the owner too, in words of another kind: the team has credits, and to itself nothing is handed.
        "team:delete": lambda http: http.delete(crew.path),
        "team:transfer": lambda http: http.post(
            f"{crew.path}/owner", json={"account_id": str(crew.people["owner"].id)}
        ),
        "members:invite": invite,
        "members:change": lambda http: http.patch(f"{crew.path}/members/{viewer.id}", json={"role": "viewer"}),
        "members:remove": lambda http: http.delete(f"{crew.path}/members/{uuid4()}"),
        "billing:read": lambda http: http.get("/api/v1/billing/transactions", params={"team_id": crew.id}),
        "billing:buy": lambda http: http.post(
            "/api/v1/billing/checkout", json={"package_id": "starter", "team_id": crew.id}
        ),
        "jobs:read": lambda http: http.get(f"/api/v1/jobs/{job}"),
        "jobs:quote": lambda http: http.get(f"/api/v1/jobs/{job}/quote"),
        "jobs:create": create,
        "jobs:run": lambda http: http.post(f"/api/v1/jobs/{job}/process"),
        "jobs:change": delete_a_job,
        "uploads:create": give,
        "uploads:change": delete_an_upload,
        "live:read": lambda http: http.get("/api/v1/live/sessions", params={"team_id": crew.id}),
        "live:create": lambda http: http.post(
            "/api/v1/live/sessions", json={"team_id": crew.id, "targets": [{"language": "pt"}]}
        ),
        "live:change": lambda http: http.delete(f"/api/v1/live/sessions/{live.id}"),
    }


async def test_every_role_may_do_what_the_table_says_and_outsiders_see_nothing(crew: Crew, runtime: Runtime) -> None:
    asks = await requests_for(crew, runtime)
    assert set(asks) == set(ACTIONS)
    for action, ask in asks.items():
        answer = await ask(crew.outsider.http)
        assert answer.status_code == 404, (action, answer.text)
        for role in ("viewer", "member", "admin", "owner"):
            answer = await ask(crew.http(role))
            refused = answer.status_code == 403
            assert refused is not allowed(role, action), (action, role, answer.text)
            # There is no node here that could hold a live session.
            assert answer.status_code < 500 or action == "live:create"
            if refused:
                assert answer.json()["detail"].startswith(("A ", "An "))


async def test_a_member_may_change_what_they_made_themselves(crew: Crew) -> None:
    mine = await team_upload(crew, "member")
    job = await team_job(crew, mine["id"], "member")
    hers = await team_upload(crew, "admin")
    theirs = await team_job(crew, hers["id"], "admin")
    member = crew.http("member")
    for path in (f"/api/v1/jobs/{theirs}", f"/api/v1/uploads/{hers['id']}"):
        assert (await member.delete(path)).status_code == 403
    assert (await member.post(f"/api/v1/jobs/{theirs}/cancel")).status_code == 403
    assert (await member.delete(f"/api/v1/jobs/{job}")).status_code == 204
    assert (await member.delete(f"/api/v1/uploads/{mine['id']}")).status_code == 204


async def test_a_letter_lets_in_only_its_reader_and_only_once(crew: Crew, address: str, mailbox: Mailbox) -> None:
    async with person(address) as dora, person(address) as eve:
        invitations = f"{crew.path}/invitations"
        sent = await crew.http("admin").post(invitations, json={"email": dora.email.upper(), "role": "admin"})
        assert (sent.status_code, sent.json()["token"]) == (201, None)
        listed = (await crew.http("owner").get(invitations)).json()["invitations"]
        assert [one["email"] for one in listed] == [dora.email]
        token = {"token": mailbox.secret(dora.email)}
        assert (await eve.http.post("/api/v1/invitations/accept", json=token)).status_code == 404
        assert (await eve.http.post("/api/v1/invitations/decline", json=token)).status_code == 404
        answers = await asyncio.gather(*(dora.http.post("/api/v1/invitations/accept", json=token) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200, *[404] * 7]
        assert (await crew.http("owner").get(invitations)).json()["invitations"] == []
        members = (await dora.http.get(f"{crew.path}/members")).json()["members"]
        assert {one["account_id"]: one["role"] for one in members}[str(dora.id)] == "admin"
        again = await crew.http("admin").post(invitations, json={"email": dora.email})
        assert again.status_code == 409


async def test_an_invitation_can_be_withdrawn_replaced_declined_and_be_too_late(
    crew: Crew, address: str, mailbox: Mailbox, runtime: Runtime
) -> None:
    invitations = f"{crew.path}/invitations"
    async with person(address) as dora:

        async def invite() -> tuple[str, dict[str, str]]:
            answer = await crew.http("owner").post(invitations, json={"email": dora.email})
            return answer.json()["invitation"]["id"], {"token": mailbox.secret(dora.email)}

        async def accepted(token: dict[str, str]) -> int:
            return (await dora.http.post("/api/v1/invitations/accept", json=token)).status_code

        _, first = await invite()
        second_id, second = await invite()
        assert await accepted(first) == 404
        assert (await crew.http("owner").delete(f"{invitations}/{second_id}")).status_code == 204
        assert (await crew.http("owner").delete(f"{invitations}/{second_id}")).status_code == 404
        assert await accepted(second) == 404
        _, third = await invite()
        assert (await dora.http.post("/api/v1/invitations/decline", json=third)).status_code == 204
        assert await accepted(third) == 404
        _, fourth = await invite()
        kept = await runtime.pool.fetch("select * from team_invitation where email = $1", dora.email)
        assert fourth["token"] not in str([dict(row) for row in kept])
        await runtime.pool.execute("update team_invitation set expires_at = now() where email = $1", dora.email)
        assert await accepted(fourth) == 404
        assert (await crew.http("owner").get(invitations)).json()["invitations"] == []


async def test_whose_letter_is_not_taken_is_not_invited(crew: Crew, mailbox: Mailbox) -> None:
    mailbox.refuses = True
    try:
        answer = await crew.http("owner").post(f"{crew.path}/invitations", json={"email": "x@example.org"})
    finally:
        mailbox.refuses = False
    assert answer.status_code == 503
    assert (await crew.http("owner").get(f"{crew.path}/invitations")).json()["invitations"] == []


async def test_the_owner_stays_until_the_team_is_handed_over(crew: Crew) -> None:
    owner, admin = crew.people["owner"], crew.people["admin"]
    assert (await owner.http.delete(f"{crew.path}/members/{owner.id}")).status_code == 409
    assert (await admin.http.delete(f"{crew.path}/members/{owner.id}")).status_code == 409
    change = await admin.http.patch(f"{crew.path}/members/{owner.id}", json={"role": "viewer"})
    assert change.status_code == 409
    crown = await owner.http.patch(f"{crew.path}/members/{admin.id}", json={"role": "owner"})
    assert crown.status_code == 400
    nobody = await owner.http.post(f"{crew.path}/owner", json={"account_id": str(crew.outsider.id)})
    assert nobody.status_code == 404
    handed = await owner.http.post(f"{crew.path}/owner", json={"account_id": str(admin.id)})
    assert (handed.status_code, handed.json()["role"]) == (200, "admin")
    assert (await owner.http.delete(f"{crew.path}/members/{owner.id}")).status_code == 204
    assert (await owner.http.get(crew.path)).status_code == 404
    assert crew.id not in {one["id"] for one in (await owner.http.get("/api/v1/teams")).json()["teams"]}
    assert (await admin.http.get(crew.path)).json()["role"] == "owner"


async def test_a_job_of_a_team_takes_the_team_s_credits_and_is_seen_by_the_team(
    crew: Crew, runtime: Runtime, worker: ScriptedWorker
) -> None:
    upload = await team_upload(crew)
    job = await team_job(crew, upload["id"])
    member, viewer = crew.http("member"), crew.http("viewer")
    refused = await member.post(f"/api/v1/jobs/{job}/process")
    assert refused.status_code == 402, "the team has nothing yet"
    await fund(crew, runtime)
    quote = (await member.get(f"/api/v1/jobs/{job}/quote")).json()
    assert (quote["available"], quote["affordable"]) == (10_000, True)
    key = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(member.post(f"/api/v1/jobs/{job}/process", headers=key) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert 202 in {answer.status_code for answer in answers}
    held = (await crew.http("admin").get("/api/v1/billing/balance", params={"team_id": crew.id})).json()
    assert (held["held"], held["holds"][0]["job_id"]) == (quote["credits"], job)
    assert (await member.get("/api/v1/billing/balance")).json()["held"] == 0, "not out of a person's own pocket"
    await worker.play(job)
    seen = (await viewer.get(f"/api/v1/jobs/{job}")).json()
    assert (seen["status"], seen["team_id"]) == ("completed", crew.id)
    assert seen["created_by"] == str(crew.people["member"].id)
    assert (await viewer.get(f"/api/v1/jobs/{job}/download")).status_code == 200
    lines = await crew.http("owner").get("/api/v1/billing/transactions", params={"team_id": crew.id, "type": "capture"})
    assert [line["amount"] for line in lines.json()["transactions"]] == [-quote["credits"]]
    assert await audit_ledger(runtime.pool) == LedgerAudit(0, 0, 0, 0)


async def test_a_team_has_a_history_of_its_own(crew: Crew) -> None:
    upload = await team_upload(crew)
    jobs = [await team_job(crew, upload["id"]) for _ in range(3)]
    viewer = crew.http("viewer")
    first = await viewer.get("/api/v1/jobs", params={"team_id": crew.id, "limit": 2})
    assert [job["id"] for job in first.json()["jobs"]] == [jobs[2], jobs[1]]
    following = re.search(r"<(.+)>", first.headers["Link"])
    assert following is not None
    assert [job["id"] for job in (await viewer.get(following[1])).json()["jobs"]] == [jobs[0]]
    mine = (await crew.http("member").get("/api/v1/jobs", params={"limit": 100})).json()["jobs"]
    assert not {job["id"] for job in mine} & set(jobs)


async def test_an_upload_is_the_team_s_or_a_person_s_and_jobs_keep_it_where_it_is(crew: Crew) -> None:
    mine = await upload_video(crew.people["member"])
    wish = {"upload_id": mine["id"], "target_language": "pt", "team_id": crew.id}
    create = "/api/v1/jobs/video-translate/create"
    assert (await crew.http("member").post(create, json=wish)).status_code == 404
    await create_job(crew.people["member"], mine["id"])
    gift = await crew.http("member").post(f"{crew.path}/uploads", json={"upload_id": mine["id"]})
    assert gift.status_code == 409
    stolen = await crew.http("admin").post(f"{crew.path}/uploads", json={"upload_id": mine["id"]})
    assert stolen.status_code == 404


async def test_a_team_is_not_deleted_while_it_has_jobs_or_credits_and_leaves_nothing(
    crew: Crew, runtime: Runtime, worker: ScriptedWorker
) -> None:
    owner, upload = crew.http("owner"), await team_upload(crew)
    job = await team_job(crew, upload["id"])
    await fund(crew, runtime)
    assert (await owner.post(f"/api/v1/jobs/{job}/process")).status_code == 202
    running = await owner.delete(crew.path)
    assert (running.status_code, "cancel" in running.json()["detail"]) == (409, True)
    await worker.play(job)
    rich = await owner.delete(crew.path)
    assert rich.status_code == 409
    left = (await runtime.credits.balance(UUID(crew.id))).balance
    assert str(left) in rich.json()["detail"]
    await runtime.credits.adjust(UUID(crew.id), -left, key=f"empty/{crew.id}", reason="For the test.")
    assert (await owner.delete(crew.path)).status_code == 204
    for role in ROLES:
        assert (await crew.http(role).get(crew.path)).status_code == 404
        assert (await crew.http(role).get(f"/api/v1/jobs/{job}")).status_code == 404
    assert not [listed async for listed in runtime.objects.list(f"jobs/{job}")]
    assert await runtime.pool.fetchval("select count(*) from upload where id = $1", UUID(upload["id"])) == 0


async def leave_the_server(somebody: Person) -> httpx.Response:
    return await somebody.http.request("DELETE", "/api/v1/auth/me", json={"password": PASSWORD})


async def test_who_owns_a_team_with_others_hands_it_over_before_leaving_the_server(
    address: str, mailbox: Mailbox, runtime: Runtime
) -> None:
    async with person(address) as dora, person(address) as eve:
        shared, alone = await found(dora, "Shared"), await found(dora, "Alone")
        await bring_in(shared, dora, eve, "member", mailbox)
        refused = await leave_the_server(dora)
        assert (refused.status_code, "Shared" in refused.json()["detail"]) == (409, True)
        upload = await upload_video(dora)
        gift = await dora.http.post(f"/api/v1/teams/{shared}/uploads", json={"upload_id": upload["id"]})
        assert gift.status_code == 204
        job = await create_job(dora, upload["id"], team_id=shared)
        handed = await dora.http.post(f"/api/v1/teams/{shared}/owner", json={"account_id": str(eve.id)})
        assert handed.status_code == 200
        export = (await dora.http.get("/api/v1/auth/me/export")).json()
        assert {team["team"]["name"]: len(team["jobs"]) for team in export["teams"]} == {"Shared": 1, "Alone": 0}
        assert (await leave_the_server(dora)).status_code == 204
        kept = (await eve.http.get(f"/api/v1/jobs/{job['id']}")).json()
        assert (kept["team_id"], kept["created_by"]) == (shared, None)
        assert await runtime.pool.fetchval("select count(*) from team where id::text = $1", alone) == 0


async def test_a_name_is_visible_and_no_more_teams_are_owned_than_allowed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with person(address) as dora:
        for name in ("", "   ", "x" * 101, "a\u202eb"):
            assert (await dora.http.post("/api/v1/teams", json={"name": name})).status_code == 400, name
        monkeypatch.setattr("octavia_stream.accounts.teams.MAX_OWNED", 3)
        answers = await asyncio.gather(*(dora.http.post("/api/v1/teams", json={"name": "T"}) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409, 409]


async def test_a_team_is_bounded_with_those_who_are_invited(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octavia_stream.accounts.teams.MAX_MEMBERS", 6)
    wishes = [{"email": f"{uuid4().hex}@example.org"} for _ in range(4)]
    sent = await asyncio.gather(*(crew.http("owner").post(f"{crew.path}/invitations", json=one) for one in wishes))
    assert sorted(answer.status_code for answer in sent) == [201, 201, 409, 409]


async def test_where_no_letters_are_sent_the_inviter_hands_the_secret_on(
    settings: Settings, crew: Crew, address: str
) -> None:
    async with serving(create_app(settings), settings) as silent, person(address) as dora:
        async with httpx.AsyncClient(base_url=silent, headers=crew.http("owner").headers) as owner:
            made = await owner.post(f"{crew.path}/invitations", json={"email": dora.email, "role": "viewer"})
        accepted = await dora.http.post("/api/v1/invitations/accept", json={"token": made.json()["token"]})
        assert (accepted.status_code, accepted.json()["role"]) == (200, "viewer")
