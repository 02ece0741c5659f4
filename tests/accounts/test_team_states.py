"""Teams beside a model of them: anything that people do to them, in any order, several at once.

`TEAM_STEPS=5000` takes that many steps, for a machine with time; a few hundred otherwise.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from octavia_stream.accounts.invitations import InvitationStore
from octavia_stream.accounts.removal import Removal
from octavia_stream.accounts.team import GivenRole, Role
from octavia_stream.accounts.teams import TeamStore
from octavia_stream.billing import ledger
from octavia_stream.billing.audit import LedgerAudit, audit_ledger
from octavia_stream.config import Settings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.errors import Conflict, DependencyUnavailable, Forbidden, InsufficientCredits, NotFound
from octavia_stream.jobs.job import DubbingOptions
from octavia_stream.runtime import Runtime, open_runtime
from octavia_stream.uploads.upload import upload_key

pytestmark = [pytest.mark.services, pytest.mark.timeout(3600)]

T = TypeVar("T")

STEPS = int(os.environ.get("TEAM_STEPS", "300"))
STEPS_PER_RUN = 30
AT_ONCE = 4
PEOPLE = 5
GIVEN: tuple[GivenRole, ...] = ("admin", "member", "viewer")

OPERATIONS = (
    "found", "invite", "accept", "decline", "revoke", "change", "remove", "leave", "transfer", "delete_team",
    "delete_account", "fund", "spend", "job",
)  # fmt: skip
EXPECTED = ("found", "invite", "accept", "change", "remove", "transfer", "delete_team", "delete_account", "job")
"""None of them is left out; the others are met as often as chance has it."""


@dataclass(frozen=True)
class Step:
    """One operation: what, by whom, to whom, as what, in which of the teams that there are."""

    operation: str
    who: int
    whom: int
    role: GivenRole
    pick: int


STEP = st.builds(
    Step,
    st.sampled_from(OPERATIONS),
    st.integers(0, PEOPLE - 1),
    st.integers(0, PEOPLE - 1),
    st.sampled_from(GIVEN),
    st.integers(0, 1000),
)


@dataclass
class Model:
    """What is known for sure while only one does something at a time."""

    roles: dict[UUID, dict[UUID, Role]] = field(default_factory=dict)
    """By team, then by account."""
    funds: dict[UUID, int] = field(default_factory=dict)


class TeamMachine(RuleBasedStateMachine):
    """Runs steps on Postgres. One alone is compared with the model; after several at once the model is read anew,
    and what must always hold is asked of the database."""

    runner: asyncio.Runner
    runtime: Runtime
    done: Counter[str]

    @initialize()
    def begin(self) -> None:
        self.model = Model()
        self.secrets: list[tuple[UUID, UUID, str, GivenRole]] = []
        """(team, account, secret, role) of each invitation ever made."""
        self.teams = TeamStore(self.runtime.pool)
        self.invitations = InvitationStore(self.runtime.pool)
        self.removal = Removal(self.runtime.pool, self.runtime.jobs, self.runtime.objects)
        self.people = [self.patiently(self.newcomer) for _ in range(PEOPLE)]
        self.gone: set[UUID] = set()
        self.unsure = False
        """Whether the database did not answer, so that nobody knows what came of it."""
        self.patiently(self.first_team)

    def patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask again while a crowded machine lets the database answer late."""
        while True:
            try:
                return self.runner.run(ask())
            except DependencyUnavailable:
                continue

    async def first_team(self) -> None:
        """With somebody in every role, and somebody outside."""
        team = await self.teams.create(self.people[0], "Dubbers")
        for whom, role in zip(self.people[1:], GIVEN, strict=False):
            made = await self.invitations.invite(team.id, self.people[0], f"{whom.hex}@example.org", role)
            await self.invitations.accept(made.secret, whom)
        self.secrets.append((team.id, self.people[-1], made.secret, GIVEN[-1]))
        await self.read_anew()

    async def newcomer(self) -> UUID:
        """An account, without the time that hashing a password takes."""
        account_id = uuid7()
        await self.runtime.pool.execute(
            "insert into account (id, email, password_hash) values ($1, $2, 'none')",
            account_id,
            f"{account_id.hex}@example.org",
        )
        return account_id

    @rule(step=STEP)
    def alone(self, step: Step) -> None:
        self.runner.run(self.perform(step))
        self.patiently(self.read_anew if self.unsure else self.compare)

    @rule(steps=st.lists(STEP, min_size=2, max_size=AT_ONCE))
    def together(self, steps: list[Step]) -> None:
        async def all_at_once() -> None:
            await asyncio.gather(*(self.perform(step) for step in steps))

        self.runner.run(all_at_once())
        self.patiently(self.read_anew)

    @invariant()
    def what_must_always_hold_does(self) -> None:
        if hasattr(self, "model"):
            self.patiently(self.check)

    async def perform(self, step: Step) -> None:
        """One operation, counted by how it went."""
        try:
            happened = await getattr(self, "do_" + step.operation)(step)
        except (Conflict, Forbidden, NotFound, InsufficientCredits) as error:
            self.done[f"{step.operation}: {error.code}"] += 1
        except DependencyUnavailable:
            self.unsure = True
        else:
            self.done[step.operation if happened else f"{step.operation}: nothing to do"] += 1

    def who(self, step: Step) -> UUID:
        """Whoever owns the team, more often than chance would have it: others are refused most things."""
        owners = [account for account, role in self.people_of(step).items() if role == "owner"]
        return owners[0] if owners and step.who <= PEOPLE // 2 else self.people[step.who]

    def people_of(self, step: Step) -> dict[UUID, Role]:
        team_id = self.team(step)
        return {} if team_id is None else self.model.roles.get(team_id, {})

    def whom(self, step: Step) -> UUID:
        """One of the team, more often than chance would have it."""
        inside = list(self.people_of(step))
        return inside[step.pick % len(inside)] if inside and step.whom < PEOPLE - 1 else self.people[step.whom]

    def team(self, step: Step) -> UUID | None:
        """One of the newest, where things meet."""
        newest = list(self.model.roles)[-3:]
        return newest[step.pick % len(newest)] if newest else None

    async def do_found(self, step: Step) -> bool:
        founder = self.people[step.who]
        team = await self.teams.create(founder, "Dubbers")
        self.model.roles[team.id] = {founder: "owner"}
        return True

    async def do_invite(self, step: Step) -> bool:
        team_id, whom = self.team(step), self.people[step.whom]
        if team_id is None:
            return False
        made = await self.invitations.invite(team_id, self.who(step), f"{whom.hex}@example.org", step.role)
        self.secrets.append((team_id, whom, made.secret, step.role))
        return True

    async def do_accept(self, step: Step) -> bool:
        if not self.secrets:
            return False
        team_id, whom, secret, role = self.secrets[-1 - step.pick % min(len(self.secrets), 4)]
        assert await self.invitations.accept(secret, whom) == team_id
        self.model.roles.setdefault(team_id, {})[whom] = role
        return True

    async def do_decline(self, step: Step) -> bool:
        if not self.secrets:
            return False
        _, whom, secret, _ = self.secrets[-1 - step.pick % len(self.secrets)]
        await self.invitations.decline(secret, whom)
        return True

    async def do_revoke(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None:
            return False
        for invitation in await self.invitations.list_invitations(team_id, self.who(step)):
            await self.invitations.revoke(team_id, self.who(step), invitation.id)
        return True

    async def do_change(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None:
            return False
        await self.teams.change_role(team_id, self.who(step), self.whom(step), step.role)
        self.model.roles.setdefault(team_id, {})[self.whom(step)] = step.role
        return True

    async def do_remove(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None:
            return False
        await self.teams.remove(team_id, self.who(step), self.whom(step))
        self.model.roles.setdefault(team_id, {}).pop(self.whom(step), None)
        return True

    async def do_leave(self, step: Step) -> bool:
        team_id, who = self.team(step), self.people[step.who]
        if team_id is None:
            return False
        await self.teams.remove(team_id, who, who)
        self.model.roles.setdefault(team_id, {}).pop(who, None)
        return True

    async def do_transfer(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None:
            return False
        owner, heir = self.who(step), self.whom(step)
        await self.teams.transfer(team_id, owner, heir)
        if owner != heir:
            self.model.roles.setdefault(team_id, {}).update({owner: "admin", heir: "owner"})
        return True

    async def do_delete_team(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None:
            return False
        await self.removal.remove_team(team_id, self.who(step))
        self.model.roles.pop(team_id, None)
        return True

    async def do_delete_account(self, step: Step) -> bool:
        """Somebody else takes the place, so that there are always people."""
        who = self.people[step.who]
        await self.removal.remove_account(who)
        self.gone.add(who)
        self.people[step.who] = await self.newcomer()
        for team_id, roles in list(self.model.roles.items()):
            if roles.pop(who, None) == "owner":
                del self.model.roles[team_id]
        return True

    async def do_fund(self, step: Step) -> bool:
        team_id = self.team(step)
        if team_id is None or step.pick % 2:
            return False
        await self.runtime.credits.grant(team_id, 10, key=f"g/{uuid4()}", reason="Given.")
        self.model.funds[team_id] = self.model.funds.get(team_id, 0) + 10
        return True

    async def do_spend(self, step: Step) -> bool:
        """All that a team has, so that it can be deleted."""
        team_id = self.team(step)
        if team_id is None:
            return False
        now = (await self.runtime.credits.balance(team_id)).balance
        if now:
            await self.runtime.credits.adjust(team_id, -now, key=f"a/{uuid4()}", reason="Spent.")
            self.model.funds[team_id] = self.model.funds.get(team_id, 0) - now
        return bool(now)

    async def do_job(self, step: Step) -> bool:
        """A job of the team's, held for and delivered."""
        team_id = self.team(step)
        if team_id is None or self.model.funds.get(team_id, 0) < 1:
            return False
        runtime, upload_id = self.runtime, uuid7()
        await runtime.uploads.add(
            upload_id,
            team_id,
            "talk.mp4",
            "video/mp4",
            size=1,
            sha256="0" * 64,
            key=upload_key(upload_id),
            created_by=self.who(step),
        )
        options = DubbingOptions(target_language="pt")
        job = await runtime.jobs.create(team_id, "video-translate", upload_id, options, created_by=self.who(step))
        async with runtime.pool.transaction() as connection:
            hold = await ledger.reserve(connection, team_id, 1, key=f"r/{job.id}", reason="Held.", job_id=job.id)
            await ledger.capture(connection, hold, 1, reason="Delivered.")
        self.model.funds[team_id] = self.model.funds.get(team_id, 0) - 1
        return True

    async def compare(self) -> None:
        mine = list(self.model.roles)
        assert await self.roles_of(mine) == self.model.roles
        rows = await self.runtime.pool.fetch(_BALANCES, mine)
        assert {row["id"]: row["balance"] for row in rows} == {one: self.model.funds.get(one, 0) for one in mine}

    async def roles_of(self, teams: list[UUID]) -> dict[UUID, dict[UUID, Role]]:
        found: dict[UUID, dict[UUID, Role]] = {}
        for row in await self.runtime.pool.fetch(_ROLES, teams):
            found.setdefault(row["team_id"], {})[row["account_id"]] = row["role"]
        return found

    async def read_anew(self) -> None:
        """What came of several at once, the database decides."""
        self.unsure = False
        mine = list(set(self.model.roles) | {team_id for team_id, *_ in self.secrets})
        self.model.roles = await self.roles_of(mine)
        rows = await self.runtime.pool.fetch(_BALANCES, mine)
        self.model.funds = {row["id"]: row["balance"] for row in rows}

    async def check(self) -> None:
        assert await self.runtime.pool.fetchval(_WRONG, list(self.gone)) == [0, 0, 0, 0]

    def teardown(self) -> None:
        if hasattr(self, "model"):
            assert self.patiently(lambda: audit_ledger(self.runtime.pool)) == LedgerAudit(0, 0, 0, 0)


_ROLES = "select team_id, account_id, role from team_member where team_id = any($1::uuid[])"
_BALANCES = """
select team.id, coalesce((select sum(balance) from ledger_account where owner_id = team.id), 0)::bigint as balance
from unnest($1::uuid[]) as team (id)
"""
# Teams without exactly one owner; people of teams that there are not, and teams' people who are not; owners of things
# that are nobody, and somebody who cannot own; accounts that were removed and are there.
_WRONG = """
select array[
    (select count(*) from team
        where (select count(*) from team_member where team_id = team.id and role = 'owner') <> 1),
    (select count(*) from team_member member left join team on team.id = member.team_id
        left join account on account.id = member.account_id where team.id is null or account.id is null),
    (select count(*) from tenant
        full join (select id from account union all select id from team) living on living.id = tenant.id
        where tenant.id is null or living.id is null),
    (select count(*) from account where id = any($1::uuid[]))
]
"""


def play(runtime_settings: Settings, done: Counter[str]) -> None:
    """Run the machine on a loop of its own, until there were enough steps."""
    with asyncio.Runner() as runner:
        opening = open_runtime(runtime_settings)
        runtime = runner.run(opening.__aenter__())
        machine = type("Machine", (TeamMachine,), {"runner": runner, "runtime": runtime, "done": done})
        try:
            while sum(done.values()) < STEPS or not all(done[operation] for operation in EXPECTED):
                run_state_machine_as_test(
                    machine,
                    settings=settings(
                        # The first of them is always the simplest that there is.
                        max_examples=8,
                        stateful_step_count=STEPS_PER_RUN,
                        deadline=None,
                        database=None,
                        # Hypothesis repeats itself where CI is set: going on would bring nothing new.
                        derandomize=False,
                        phases=[Phase.generate],
                        suppress_health_check=list(HealthCheck),
                    ),
                )
        finally:
            runner.run(opening.__aexit__(None, None, None))


async def test_whatever_people_do_a_team_has_one_owner_and_its_books_are_right(settings: Settings) -> None:
    done: Counter[str] = Counter()
    await asyncio.to_thread(play, settings, done)
    print(f"{sum(done.values())} operations: {dict(sorted(done.items()))}")
    assert sum(done.values()) >= STEPS
