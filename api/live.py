"""Live sessions: asked for, looked at and ended, and the links with which others listen.

Their sound comes and goes by `api.live_doors` (WebRTC) and `api.live_sockets`.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Router, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from api.auth import PROTECTED, grant_of
from api.errors import problems
from api.identity import for_keys
from api.job_kinds import LanguageTag, VoiceName
from api.languages import reach_of
from api.services import OwnerId, Services, TeamOfQuery, TheServices, WhoAsks
from octavia_stream.errors import InvalidRequest, NotFound, OctaviaError
from octavia_stream.languages import language_name, parse_language
from octavia_stream.live.options import MAX_TARGETS, Latency, LiveOptions, LiveTarget, OriginalSound
from octavia_stream.sessions.session import RESUME_S, UNUSED_S, ListenerLink, LiveSession, SessionStatus
from octavia_stream.webrtc.turn import ice_servers

MAX_PAGE = 100
LiveId = FromPath[UUID]
"""The `live_id` of a path."""
LinkName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")
]


class TargetOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language that goes out."""

    language: LanguageTag
    voice: VoiceName | None = None
    """For the first speaker; others get voices that differ. None: the language's default."""
    captions_only: bool = False


class LiveTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to do with what will be said; `LiveOptions` says more."""

    targets: Annotated[list[TargetOrder], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]
    source: LanguageTag | None = None
    """What is spoken; None lets the first seconds decide."""
    latency: Latency = "balanced"
    original: OriginalSound = "silent"
    own_language: Literal["silent", "pass"] = "silent"
    """What becomes of speech that is in the target language already."""
    max_lag_s: Annotated[float, msgspec.Meta(ge=2.0, le=30.0)] = 8.0
    """When the ear-voice span passes this, pauses are shortened, speech is hurried, and at last phrases are dropped."""
    record: bool = False
    """Keep the sound that comes in, so that a job can dub it afterwards."""


class LiveOrder(LiveTerms, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A session to begin."""

    team_id: UUID | None = None
    """A team that you are in: it pays, and its people see the session."""


class IceServerView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `iceServers`, as browsers take it."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class LiveView(msgspec.Struct, frozen=True):
    """A live session as its owner sees it."""

    id: UUID
    status: SessionStatus
    options: LiveTerms
    heard_s: float
    """Sound that was taken in, over all speakers, in seconds."""
    credits_per_minute: int
    """For all languages together; 0: it is free."""
    charged: int
    """Credits that it cost; 0 before its end."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None


class NewLiveView(LiveView, frozen=True, kw_only=True):
    """A new session, and the only moment in which its tokens are known."""

    token: str
    """Opens everything of this session and nothing else."""
    listen_token: str
    """Good for listening alone; for the people in the hall."""
    whip_url: str
    """Where a speaker posts an offer (RFC 9725)."""
    whep_urls: dict[str, str]
    """By language: where a listener posts an offer (draft-ietf-wish-whep)."""
    socket_url: str
    """A WebSocket for sound as PCM, with the event names of OpenAI's realtime translation."""
    events_url: str
    """A WebSocket for captions and everything else that happens."""
    ice_servers: list[IceServerView]
    expires: datetime
    """The session ends when nobody has spoken by then."""
    resume_s: float
    """How long it waits for a speaker whose connection was lost."""


class LivePage(msgspec.Struct, frozen=True):
    """Sessions, newest first."""

    sessions: list[LiveView]
    next_before: UUID | None


class IceServersView(msgspec.Struct, frozen=True):
    """As `RTCPeerConnection` takes them."""

    ice_servers: list[IceServerView]


class NewLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For whom it is."""

    name: LinkName = "Listeners"


class NewLinkView(msgspec.Struct, frozen=True):
    """A link, and the only moment in which its token is known."""

    listener: ListenerLink
    token: str
    whep_urls: dict[str, str]
    events_url: str


class LinksView(msgspec.Struct, frozen=True):
    """Links with which somebody may listen, oldest first."""

    listeners: list[ListenerLink]


@post(
    "/sessions",
    operation_id="liveCreate",
    summary="Begin a live session",
    opt=for_keys("live:write", team="live:create"),
    responses=problems(401, 402, 404, 422, 429),
)
async def create_session(
    data: JSONBody[LiveOrder],
    request: Request[UUID, Any, State],
    identity: WhoAsks,
    services: TheServices,
) -> NewLiveView:
    """A place for it is found at once, or there is none: 503 with `Retry-After`. 429 when too many go on already.

    Credits for ten minutes are held, more while it goes on; what was heard is charged at the end.
    """
    options = _checked(data, services)
    owner_id = await services.access.owner_for(identity.account_id, data.team_id, "live:create")
    await services.live.require_room()
    store = services.runtime.live
    session, token = await store.create(owner_id, options, grant_of(identity))
    try:
        await services.live.place(session)
    except OctaviaError:
        await store.end_now(session.id, "no_room")
        raise
    _, listen_token = await store.add_listener(session.id, "Listeners")
    return NewLiveView(
        **msgspec.structs.asdict(live_view(session)),
        token=token,
        listen_token=listen_token,
        whip_url=f"{_base(request, services)}/{session.id}/whip",
        whep_urls=_whep_urls(session, request, services),
        socket_url=f"{_sockets(request, services)}/{session.id}/socket",
        events_url=f"{_sockets(request, services)}/{session.id}/events",
        ice_servers=_ice_servers(session.id, services),
        expires=session.created_at + timedelta(seconds=UNUSED_S),
        resume_s=RESUME_S,
    )


@get(
    "/sessions",
    operation_id="liveList",
    summary="Live sessions",
    opt=for_keys("live:read"),
    responses=problems(401, 404),
)
async def list_sessions(
    identity: WhoAsks,
    services: TheServices,
    team_id: TeamOfQuery = None,
    before: Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
) -> LivePage:
    """Newest first, those that have ended too."""
    owner_id = await services.access.owner_for(identity.account_id, team_id, "live:read")
    found = await services.runtime.live.list_sessions(owner_id, limit + 1, before)
    return LivePage([live_view(one) for one in found[:limit]], found[limit - 1].id if len(found) > limit else None)


@get(
    "/sessions/{live_id:uuid}",
    operation_id="liveGet",
    summary="A live session",
    opt=for_keys("live:read"),
    responses=problems(401, 404),
)
async def get_session(live_id: LiveId, owner_id: OwnerId, services: TheServices) -> LiveView:
    """How it is doing, or what became of it."""
    return live_view(await owned_session(live_id, owner_id, services))


@delete(
    "/sessions/{live_id:uuid}",
    operation_id="liveEnd",
    summary="End a live session",
    status_code=200,
    opt=for_keys("live:write"),
    responses=problems(401, 404),
)
async def end_session(live_id: LiveId, owner_id: OwnerId, services: TheServices) -> LiveView:
    """What was said already is still spoken, for some seconds; then it is settled. Ending it again changes nothing."""
    session = await owned_session(live_id, owner_id, services)
    if session.status == "ended":
        return live_view(session)
    return live_view(await services.live.end(session, "closed"))


@get(
    "/ice-servers",
    operation_id="liveIceServers",
    summary="STUN and TURN servers",
    opt=for_keys("live:read"),
    responses=problems(401),
)
async def list_ice_servers(identity: WhoAsks, services: TheServices) -> IceServersView:
    """With credentials that are good for a while."""
    return IceServersView(_ice_servers(identity.account_id, services))


@post(
    "/sessions/{live_id:uuid}/listeners",
    operation_id="liveAddListener",
    summary="Let others listen",
    opt=for_keys("live:write"),
    responses=problems(401, 404, 409),
)
async def add_listener(
    live_id: LiveId,
    data: JSONBody[NewLink],
    request: Request[UUID, Any, State],
    owner_id: OwnerId,
    services: TheServices,
) -> NewLinkView:
    """A token for listening alone, which can be taken back."""
    session = await owned_session(live_id, owner_id, services)
    link, token = await services.runtime.live.add_listener(session.id, data.name)
    events_url = f"{_sockets(request, services)}/{session.id}/events"
    return NewLinkView(link, token, _whep_urls(session, request, services), events_url)


@get(
    "/sessions/{live_id:uuid}/listeners",
    operation_id="liveListListeners",
    summary="Links for listening",
    opt=for_keys("live:read"),
    responses=problems(401, 404),
)
async def list_listeners(live_id: LiveId, owner_id: OwnerId, services: TheServices) -> LinksView:
    """Those that were not taken back, without their tokens."""
    session = await owned_session(live_id, owner_id, services)
    return LinksView(await services.runtime.live.listeners(session.id))


@delete(
    "/sessions/{live_id:uuid}/listeners/{listener_id:uuid}",
    operation_id="liveRemoveListener",
    summary="Take a link back",
    opt=for_keys("live:write"),
    responses=problems(401, 404),
)
async def remove_listener(
    live_id: LiveId, listener_id: FromPath[UUID], owner_id: OwnerId, services: TheServices
) -> None:
    """Its token opens nothing any more, and who listens with it hears nothing more."""
    session = await owned_session(live_id, owner_id, services)
    for peer_id in await services.runtime.live.remove_listener(session.id, listener_id):
        try:
            await services.live.leave(session, peer_id)
        except NotFound:
            continue  # it is gone already


async def owned_session(live_id: UUID, owner_id: UUID, services: Services) -> LiveSession:
    """Raises NotFound when it is another's."""
    session = await services.runtime.live.get(live_id)
    if session.owner_id != owner_id:
        raise NotFound("There is no such live session, or it is not yours.")
    return session


def _checked(data: LiveOrder, services: Services) -> LiveOptions:
    """The order in languages and voices that there are. Raises InvalidRequest, UnsupportedLanguage."""
    source = None if data.source is None else parse_language(data.source)
    reach = reach_of(services.registry, services.runtime.settings.models)
    targets = []
    for target in data.targets:
        language = parse_language(target.language)
        reach.check(language, source)
        voice = target.voice
        if not target.captions_only:
            chosen = services.registry.choose_voice(language, target.voice)
            voice = None if target.voice is None else chosen.id
        targets.append(LiveTarget(language, voice, target.captions_only))
    languages = [target.language for target in targets]
    if twice := [language for language in languages if languages.count(language) > 1]:
        raise InvalidRequest(f"{language_name(twice[0])} is named twice.")
    asked = {field: getattr(data, field) for field in LiveTerms.__struct_fields__}
    return LiveOptions(**{**asked, "source": source, "targets": tuple(targets)})


def live_view(session: LiveSession) -> LiveView:
    found = {field: getattr(session, field) for field in LiveView.__struct_fields__}
    terms = msgspec.convert(msgspec.to_builtins(session.options), LiveTerms)
    return LiveView(**{**found, "options": terms})


def _ice_servers(client: UUID, services: Services) -> list[IceServerView]:
    """client: whom TURN's logs show."""
    servers = ice_servers(services.runtime.settings.live, client.hex)
    return [IceServerView(list(server.urls), server.username, server.credential) for server in servers]


def live_base(request_base: str, services: Services) -> str:
    """Absolute, for clients resolve relative addresses in their own ways. request_base: as the client came."""
    public = services.runtime.settings.api.public_url or request_base
    return f"{public.rstrip('/')}/api/v1/live"


def _base(request: Request[Any, Any, Any], services: Services) -> str:
    return live_base(str(request.base_url), services)


def _sockets(request: Request[Any, Any, Any], services: Services) -> str:
    return "ws" + _base(request, services).removeprefix("http")


def _whep_urls(session: LiveSession, request: Request[Any, Any, Any], services: Services) -> dict[str, str]:
    base = f"{_base(request, services)}/{session.id}/whep"
    return {target.language: f"{base}/{target.language}" for target in session.options.targets}


account_routes = Router(
    "",
    route_handlers=[
        *(create_session, list_sessions, get_session, end_session, list_ice_servers),
        *(add_listener, list_listeners, remove_listener),
    ],
    security=PROTECTED,
)
