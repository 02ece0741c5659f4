"""The private endpoint of live nodes, as whoever forwards to them sees it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from octavia_stream import errors
from octavia_stream.sessions.session import LiveSession

CONNECT_S = 2.0
ANSWER_S = 15.0
"""The answer to an offer waits for its candidates to be gathered."""
MAX_MESSAGE_BYTES = 256 * 1024
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

_ERRORS: Mapping[int, type[errors.OctaviaError]] = {
    400: errors.InvalidRequest,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.OutOfDate,
    413: errors.MediaTooLarge,
    422: errors.MediaRejected,
    503: errors.Overloaded,
}


class NodeGone(Exception):
    """Nobody listens at a node's address any more."""


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What a node says to an offer."""

    sdp: bytes
    peer_id: str
    etag: str | None


class NodeClient:
    """Asks nodes by their addresses. Methods raise NodeGone when there is none, EngineUnavailable when one does not
    answer in time, and what the node refused with: InvalidRequest, NotFound, Conflict, OutOfDate, MediaTooLarge,
    MediaRejected, Overloaded.
    """

    def __init__(self, token: str) -> None:
        """token: as `node_token`."""
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(
            headers=self._headers, timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S), trust_env=False
        )

    async def close(self) -> None:
        """May be called twice."""
        await self._http.aclose()

    async def begin(self, url: str, session: LiveSession) -> None:
        """Have a node take a session, with what it was on another node, if anything."""
        body = {"session_id": session.id, "owner_id": session.owner_id, "options": session.options}
        if session.state is not None:
            body["state"] = session.state
        await self._ask("POST", f"{url}/sessions", json=msgspec.to_builtins(body))

    async def end(self, url: str, session_id: UUID, reason: str) -> None:
        """Have a node end a session: what is being said is said out, for some seconds at most."""
        await self._ask("DELETE", f"{url}/sessions/{session_id}", params={"reason": reason})

    async def show(self, url: str, session_id: UUID) -> dict[str, Any]:
        """How a session is doing: its peers and its load."""
        found: dict[str, Any] = (await self._ask("GET", f"{url}/sessions/{session_id}")).json()
        return found

    async def ingest(self, url: str, session_id: UUID, speaker: str, offer: bytes) -> PeerAnswer:
        """Somebody wants to speak."""
        return await self._offer(f"{url}/sessions/{session_id}/ingest", {"speaker": speaker}, offer)

    async def listen(self, url: str, session_id: UUID, language: str, offer: bytes) -> PeerAnswer:
        """Somebody wants to listen to one language."""
        return await self._offer(f"{url}/sessions/{session_id}/listen/{language}", {}, offer)

    async def trickle(self, url: str, session_id: UUID, peer_id: str, etag: str, fragment: bytes) -> None:
        """Candidates that came after the offer."""
        headers = {"Content-Type": FRAGMENT, "If-Match": etag}
        await self._ask("PATCH", f"{url}/sessions/{session_id}/peers/{peer_id}", content=fragment, headers=headers)

    async def leave(self, url: str, session_id: UUID, peer_id: str) -> None:
        """A connection says goodbye."""
        await self._ask("DELETE", f"{url}/sessions/{session_id}/peers/{peer_id}")

    @asynccontextmanager
    async def socket(
        self, url: str, session_id: UUID, kind: Literal["socket", "events"], params: Mapping[str, str]
    ) -> AsyncIterator[ClientConnection]:
        """A WebSocket to a session. What happens within the context raises as websockets does."""
        address = f"{url.replace('http', 'ws', 1)}/sessions/{session_id}/{kind}?{httpx.QueryParams(dict(params))}"
        try:
            connection = await connect(
                address,
                additional_headers=self._headers,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=ANSWER_S,
                close_timeout=CONNECT_S,
                proxy=None,
            )
        except InvalidStatus as refused:
            body = bytes(refused.response.body or b"")
            raise _refusal(refused.response.status_code, body) from refused
        except (ConnectionRefusedError, ConnectionResetError) as error:
            raise NodeGone from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise _silent() from error
        async with connection:
            yield connection

    async def _offer(self, address: str, params: Mapping[str, str], offer: bytes) -> PeerAnswer:
        answer = await self._ask("POST", address, params=params, content=offer, headers={"Content-Type": SDP})
        return PeerAnswer(answer.content, answer.headers["X-Peer-Id"], answer.headers.get("ETag"))

    async def _ask(self, method: str, address: str, **what: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, address, **what)
        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise NodeGone from error
        except httpx.TransportError as error:
            raise _silent() from error
        if answer.is_error:
            raise _refusal(answer.status_code, answer.content)
        return answer


class _Said(msgspec.Struct, frozen=True):
    """The part of a refusal that is passed on."""

    detail: str


def _refusal(status: int, body: bytes) -> errors.OctaviaError:
    """What a node refused with, in its own words."""
    try:
        detail = msgspec.json.decode(body, type=_Said).detail
    except msgspec.MsgspecError:
        detail = None
    kind = _ERRORS.get(status)
    return _silent() if kind is None else kind(detail)


def _silent() -> errors.EngineUnavailable:
    return errors.EngineUnavailable("The live node of this session does not answer; try again in some seconds.")
