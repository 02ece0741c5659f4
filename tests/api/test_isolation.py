"""Nobody reaches what is another's. Which routes there are, the OpenAPI document says."""

import re
from itertools import product
from typing import Any
from uuid import uuid4

import httpx
import pytest

from octavia_stream.accounts.standing import Grant
from octavia_stream.languages import Language
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.runtime import Runtime
from tests.api.conftest import Person, ScriptedWorker, create_job, upload_video

pytestmark = pytest.mark.services

METHODS = ("get", "put", "post", "delete", "head", "patch")
PUBLIC = {
    *("signUp", "logIn", "refreshAccess", "requestPasswordReset", "confirmPasswordReset"),
    *("listLanguages", "listVoices", "getPricing", "polarWebhook", "livez", "readyz", "openLink", "openLinkHead"),
}
LIVE = LiveOptions((LiveTarget(Language("pt")),))


NO_IDS = {"{epoch}": "1", "{name}": "dub.m3u8", "{language}": "pt", "{peer}": "a-connection"}
"""Parameters of paths that are no ids, as `{name}`, and a good value for each."""


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/links"): {},
    ("patch", "/teams/{team_id}"): {"name": "Mine"},
    ("patch", "/jobs/{job_id}"): {"tags": ["mine"]},
    ("patch", "/segments"): {"version": 1, "edits": [{"edit": "translation", "id": 0, "text": "Mine."}]},
    ("patch", "/members/{account_id}"): {"role": "viewer"},
    ("post", "/owner"): {"account_id": str(uuid4())},
    ("post", "/invitations"): {"email": "somebody@example.org"},
    ("post", "/teams/{team_id}/uploads"): {"upload_id": str(uuid4())},
    ("patch", "/webhooks/{endpoint_id}"): {"description": "Mine"},
    ("post", "/checkout"): {"package_id": "starter"},
    ("post", "/listeners"): {"name": "The hall"},
    ("post", "/sessions"): {"targets": [{"language": "pt"}]},
}
"""What is sent to routes that want something, by the end of their path."""


def filled(path: str) -> str:
    """A path with values for its parameters: of ids, those of nothing."""
    for parameter, value in NO_IDS.items():
        path = path.replace(parameter, value)
    return re.sub(r"{\w+}", str(uuid4()), path)


@pytest.fixture(scope="module")
async def operations(anyone: httpx.AsyncClient) -> list[tuple[str, str, dict[str, Any]]]:
    document = (await anyone.get("/schema/openapi.json")).json()
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


async def ask(
    client: httpx.AsyncClient, method: str, path: str, upload_id: str | None = None, route: str = ""
) -> httpx.Response:
    """The smallest sensible request to a route. route: its path before ids were filled in."""
    body: dict[str, Any] = {}
    for (verb, end), sent in BODIES.items():
        if method == verb and route.endswith(end):
            body = {"json": sent}
    if path.endswith("/create"):
        body = {"json": {"upload_id": upload_id or str(uuid4()), "target_language": "pt"}}
    elif path.endswith("/upload"):
        body = {"files": {"file": ("a.mp4", b"x")}, "params": {"file_type": "video"}}
    return await client.request(method, path, **body)


async def test_no_token_opens_nothing_but_what_is_public(
    anyone: httpx.AsyncClient, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    closed = [(method, path) for method, path, operation in operations if operation["operationId"] not in PUBLIC]
    assert len(closed) >= 10
    for method, path in closed:
        answer = await ask(anyone, method, filled(path))
        assert answer.status_code == 401, (method, path)


async def test_the_document_says_which_routes_want_a_token(
    operations: list[tuple[str, str, dict[str, Any]]],
) -> None:
    open_routes = {operation["operationId"] for _, _, operation in operations if not operation.get("security")}
    assert open_routes == PUBLIC


async def test_what_is_another_s_does_not_exist(
    alice: Person, bob: Person, runtime: Runtime, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    upload, spare = await upload_video(alice), await upload_video(alice)
    jobs = [await create_job(alice, upload["id"]) for _ in range(2)]
    await alice.http.post(f"/api/v1/jobs/{jobs[1]['id']}/process")
    await ScriptedWorker(runtime).play(jobs[1]["id"])
    key = await alice.http.post("/api/v1/keys", json={"name": "mine", "scopes": ["jobs:read"]})
    sessions = (await alice.http.get("/api/v1/auth/sessions")).json()["sessions"]
    team = (await alice.http.post("/api/v1/teams", json={"name": "Hers"})).json()
    wish = {"email": "nobody@example.org"}
    invited = (await alice.http.post(f"/api/v1/teams/{team['id']}/invitations", json=wish)).json()
    hook = (await alice.http.post("/api/v1/webhooks", json={"url": "https://example.org/hook"})).json()["webhook"]
    told = (await alice.http.post(f"/api/v1/webhooks/{hook['id']}/test")).json()
    live, _ = await runtime.live.create(alice.id, LIVE, Grant(alice.id))
    link, _ = await runtime.live.add_listener(live.id, "The hall")
    hers = {
        "{live_id}": [str(live.id)],
        "{listener_id}": [str(link.id)],
        "{endpoint_id}": [hook["id"]],
        "{delivery_id}": [told["id"]],
        "{team_id}": [team["id"]],
        "{account_id}": [str(alice.id)],
        "{invitation_id}": [invited["invitation"]["id"]],
        "{job_id}": [job["id"] for job in jobs],
        "{upload_id}": [spare["id"]],
        "{key_id}": [key.json()["key"]["id"]],
        # Of a link: whatever is not one.
        "{token}": [],
        "{session_id}": [session["id"] for session in sessions],
        "{user_id}": [str(alice.id)],
        "{tenant_id}": [str(alice.id)],
    }
    with_id = [(method, path) for method, path, _ in operations if "{" in path]
    assert len(with_id) >= 6
    for method, path in with_id:
        parameters = sorted(set(re.findall(r"{\w+}", path)) - NO_IDS.keys())
        assert hers.keys() >= set(parameters), f"teach this test the parameters of {path}"
        for ids in product(*((*hers[parameter], str(uuid4())) for parameter in parameters)):
            its_path = path
            for parameter, its_id in zip(parameters, ids, strict=True):
                its_path = its_path.replace(parameter, its_id)
            answer = await ask(bob.http, method, filled(its_path), route=path)
            assert answer.status_code == 404, (method, path)
    answer = await ask(bob.http, "post", "/api/v1/jobs/video-translate/create", upload["id"])
    assert answer.status_code == 404
    assert (await bob.http.get("/api/v1/jobs")).json()["jobs"] == []
    assert (await bob.http.get("/api/v1/uploads")).json()["uploads"] == []
    assert spare["id"] in {one["id"] for one in (await alice.http.get("/api/v1/uploads")).json()["uploads"]}
    # None of that changed anything.
    assert len((await alice.http.get("/api/v1/keys")).json()["keys"]) == 1
    assert (await alice.http.get("/api/v1/auth/sessions")).json()["sessions"] == sessions
    assert (await alice.http.get(f"/api/v1/live/sessions/{live.id}")).json()["status"] == "created"
    assert len((await alice.http.get(f"/api/v1/live/sessions/{live.id}/listeners")).json()["listeners"]) == 1
    seen = [(await alice.http.get(f"/api/v1/jobs/{job['id']}")).json()["status"] for job in jobs]
    assert seen == ["pending", "completed"]
    assert (await alice.http.get(f"/api/v1/teams/{team['id']}")).json() == team
    invitations = await alice.http.get(f"/api/v1/teams/{team['id']}/invitations")
    assert invitations.json()["invitations"] == [invited["invitation"]]


def names_a_team(operation: dict[str, Any], document: dict[str, Any]) -> str | None:
    """Whether a route takes the id of a team in its query or its body, as the OpenAPI document says."""
    if any((one["in"], one["name"]) == ("query", "team_id") for one in operation.get("parameters", [])):
        return "query"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = document["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], body)
    return "body" if "team_id" in schema.get("properties", {}) else None


async def test_a_team_of_others_does_not_exist_wherever_it_is_named(
    alice: Person, bob: Person, anyone: httpx.AsyncClient, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    document = (await anyone.get("/schema/openapi.json")).json()
    team = (await alice.http.post("/api/v1/teams", json={"name": "Hers"})).json()
    upload = await upload_video(bob)
    asked = 0
    for method, path, operation in operations:
        place = names_a_team(operation, document)
        for team_id in (team["id"], str(uuid4())) if place else ():
            wish = {**BODIES.get((method, "/" + path.rpartition("/")[2]), {}), "team_id": team_id}
            if path.endswith("/create"):
                languages = {"target_language": "pt"}
                if path.endswith(("subtitle-generate/create", "subtitle-translate/create")):
                    languages = {"target_languages": ["pt"]}  # type: ignore[dict-item]
                wish |= {"upload_id": upload["id"], **languages}
            if path.endswith("/upload"):
                wish |= {"file_type": "video"}
            sent: dict[str, Any] = {"params": wish} if place == "query" else {"json": wish}
            answer = await bob.http.request(method, path, **sent)
            assert answer.status_code == 404, (method, path, answer.text)
            assert "team" in answer.json()["detail"], (method, path)
            asked += 1
    assert asked >= 16


async def test_a_page_cannot_be_continued_into_another_s_jobs(alice: Person, bob: Person) -> None:
    upload = await upload_video(alice)
    job = await create_job(alice, upload["id"])
    assert (await bob.http.get(f"/api/v1/jobs?before={job['id']}")).json()["jobs"] == []
