"""Teams: who is in them, who may do what, and who is invited."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.auth import PROTECTED, Email
from api.errors import problems
from api.identity import Identity, for_keys
from api.services import OwnerId, Services, TheServices
from octavia_stream.accounts.invitations import NewInvitation
from octavia_stream.accounts.team import GivenRole, Invitation, Team, TeamMember
from octavia_stream.errors import DependencyUnavailable

TeamName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$")]
TeamId = FromPath[UUID]
"""The `team_id` of a path."""
AccountId = FromPath[UUID]
"""The `account_id` of a path."""


class TeamRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a team is called."""

    name: TeamName


class TeamList(msgspec.Struct, frozen=True):
    """Teams, newest first."""

    teams: list[Team]


class MemberList(msgspec.Struct, frozen=True):
    """The people of a team; who came first is first."""

    members: list[TeamMember]


class RoleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody is to be. The owner changes by handing the team over."""

    role: GivenRole


class HandOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to own the team."""

    account_id: UUID
    """Of somebody who is in it."""


class InvitationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to come, and as what."""

    email: Email
    role: GivenRole = "member"


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation that was made."""

    invitation: Invitation
    token: str | None
    """None where a letter brings it; hand it on yourself where this server sends none."""


class InvitationList(msgspec.Struct, frozen=True):
    """Invitations that can be accepted, newest first."""

    invitations: list[Invitation]


class Gift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of my uploads."""

    upload_id: UUID


class InvitationAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the letter said."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


@post("/", operation_id="createTeam", summary="Found a team", responses=problems(401, 409))
async def create_team(data: JSONBody[TeamRequest], owner_id: OwnerId, services: TheServices) -> Response[Team]:
    """Whoever founds it owns it. 409 for who owns fifty."""
    team = await services.teams.create(owner_id, data.name)
    return Response(team, headers={"Location": f"/api/v1/teams/{team.id}"})


@get("/", operation_id="listTeams", summary="My teams", responses=problems(401))
async def list_teams(owner_id: OwnerId, services: TheServices) -> TeamList:
    """Those I am in, newest first, with my role in each."""
    return TeamList(await services.teams.list_teams(owner_id))


@get("/{team_id:uuid}", operation_id="getTeam", summary="A team", responses=problems(401, 404))
async def get_team(team_id: TeamId, owner_id: OwnerId, services: TheServices) -> Team:
    """With my role in it."""
    return await services.teams.get(team_id, owner_id)


@patch("/{team_id:uuid}", operation_id="renameTeam", summary="Rename a team", responses=problems(401, 404))
async def rename_team(team_id: TeamId, data: JSONBody[TeamRequest], owner_id: OwnerId, services: TheServices) -> Team:
    """For its owner and admins."""
    return await services.teams.rename(team_id, owner_id, data.name)


@delete("/{team_id:uuid}", operation_id="deleteTeam", summary="Delete a team", responses=problems(401, 404, 409))
async def delete_team(team_id: TeamId, owner_id: OwnerId, services: TheServices) -> None:
    """With its jobs, uploads and files, for ever; for its owner. 409 while it has credits or jobs under way."""
    await services.removal.remove_team(team_id, owner_id)


@get("/{team_id:uuid}/members", operation_id="listMembers", summary="Who is in a team", responses=problems(401, 404))
async def list_members(team_id: TeamId, owner_id: OwnerId, services: TheServices) -> MemberList:
    """For all who are in it."""
    return MemberList(await services.teams.members(team_id, owner_id))


@patch(
    "/{team_id:uuid}/members/{account_id:uuid}",
    operation_id="changeRole",
    summary="Make somebody something else",
    status_code=204,
    responses=problems(401, 404, 409),
)
async def change_role(
    team_id: TeamId, account_id: AccountId, data: JSONBody[RoleRequest], owner_id: OwnerId, services: TheServices
) -> None:
    """For the owner and admins. 409 for the owner's own role."""
    await services.teams.change_role(team_id, owner_id, account_id, data.role)


@delete(
    "/{team_id:uuid}/members/{account_id:uuid}",
    operation_id="removeMember",
    summary="Remove somebody from a team, or leave it",
    responses=problems(401, 404, 409),
)
async def remove_member(team_id: TeamId, account_id: AccountId, owner_id: OwnerId, services: TheServices) -> None:
    """For the owner and admins, and for oneself. What they made stays. 409 for the owner, who hands over first."""
    await services.teams.remove(team_id, owner_id, account_id)


@post(
    "/{team_id:uuid}/owner",
    operation_id="handTeamOver",
    summary="Hand a team over",
    status_code=200,
    responses=problems(401, 404, 409),
)
async def hand_over(team_id: TeamId, data: JSONBody[HandOver], owner_id: OwnerId, services: TheServices) -> Team:
    """To somebody who is in it; who owned it becomes an admin."""
    return await services.teams.transfer(team_id, owner_id, data.account_id)


@post(
    "/{team_id:uuid}/invitations",
    operation_id="invite",
    summary="Invite somebody to a team",
    responses=problems(401, 404, 409, 429),
)
async def invite(
    team_id: TeamId,
    data: JSONBody[InvitationRequest],
    request: Request[UUID, Identity, State],
    owner_id: OwnerId,
    services: TheServices,
) -> InvitationView:
    """By a letter, for the owner and admins; it works once, for a week, in place of an earlier one for the address.

    409 for who is in the team, and for a team of 200. 503 when the letter could not be handed over: nobody is invited.
    """
    await services.teams.get(team_id, owner_id)
    await services.limits.letter_asked(request, str(owner_id))
    made = await services.invitations.invite(team_id, owner_id, data.email, data.role)
    if services.mail is None:
        return InvitationView(made.invitation, made.secret)
    try:
        await _send(made, services)
    except DependencyUnavailable:
        await services.invitations.revoke(team_id, owner_id, made.invitation.id)
        raise
    return InvitationView(made.invitation, None)


@get(
    "/{team_id:uuid}/invitations",
    operation_id="listInvitations",
    summary="Who is invited to a team",
    responses=problems(401, 404),
)
async def list_invitations(team_id: TeamId, owner_id: OwnerId, services: TheServices) -> InvitationList:
    """For the owner and admins."""
    return InvitationList(await services.invitations.list_invitations(team_id, owner_id))


@delete(
    "/{team_id:uuid}/invitations/{invitation_id:uuid}",
    operation_id="revokeInvitation",
    summary="Withdraw an invitation",
    responses=problems(401, 404),
)
async def revoke_invitation(
    team_id: TeamId, invitation_id: FromPath[UUID], owner_id: OwnerId, services: TheServices
) -> None:
    """It lets nobody in any more."""
    await services.invitations.revoke(team_id, owner_id, invitation_id)


@post(
    "/{team_id:uuid}/uploads",
    operation_id="giveUpload",
    summary="Give a team one of my uploads",
    status_code=204,
    opt=for_keys("uploads:write"),
    responses=problems(401, 404, 409),
)
async def give_upload(team_id: TeamId, data: JSONBody[Gift], owner_id: OwnerId, services: TheServices) -> None:
    """From then on it is the team's, and its people can make jobs of it. 409 when jobs of mine were made of it."""
    team = await services.access.owner_for(owner_id, team_id, "uploads:create")
    await services.runtime.uploads.give(data.upload_id, owner_id, team)


@post(
    "/accept",
    operation_id="acceptInvitation",
    summary="Come into a team",
    status_code=200,
    responses=problems(401, 404, 409),
)
async def accept_invitation(data: JSONBody[InvitationAnswer], owner_id: OwnerId, services: TheServices) -> Team:
    """Of the account that the letter went to; once. 404 for every other, as for one that is too old or withdrawn."""
    team_id = await services.invitations.accept(data.token, owner_id)
    return await services.teams.get(team_id, owner_id)


@post(
    "/decline",
    operation_id="declineInvitation",
    summary="Say no to a team",
    status_code=204,
    responses=problems(401, 404),
)
async def decline_invitation(data: JSONBody[InvitationAnswer], owner_id: OwnerId, services: TheServices) -> None:
    """It lets nobody in any more."""
    await services.invitations.decline(data.token, owner_id)


async def _send(made: NewInvitation, services: Services) -> None:
    """Raises DependencyUnavailable."""
    if services.mail is None:
        return
    page = services.runtime.settings.mail.invitation_page
    link = f"Open {page}#token={made.secret}" if page else f"Use this code: {made.secret}"
    await services.mail.send(
        made.invitation.email,
        "An invitation",
        f"You are invited to the team {made.team}, as {made.invitation.role}.\n\n"
        f"{link}\n\n"
        "It works once, within a week, for the account of this address. To say no, do nothing.\n",
    )


teams_router = Router(
    "/teams",
    route_handlers=[
        create_team,
        list_teams,
        get_team,
        rename_team,
        delete_team,
        list_members,
        change_role,
        remove_member,
        hand_over,
        invite,
        list_invitations,
        revoke_invitation,
        give_upload,
    ],
    security=PROTECTED,
    tags=["teams"],
)

invitations_router = Router(
    "/invitations", route_handlers=[accept_invitation, decline_invitation], security=PROTECTED, tags=["teams"]
)
