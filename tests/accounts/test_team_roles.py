"""Who in a team may do what: the table, read in every cell."""

import pytest

from octavia_stream.accounts.team import ROLES, Role
from octavia_stream.accounts.team_roles import ACTIONS, RULES, Action, allowed, require
from octavia_stream.errors import Forbidden

ALL: dict[Role, set[Action]] = {
    "viewer": {"team:read", "jobs:read", "live:read"},
    "member": {
        *("team:read", "jobs:read", "jobs:quote", "jobs:create", "jobs:run", "uploads:create"),
        *("live:read", "live:create"),
    },
    "admin": set(ACTIONS) - {"team:delete", "team:transfer"},
    "owner": set(ACTIONS),
}
"""What each role may do to what others made. Said a second time, so that nobody widens it by a slip."""
OWN: dict[Role, set[Action]] = {
    "viewer": set(),
    "member": {"jobs:change", "uploads:change", "live:change"},
    "admin": set(),
    "owner": set(),
}
"""What each may do beside that to what they made themselves."""


def test_every_action_has_a_rule() -> None:
    assert tuple(RULES) == ACTIONS
    assert {rule.reach(role) for rule in RULES.values() for role in ROLES} == {"all", "own", "no"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_role_reaches_as_far_as_it_should(role: Role, action: Action) -> None:
    assert allowed(role, action) is (action in ALL[role])
    assert allowed(role, action, own=True) is (action in ALL[role] | OWN[role])


@pytest.mark.parametrize("action", ACTIONS)
def test_who_is_above_may_do_what_who_is_below_may(action: Action) -> None:
    for own in (False, True):
        reach = [allowed(role, action, own=own) for role in ("viewer", "member", "admin", "owner")]
        assert reach == sorted(reach)


def test_a_refusal_names_the_role_and_what_it_may_not() -> None:
    with pytest.raises(Forbidden, match=r"^A viewer may not start this team's jobs\.$"):
        require("viewer", "jobs:run")
    with pytest.raises(Forbidden, match=r"^An admin may not delete this team\.$"):
        require("admin", "team:delete")
