"""Who in a team may do what: one table."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from octavia_stream.accounts.team import Role
from octavia_stream.errors import Forbidden

Action: TypeAlias = Literal[
    "team:read",
    "team:rename",
    "team:delete",
    "team:transfer",
    "members:invite",
    "members:change",
    "members:remove",
    "billing:read",
    "billing:buy",
    "jobs:read",
    "jobs:quote",
    "jobs:create",
    "jobs:run",
    "jobs:change",
    "uploads:create",
    "uploads:change",
    "live:read",
    "live:create",
    "live:change",
]
ACTIONS: tuple[Action, ...] = get_args(Action)
Reach: TypeAlias = Literal["all", "own", "no"]
"""On what: everything of the team, only what one made oneself, nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How far each role reaches. `what` ends the sentence "… may not …"."""

    what: str
    owner: Reach
    admin: Reach
    member: Reach
    viewer: Reach

    def reach(self, role: Role) -> Reach:
        found: Reach = getattr(self, role)
        return found


RULES: dict[Action, Rule] = {
    #                       what                                        owner  admin  member viewer
    "team:read": Rule("see this team", "all", "all", "all", "all"),
    "team:rename": Rule("rename this team", "all", "all", "no", "no"),
    "team:delete": Rule("delete this team", "all", "no", "no", "no"),
    "team:transfer": Rule("hand this team over", "all", "no", "no", "no"),
    "members:invite": Rule("invite people to this team", "all", "all", "no", "no"),
    "members:change": Rule("change roles in this team", "all", "all", "no", "no"),
    "members:remove": Rule("remove people from this team", "all", "all", "no", "no"),
    "billing:read": Rule("see this team's credits", "all", "all", "no", "no"),
    "billing:buy": Rule("buy credits for this team", "all", "all", "no", "no"),
    "jobs:read": Rule("see this team's jobs", "all", "all", "all", "all"),
    "jobs:quote": Rule("ask what this team's jobs cost", "all", "all", "all", "no"),
    "jobs:create": Rule("create jobs for this team", "all", "all", "all", "no"),
    "jobs:run": Rule("start this team's jobs", "all", "all", "all", "no"),
    "jobs:change": Rule("cancel, change or delete this job", "all", "all", "own", "no"),
    "uploads:create": Rule("bring files for this team", "all", "all", "all", "no"),
    "uploads:change": Rule("change or delete this upload", "all", "all", "own", "no"),
    "live:read": Rule("see this team's live sessions", "all", "all", "all", "all"),
    "live:create": Rule("begin live sessions for this team", "all", "all", "all", "no"),
    "live:change": Rule("change or end this live session", "all", "all", "own", "no"),
}


def allowed(role: Role, action: Action, *, own: bool = False) -> bool:
    """Whether somebody in that role may. own: it is about something that they made themselves."""
    reach = RULES[action].reach(role)
    return reach == "all" or (reach == "own" and own)


def require(role: Role, action: Action, *, own: bool = False) -> None:
    """Raises Forbidden."""
    if not allowed(role, action, own=own):
        article = "An" if role[0] in "aeiou" else "A"
        raise Forbidden(f"{article} {role} may not {RULES[action].what}.")
