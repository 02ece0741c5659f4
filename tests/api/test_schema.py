"""The OpenAPI document is true: what it allows is answered as it says, and nothing makes the server fail.

`make fuzz` asks every operation many more times; `pytest` asks each a few.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, checks
from schemathesis.core.result import Ok

from octavia_stream.accounts.standing import Grant
from octavia_stream.runtime import Runtime
from tests.api.conftest import NewJob, Person, ScriptedWorker, create_job, upload_video
from tests.api.test_isolation import LIVE

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

FEW, MANY = 3, 20
"""How often each operation is asked in each way of generating; every run is the same."""
THOROUGH = 1000
"""Whoever wants this many examples of a property (`--hypothesis-profile=thorough`) wants many here."""
CALLS_OF_MANY = 2000
STREAMS = "streamJobEvents"
LEAVES = frozenset({"logOut"})
"""Whoever asks these is nobody afterwards."""
WORKERS = ("openai", "live")
"""How operations begin that a worker or a live node answers, and here there is none: 503 is the truth."""
PROMISES = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


async def test_the_document_has_stable_names_and_says_that_errors_are_problems(anyone: httpx.AsyncClient) -> None:
    document = (await anyone.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"upload", "createVideoTranslation", "processJob", "getJob", "downloadJob", STREAMS} <= set(names)
    for operation in operations:
        # OpenAI's clients know another shape.
        kind = "application/json" if operation["operationId"].startswith("openai") else "application/problem+json"
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == [kind], operation["operationId"]


async def test_every_operation_says_that_there_are_limits(anyone: httpx.AsyncClient) -> None:
    document = (await anyone.get("/schema/openapi.json")).json()
    silent = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
        if "429" not in operation["responses"] or ("requestBody" in operation and "413" not in operation["responses"])
    ]
    assert silent == []


Ids = dict[str, list[str]]


async def real_ids(alice: Person, runtime: Runtime, done: str) -> Ids:
    """Things of Alice that exist, by the names of the parameters that ask for them."""
    upload = await upload_video(alice)
    waiting = await create_job(alice, upload["id"])
    team = (await alice.http.post("/api/v1/teams", json={"name": "Ours"})).json()
    key = (await alice.http.post("/api/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).json()
    live, _ = await runtime.live.create(alice.id, LIVE, Grant(alice.id))
    link, _ = await runtime.live.add_listener(live.id, "The hall")
    return {
        "live_id": [str(live.id)],
        "listener_id": [str(link.id)],
        "job_id": [done, waiting["id"]],
        "upload_id": [upload["id"]],
        "team_id": [team["id"]],
        "key_id": [key["key"]["id"]],
        "account_id": [str(alice.id)],
    }


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
async def test_nothing_a_client_sends_makes_the_server_fail_or_break_its_word(
    address: str,
    anyone: httpx.AsyncClient,
    alice: Person,
    runtime: Runtime,
    new_job: NewJob,
    worker: ScriptedWorker,
    mode: GenerationMode,
) -> None:
    document = (await anyone.get("/schema/openapi.json")).json()
    # Administrators may ask everything.
    await runtime.pool.execute("update account set role = 'admin' where id = $1", alice.id)
    job = await new_job(submit=True)
    await worker.play(job["id"])
    ids = await real_ids(alice, runtime, job["id"])
    many = settings.default is not None and settings.default.max_examples >= THOROUGH
    asked, statuses = await asyncio.to_thread(fuzz, document, address, alice.token, ids, mode, MANY if many else FEW)
    print(f"{sum(asked.values())} calls of {len(asked)} operations: {dict(sorted(statuses.items()))}")
    assert (await alice.http.get("/api/v1/auth/me")).status_code == 200
    # Both ways together.
    assert sum(asked.values()) >= (CALLS_OF_MANY / 2 if many else 60 * FEW)


def fuzz(
    document: dict[str, Any], address: str, token: str, ids: Ids, mode: GenerationMode, examples: int
) -> tuple[Counter[str], Counter[int]]:
    """Ask every operation many things; half the time about what exists.

    Returns how often each was asked, and how often each status was the answer.
    """
    asked, statuses = Counter[str](), Counter[int]()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=address)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        name = operation.definition.raw["operationId"]
        if name in LEAVES or endless(operation.definition.raw):
            continue
        takes_something = bool(operation.definition.raw.get("parameters") or operation.body)
        if not takes_something and mode is GenerationMode.NEGATIVE:
            continue
        promises = PROMISES[1:] if name.startswith(WORKERS) else PROMISES
        cases = operation.as_strategy(generation_mode=mode)
        answers = _ask(cases, examples, token, ids, promises)
        asked[operation.label] = len(answers)
        statuses.update(answers)
        assert 500 not in answers, operation.label
    return asked, statuses


def endless(operation: dict[str, Any]) -> bool:
    """An event stream that does not end with a job."""
    of_a_job = any(one.get("name") == "job_id" for one in operation.get("parameters", []))
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {}) and not of_a_job


def _ask(
    cases: SearchStrategy[Case[Any]],
    examples: int,
    token: str,
    ids: Ids,
    promises: Sequence[Callable[..., Any]],
) -> list[int]:
    """Ask one operation; returns the statuses."""
    answers: list[int] = []

    @seed(7)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Case[Any]) -> None:
        for name in case.path_parameters:
            # What exists is not deleted: others are to find it.
            if len(answers) % 2 and name in ids and case.method.upper() != "DELETE":
                case.path_parameters[name] = ids[name][len(answers) // 2 % len(ids[name])]
        answer = case.call_and_validate(session=session, checks=list(promises))
        answers.append(answer.status_code)

    def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Last of all, over whatever was generated: it is somebody who logged in that asks.
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    with requests.Session() as session:
        session.auth = signed
        ask()
    return answers
