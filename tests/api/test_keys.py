"""API keys: shown once, each good for what its scopes say and nothing else."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from octavia_stream.accounts.api_keys import MAX_KEYS, SCOPES
from octavia_stream.runtime import Runtime
from tests.api.conftest import VIDEO, NewJob, Person, person

pytestmark = pytest.mark.services


async def make_key(somebody: Person, *scopes: str) -> dict[str, Any]:
    answer = await somebody.http.post("/api/v1/keys", json={"name": "a key", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['api_key']}"}


async def test_a_key_is_shown_once_and_kept_as_a_hash(alice: Person, runtime: Runtime) -> None:
    made = await make_key(alice, "jobs:read", "billing:read", "jobs:read")
    assert made["api_key"].startswith("ok_live_")
    assert len(made["api_key"]) == len("ok_live_") + 43
    assert made["key"]["scopes"] == ["billing:read", "jobs:read"]
    listed = await alice.http.get("/api/v1/keys")
    assert made["key"] in listed.json()["keys"]
    assert made["api_key"] not in listed.text
    row = await runtime.pool.fetchrow("select * from api_key where id = $1", UUID(made["key"]["id"]))
    assert row is not None
    assert made["api_key"].removeprefix("ok_live_")[4:] not in repr(dict(row))


async def test_a_key_opens_what_its_scopes_say(anyone: httpx.AsyncClient, alice: Person, new_job: NewJob) -> None:
    job = await new_job()
    reader, writer = await make_key(alice, "jobs:read"), await make_key(alice, "jobs:write")
    biller, sender = await make_key(alice, "billing:read"), await make_key(alice, "uploads:write")

    async def status(made: dict[str, Any], method: str, path: str, **request: Any) -> int:
        return (await anyone.request(method, f"/api/v1/{path}", headers=bearer(made), **request)).status_code

    here = f"jobs/{job['id']}"
    assert [await status(one, "GET", here) for one in (reader, writer, biller, sender)] == [200, 403, 403, 403]
    assert [await status(one, "POST", f"{here}/cancel") for one in (reader, biller, sender, writer)] == [
        *(403, 403, 403, 202),
    ]
    assert [await status(one, "GET", "billing/balance") for one in (reader, biller)] == [403, 200]
    file = {"file": ("a.mp4", VIDEO.read_bytes())}
    assert await status(writer, "POST", "upload?file_type=video", files=file) == 403
    assert await status(sender, "POST", "upload?file_type=video", files=file) == 201
    assert [await status(one, "GET", "auth/me") for one in (reader, writer, biller, sender)] == [200] * 4


async def test_no_key_opens_the_account_itself(anyone: httpx.AsyncClient, alice: Person) -> None:
    everything = await make_key(alice, *SCOPES)
    document = (await anyone.get("/schema/openapi.json")).json()
    closed = {
        *(("post", "/api/v1/auth/log-out"), ("get", "/api/v1/auth/sessions"), ("post", "/api/v1/auth/password")),
        *(("delete", "/api/v1/auth/sessions/{session_id}"), ("get", "/api/v1/auth/me/export")),
        *(("delete", "/api/v1/auth/me"), ("post", "/api/v1/keys"), ("get", "/api/v1/keys")),
        *(("delete", "/api/v1/keys/{key_id}"), ("post", "/api/v1/billing/checkout")),
    }
    found = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if operation.get("security") and not path.endswith("/events"):
                url = path.replace("{job_id}", str(uuid4())).replace("{key_id}", str(uuid4()))
                url = url.replace("{session_id}", str(uuid4()))
                answer = await anyone.request(method, url, headers=bearer(everything))
                if answer.status_code == 403:
                    found.add((method, path))
    assert closed <= found


async def test_a_socket_asks_for_the_scope_too(address: str, alice: Person, new_job: NewJob) -> None:
    job = await new_job(submit=True)
    url = address.replace("http", "ws", 1) + f"/api/v1/jobs/{job['id']}/events"
    async with connect(url, additional_headers=bearer(await make_key(alice, "jobs:read"))) as socket:
        assert '"submitted"' in str(await socket.recv())
    async with connect(url, additional_headers=bearer(await make_key(alice, "jobs:write"))) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


async def test_a_deleted_key_opens_nothing(anyone: httpx.AsyncClient, alice: Person) -> None:
    made = await make_key(alice, "jobs:read")
    assert (await anyone.get("/api/v1/jobs", headers=bearer(made))).status_code == 200
    listed = (await alice.http.get("/api/v1/keys")).json()["keys"]
    assert next(key for key in listed if key["id"] == made["key"]["id"])["last_used_at"] is not None
    assert (await alice.http.delete(f"/api/v1/keys/{made['key']['id']}")).status_code == 204
    assert (await anyone.get("/api/v1/jobs", headers=bearer(made))).status_code == 401
    assert (await anyone.get("/api/v1/jobs", headers={"Authorization": "Bearer ok_live_x"})).status_code == 401


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "", "scopes": ["jobs:read"]},
        {"name": "a\x00", "scopes": ["jobs:read"]},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["admin"]},
        {"name": "a", "scopes": ["jobs:read"], "account_id": "x"},
    ],
)
async def test_a_key_of_another_shape_is_not_made(alice: Person, wish: dict[str, Any]) -> None:
    assert (await alice.http.post("/api/v1/keys", json=wish)).status_code == 400


async def test_an_account_has_a_bounded_number_of_keys(address: str) -> None:
    async with person(address) as somebody:
        for _ in range(MAX_KEYS):
            await make_key(somebody, "jobs:read")
        answer = await somebody.http.post("/api/v1/keys", json={"name": "one more", "scopes": ["jobs:read"]})
        assert answer.status_code == 409
