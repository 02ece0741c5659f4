"""Identity: who asks, how they proved it, and what that opens."""

from dataclasses import dataclass
from uuid import UUID

from octavia_stream.accounts.api_keys import Scope
from octavia_stream.errors import Forbidden

SCOPE_OPT = "scope"
"""Handlers name here the scope that an API key needs; without it keys open nothing."""
ANY_KEY = "any"
"""Every key opens this."""


def for_keys(scope: Scope) -> dict[str, str]:
    """The `opt` of a handler that is open to API keys with this scope."""
    return {SCOPE_OPT: scope}


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as a token, a ticket or an API key says."""

    account_id: UUID
    log_in_id: UUID | None = None
    """None unless a token says it."""
    scopes: frozenset[str] | None = None
    """What a key is for; None: everything, for it is no key."""

    def require(self, scope: object) -> None:
        """Raises Forbidden when this is a key without that scope. scope: as in `opt` of the handler, or None."""
        if self.scopes is None or scope == ANY_KEY or scope in self.scopes:
            return
        if scope is None:
            raise Forbidden("No API key opens this; log in instead.")
        raise Forbidden(f"This needs an API key with the scope {scope}.")
