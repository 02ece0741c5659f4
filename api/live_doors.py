"""WebRTC's doors to a live session: WHIP to speak (RFC 9725), WHEP to listen (draft-ietf-wish-whep-03).

A door checks who comes and forwards to the node that has the session; the media never passes through here.
"""

from typing import Annotated, Any, NoReturn

from litestar import Request, Response, Router, delete, head, patch, post, route
from litestar.datastructures import State
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from api.auth import PROTECTED, PUBLIC
from api.errors import problems
from api.live import LiveId, live_base
from api.live_access import Admitted, admit
from api.services import Services, TheServices
from octavia_stream.errors import Conflict, InvalidRequest, NotFound, OctaviaError
from octavia_stream.sessions.node_client import FRAGMENT, SDP, PeerAnswer
from octavia_stream.webrtc.turn import ice_servers

MAX_SDP_BYTES = 64 * 1024
NOT_YET_S = 2
"""When a listener who came too early may come again."""

Speaker = Annotated[
    str, QueryParameter(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="Your name for who speaks, if several do.")
]
Token = Annotated[
    str | None,
    QueryParameter(max_length=200, description="A token of the session, for clients that send no `Authorization`."),
]
PeerName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Out of the `Location`.")]
Tag = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9-]{2,35}$", description="One of the session's languages.")]


class _TextOperation(Operation):
    """The body is text of another type than JSON, so its schema is written here."""

    content = ""

    def __post_init__(self) -> None:
        text = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))
        self.request_body = RequestBody(content={self.content: text}, required=True)


class OfferOperation(_TextOperation):
    """Takes an offer."""

    content = SDP


class FragmentOperation(_TextOperation):
    """Takes candidates."""

    content = FRAGMENT


_ANSWER = {201: ResponseSpec(str, description="The answer.", media_type=SDP, generate_examples=False)}


@post(
    "/{live_id:uuid}/whip",
    operation_id="liveSpeak",
    operation_class=OfferOperation,
    summary="Speak (WHIP)",
    status_code=201,
    opt=PUBLIC,
    security=PROTECTED,
    responses={**_ANSWER, **problems(401, 404, 409, 413, 415, 422, 429)},
)
async def speak(
    request: Request[Any, Any, State],
    live_id: LiveId,
    services: TheServices,
    speaker: Speaker = "speaker",
    token: Token = None,
) -> Response[bytes]:
    """An offer whose sound is `sendonly`. `Location` is where to send candidates and where to say goodbye.

    Whoever lost the connection posts a new offer here within 30 s, and goes on with the same voice.
    """
    who = await admit(request, live_id, "live:write")
    who.require_speaker()
    answer = await services.live.ingest(who.session, speaker, await _text(request, SDP))
    await services.runtime.live.somebody_speaks(live_id)
    return await _created(request, who, answer, services)


@post(
    "/{live_id:uuid}/whep/{language:str}",
    operation_id="liveListen",
    operation_class=OfferOperation,
    summary="Listen (WHEP)",
    status_code=201,
    opt=PUBLIC,
    security=PROTECTED,
    responses={**_ANSWER, **problems(401, 404, 409, 413, 415, 422, 429)},
)
async def listen(
    request: Request[Any, Any, State], live_id: LiveId, language: Tag, services: TheServices, token: Token = None
) -> Response[bytes]:
    """An offer whose sound is `recvonly`; with a data channel, captions come on it.

    409 with `Retry-After` for a listener who comes before anybody speaks.
    """
    who = await admit(request, live_id, "live:read")
    _require_language(who, language)
    offer = await _text(request, SDP)
    if who.opened.listener_id is not None and who.session.status == "created":
        _not_yet()
    answer = await services.live.listen(who.session, language, offer)
    return await _created(request, who, answer, services)


@head(
    "/{live_id:uuid}/whep/{language:str}",
    operation_id="liveListenHead",
    summary="Whether there is something to listen to (WHEP)",
    opt=PUBLIC,
    security=PROTECTED,
    responses={
        200: ResponseSpec(None, description="There is.", media_type=SDP, generate_examples=False),
        **problems(401, 404, 409),
    },
)
async def look(
    request: Request[Any, Any, State], live_id: LiveId, language: Tag, services: TheServices, token: Token = None
) -> Response[None]:
    """Answers as the POST would, without an offer."""
    who = await admit(request, live_id, "live:read")
    _require_language(who, language)
    if who.session.status == "created":
        _not_yet()
    return Response(None, headers={"Content-Type": SDP, **_offered(who, services)})


@route(
    ["/{live_id:uuid}/whip", "/{live_id:uuid}/whep/{language:str}"],
    http_method=[HttpMethod.OPTIONS],
    status_code=200,
    opt=PUBLIC,
    include_in_schema=False,
)
async def describe(request: Request[Any, Any, State], live_id: LiveId, services: TheServices) -> Response[None]:
    """What may be posted; to whoever shows a token also which STUN and TURN servers there are."""
    headers = {
        "Accept-Post": SDP,
        "Allow": "OPTIONS, POST" if request.url.path.endswith("/whip") else "OPTIONS, HEAD, POST",
    }
    try:
        who = await admit(request, live_id, "live:read")
    except OctaviaError:
        # Who asks without a token is told what everybody may know.
        return Response(None, headers=headers)
    return Response(None, headers=headers | _offered(who, services))


@patch(
    "/{live_id:uuid}/peers/{peer:str}",
    operation_id="liveTrickle",
    operation_class=FragmentOperation,
    summary="Send candidates (WHIP, WHEP)",
    status_code=204,
    opt=PUBLIC,
    security=PROTECTED,
    responses=problems(401, 404, 412, 413, 415, 422, 428, 429),
)
async def trickle(
    request: Request[Any, Any, State],
    live_id: LiveId,
    peer: PeerName,
    services: TheServices,
    if_match: Annotated[
        str | None, HeaderParameter(name="If-Match", max_length=200, description="The `ETag` of the answer.")
    ] = None,
    token: Token = None,
) -> None:
    """422 when a new ICE session is asked for: post a new offer instead."""
    who = await admit(request, live_id, "live:read")
    await services.runtime.live.require_peer(who.opened, peer)
    fragment = await _text(request, FRAGMENT)
    if if_match is None:
        raise HTTPException(status_code=428, detail="Say in If-Match which answer these candidates belong to.")
    await services.live.trickle(who.session, peer, if_match, fragment)


@delete(
    "/{live_id:uuid}/peers/{peer:str}",
    operation_id="liveLeave",
    summary="Say goodbye (WHIP, WHEP)",
    status_code=200,
    opt=PUBLIC,
    security=PROTECTED,
    responses={
        200: ResponseSpec(None, description="Gone.", generate_examples=False),
        **problems(401, 404),
    },
)
async def leave(
    request: Request[Any, Any, State], live_id: LiveId, peer: PeerName, services: TheServices, token: Token = None
) -> Response[None]:
    """The connection ends. The session goes on, and waits 30 s for a speaker."""
    who = await admit(request, live_id, "live:read")
    await services.runtime.live.require_peer(who.opened, peer)
    try:
        await services.live.leave(who.session, peer)
    finally:
        await services.runtime.live.remove_peer(live_id, peer)
    return Response(None, status_code=200)


async def _text(request: Request[Any, Any, State], media_type: str) -> bytes:
    """The body. Raises 415 for another type, InvalidRequest for what is no text of that type."""
    if request.content_type[0] != media_type:
        raise HTTPException(status_code=415, detail=f"Send it as {media_type}.")
    body = await request.body()
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not text.") from error
    return body


async def _created(
    request: Request[Any, Any, State], who: Admitted, answer: PeerAnswer, services: Services
) -> Response[bytes]:
    await services.runtime.live.add_peer(who.opened, answer.peer_id)
    base = live_base(str(request.base_url), services)
    headers = {
        "Location": f"{base}/{who.session.id}/peers/{answer.peer_id}",
        "Access-Control-Expose-Headers": "Location, ETag, Link",
        **_offered(who, services),
    }
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    return Response(answer.sdp, status_code=201, media_type=SDP, headers=headers)


def _offered(who: Admitted, services: Services) -> dict[str, str]:
    """ICE servers, as RFC 9725 (section 4.6) has them told."""
    client = (who.opened.listener_id or who.session.id).hex
    links = [
        f'<{url}>; rel="ice-server"'
        + (
            f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
            if server.username is not None
            else ""
        )
        for server in ice_servers(services.runtime.settings.live, client)
        for url in server.urls
    ]
    return {"Link": ", ".join(links)} if links else {}


def _require_language(who: Admitted, language: str) -> None:
    if language not in {target.language for target in who.session.options.targets}:
        raise NotFound("This session is not heard in this language.")


def _not_yet() -> NoReturn:
    raise HTTPException(
        status_code=409, detail=str(Conflict("Nobody speaks yet; come again.")), headers={"Retry-After": str(NOT_YET_S)}
    )


# The answer to OPTIONS goes first: a route that has none by then is given one.
doors = Router("", route_handlers=[describe, speak, listen, look, trickle, leave])
