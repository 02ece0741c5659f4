"""Every route there is has been thought about: which API keys it is open to, and what strangers are told.

Which routes there are, the application itself says. A new one fails here until it has its entry below.
"""

import re
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from octavia_stream.accounts.api_keys import SCOPES
from octavia_stream.accounts.standing import Grant
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, create_job, upload_video
from tests.api.test_isolation import LIVE, METHODS, PUBLIC, ask, filled

pytestmark = pytest.mark.services

NO_KEY = ""
EVERY_KEY = "any"
OPEN_TO: dict[str, tuple[str, ...]] = {
    "jobs:read": (
        *("createTicket", "quoteJob", "getJob", "listJobs", "downloadJob", "downloadJobHead", "streamJob"),
        *("streamJobFile", "streamJobEvents", "streamEvents", "getUsage", "linkJob", "getJobQuality"),
        *("listSegments", "listVersions"),
    ),
    "jobs:write": (
        *("createVideoTranslation", "createAudioTranslation", "createSubtitleGeneration", "createSubtitleTranslation"),
        *("createSubtitleSpeech", "processJob", "cancelJob", "retryJob", "deleteJob", "changeJob"),
        "editSegments",
    ),
    "uploads:write": (
        *("giveUpload", "upload", "listUploads", "getUpload", "deleteUpload", "createResumableUpload"),
        *("resumableUpload", "continueResumableUpload", "overriddenResumableUpload", "endResumableUpload"),
        *("linkUpload", "uploadFromUrl", "getThumbnail", "getPeaks", "liveRecording"),
    ),
    "billing:read": ("getBalance", "listTransactions"),
    "audio:write": ("openaiListModels", "openaiCreateSpeech", "openaiCreateTranscription", "openaiCreateTranslation"),
    "live:read": (
        *("liveList", "liveGet", "liveIceServers", "liveListListeners", "liveListen", "liveListenHead", "liveTrickle"),
        "liveLeave",
    ),
    "live:write": ("liveCreate", "liveEnd", "liveAddListener", "liveRemoveListener", "liveSpeak"),
    # Whoever is no administrator is told 404 by all but the first, with a key or without.
    EVERY_KEY: (
        *("me", "adminListJobs", "adminCancelJob", "adminRetryJob", "adminQueue", "adminListUsers", "adminGetUser"),
        *("adminDisableUser", "adminEnableUser", "adminCorrectCredits", "adminNodes", "adminRetention"),
        *("adminRunRetention", "adminListActs", "adminListLive", "adminEndLive"),
    ),
    NO_KEY: (
        *("logOut", "deleteMe", "listSessions", "endSession", "changePassword", "exportMe", "createKey", "listKeys"),
        *("deleteKey", "listTeams", "createTeam", "getTeam", "renameTeam", "deleteTeam", "listMembers", "changeRole"),
        *("removeMember", "handTeamOver", "listInvitations", "invite", "revokeInvitation", "acceptInvitation"),
        *("declineInvitation", "createCheckout", "getSettings", "changeSettings", "createWebhook", "listWebhooks"),
        *("getWebhook", "changeWebhook", "deleteWebhook", "rotateWebhookSecret", "testWebhook", "listDeliveries"),
        *("redeliver",),
    ),
}
"""What an API key must be for, and the operations of that."""
SCOPE_OF = {operation: scope for scope, operations in OPEN_TO.items() for operation in operations}
UNDOCUMENTED = {
    *("/metrics", "/schema", "/schema/openapi.json", "/schema/{path}"),
    *("/live", "/live/listen", "/live/assets/{file_path}"),
}
"""Not for clients of the API; none holds an id."""
SOCKETS = {
    "/api/v1/jobs/{job_id}/events": "jobs:read",
    "/api/v1/events": "jobs:read",
    "/api/v1/live/{live_id}/events": "live:read",
    "/api/v1/live/{live_id}/socket": "live:write",
}
"""WebSockets, and what an API key must be for."""

Operation = tuple[str, str, str]
"""Method, path and operation id."""


@pytest.fixture(scope="module")
async def operations(anyone: httpx.AsyncClient) -> list[Operation]:
    document = (await anyone.get("/schema/openapi.json")).json()
    return [
        (method, path, operation["operationId"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def plain(path: str) -> str:
    """A path as the document writes it: parameters without their types."""
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


async def key_of(somebody: Person, *scopes: str) -> dict[str, str]:
    """A header that shows a new key for these."""
    made = await somebody.http.post("/api/v1/keys", json={"name": "a key", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['api_key']}"}


def test_every_route_has_its_entry(app: Litestar, operations: list[Operation]) -> None:
    documented = {(method.upper(), path) for method, path, _ in operations}
    served = {
        (method, plain(path))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        for path in [route.path]
        if method != "OPTIONS"
    }
    assert {path for _, path in served - documented} == UNDOCUMENTED
    assert documented <= served
    assert {name for _, _, name in operations} - PUBLIC <= SCOPE_OF.keys()
    sockets = {plain(route.path) for route in app.routes if isinstance(route, WebSocketRoute)}
    assert sockets == SOCKETS.keys()
    strange = [route.path for route in app.routes if not isinstance(route, (HTTPRoute, WebSocketRoute))]
    assert strange == []


async def test_a_key_opens_nothing_that_it_is_not_for(
    alice: Person, operations: list[Operation], anyone: httpx.AsyncClient
) -> None:
    every = await key_of(alice, *SCOPES)
    others: dict[str, dict[str, str]] = {
        scope: await key_of(alice, *(one for one in SCOPES if one != scope)) for scope in SCOPES
    }
    refused = 0
    for method, path, name in operations:
        scope = SCOPE_OF.get(name, EVERY_KEY)
        if scope == EVERY_KEY:
            continue
        anyone.headers.update(every if scope == NO_KEY else others[scope])
        answer = await ask(anyone, method, filled(path), route=path)
        assert answer.status_code == 403, (name, answer.status_code, answer.text)
        refused += 1
    assert refused >= 60


async def test_a_key_opens_nothing_of_somebody_else(
    alice: Person, bob: Person, operations: list[Operation], anyone: httpx.AsyncClient
) -> None:
    upload = await upload_video(alice)
    job = await create_job(alice, upload["id"])
    resumable = await alice.http.post(
        "/api/v1/tus?file_type=video",
        headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1000", "Upload-Metadata": "file_type dmlkZW8="},
    )
    assert resumable.status_code == 201, resumable.text
    in_pieces = resumable.headers["Location"].rpartition("/")[2]
    keys = await key_of(bob, *SCOPES)
    # With a key for everything, and as the person: neither sees what is hers.
    for headers in (keys, {"Authorization": f"Bearer {bob.token}"}):
        anyone.headers.update(headers)
        asked = 0
        for method, path, name in operations:
            if SCOPE_OF.get(name, NO_KEY) == NO_KEY or not {"{job_id}", "{upload_id}"} & set(
                re.findall(r"{\w+}", path)
            ):
                continue
            hers = path.replace("{job_id}", job["id"])
            hers = hers.replace("{upload_id}", in_pieces if "/tus/" in path else upload["id"])
            anyone.headers["Tus-Resumable"] = "1.0.0"
            anyone.headers["Upload-Offset"] = "0"
            anyone.headers["Content-Type"] = "application/offset+octet-stream"
            answer = await anyone.request(method, filled(hers), **body_of(method, path))
            assert answer.status_code == 404, (name, answer.status_code, answer.text)
            asked += 1
        assert asked >= 15
    assert (await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()["status"] == "pending"
    assert (await alice.http.get(f"/api/v1/uploads/{upload['id']}")).status_code == 200


def body_of(method: str, path: str) -> dict[str, Any]:
    """What a route for one job or upload wants, as far as it wants anything."""
    if "/tus/" in path and method in ("patch", "post"):
        return {"content": b"x", "headers": {"X-HTTP-Method-Override": "PATCH"} if method == "post" else {}}
    if path.endswith("/segments") and method == "patch":
        return {"json": {"version": 1, "edits": [{"edit": "translation", "id": 0, "text": "Mine."}]}}
    sent = {"reason": "a reason"} if "/admin/" in path else {"tags": ["mine"]} if method == "patch" else {}
    return {"json": sent, "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize("path", SOCKETS)
async def test_sockets_open_to_nobody_else(
    alice: Person, bob: Person, runtime: Runtime, address: str, path: str
) -> None:
    job = await create_job(alice, (await upload_video(alice))["id"])
    live, _ = await runtime.live.create(alice.id, LIVE, Grant(alice.id))
    await runtime.live.end_now(live.id, "closed")
    hers = path.replace("{job_id}", job["id"]).replace("{live_id}", str(live.id))
    url = address.replace("http", "ws", 1) + hers
    wrong = await key_of(alice, *(one for one in SCOPES if one != SOCKETS[path]))
    cases = [({}, 4401), ({"Authorization": "Bearer none"}, 4401), (wrong, 4403)]
    if "{" in path:
        strangers = [{"Authorization": f"Bearer {bob.token}"}, await key_of(bob, *SCOPES)]
        cases += [(headers, 4404) for headers in strangers]
        gone = address.replace("http", "ws", 1) + filled(path)
        assert await close_code(gone, {"Authorization": f"Bearer {bob.token}"}) == 4404
    for headers, code in cases:
        assert await close_code(url, headers) == code, (path, code)


async def close_code(url: str, headers: dict[str, str]) -> int | None:
    async with connect(url, additional_headers=headers) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        return socket.close_code
