"""Team: several people with one purse, and who they are in it."""

from datetime import datetime
from typing import Literal, TypeAlias, get_args
from uuid import UUID

import msgspec

Role: TypeAlias = Literal["owner", "admin", "member", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)
GivenRole: TypeAlias = Literal["admin", "member", "viewer"]
"""What somebody can be made; owner is only who founded the team or was handed it."""


class Team(msgspec.Struct, frozen=True):
    """One row of table `team`, as one of its people sees it."""

    id: UUID
    name: str
    created_at: datetime
    role: Role
    """Of who asks."""
    members: int
    """How many people are in it."""


class TeamMember(msgspec.Struct, frozen=True):
    """Somebody in a team."""

    account_id: UUID
    email: str
    role: Role
    joined_at: datetime


class Invitation(msgspec.Struct, frozen=True):
    """One row of table `team_invitation`, without the hash."""

    id: UUID
    team_id: UUID
    email: str
    """In normal form; only the account of this address can accept."""
    role: GivenRole
    invited_by: UUID | None
    """None when that account is gone."""
    created_at: datetime
    expires_at: datetime
