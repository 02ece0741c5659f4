"""Identity: who asks, how they proved it, and what that opens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from octavia_stream.accounts.api_keys import Scope
from octavia_stream.accounts.team_roles import RULES, Action
from octavia_stream.errors import Forbidden

SCOPE_OPT = "scope"
"""Handlers name here the scope that an API key needs; without it keys open nothing."""
ANY_KEY = "any"
"""Every key opens this."""


TEAM_OPT = "team"
"""Handlers name here what it is that they do to a job or an upload of a team, where the scope does not say it."""
_ACTIONS: dict[str, Action] = {
    "jobs:read": "jobs:read",
    "jobs:write": "jobs:change",
    "uploads:write": "uploads:change",
    "live:read": "live:read",
    "live:write": "live:change",
}


def for_keys(scope: Scope, team: Action | None = None) -> dict[str, str]:
    """The `opt` of a handler that is open to API keys with this scope.

    team: what it does in a team; without it, what goes with the scope, where writing means changing what is there.
    """
    return {SCOPE_OPT: scope} if team is None else {SCOPE_OPT: scope, TEAM_OPT: team}


def team_action(opt: Mapping[str, Any]) -> Action | None:
    """What a handler with this `opt` does in a team; None: nothing, or nothing that is asked for by a path."""
    named = opt.get(TEAM_OPT)
    return named if named in RULES else _ACTIONS.get(opt.get(SCOPE_OPT, ""))


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as a token, a ticket or an API key says."""

    account_id: UUID
    log_in_id: UUID | None = None
    """None unless a token says it."""
    scopes: frozenset[str] | None = None
    """What a key is for; None: everything, for it is no key."""
    key_id: UUID | None = None
    """Which key it is."""

    def require(self, scope: object) -> None:
        """Raises Forbidden when this is a key without that scope. scope: as in `opt` of the handler, or None."""
        if self.scopes is None or scope == ANY_KEY or scope in self.scopes:
            return
        if scope is None:
            raise Forbidden("No API key opens this; log in instead.")
        raise Forbidden(f"This needs an API key with the scope {scope}.")
