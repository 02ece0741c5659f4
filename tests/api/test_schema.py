"""The OpenAPI document is true: what it allows is answered as it says, and nothing makes the server fail."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, checks
from schemathesis.core.result import Ok

from tests.api.conftest import NewJob, Person, ScriptedWorker

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

EXAMPLES = 20
"""For each operation and each way of generating; every run is the same."""
STREAMS = "streamJobEvents"
"""Tested by itself: the event stream of a waiting job does not end."""
ALL_STREAMS = (STREAMS, "streamEvents")
LEAVES = "logOut"
"""Whoever asks this is nobody afterwards."""
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


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
async def test_nothing_a_client_sends_makes_the_server_fail_or_break_its_word(
    address: str,
    anyone: httpx.AsyncClient,
    alice: Person,
    new_job: NewJob,
    worker: ScriptedWorker,
    mode: GenerationMode,
) -> None:
    document = (await anyone.get("/schema/openapi.json")).json()
    job = await new_job(submit=True)
    await worker.play(job["id"])
    asked = await asyncio.to_thread(fuzz, document, address, alice.token, job["id"], mode)
    assert sum(asked.values()) >= 10 * EXAMPLES


def fuzz(document: dict[str, Any], address: str, token: str, job_id: str, mode: GenerationMode) -> Counter[str]:
    """Ask every operation many things; half the time about a job that exists. Returns how often each was asked."""
    asked: Counter[str] = Counter()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=address)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        takes_something = bool(operation.definition.raw.get("parameters") or operation.body)
        if operation.definition.raw["operationId"] not in (*ALL_STREAMS, LEAVES) and (
            takes_something or mode is GenerationMode.POSITIVE
        ):
            asked[operation.label] = _ask(operation.as_strategy(generation_mode=mode), token, job_id)
    return asked


def _ask(cases: SearchStrategy[Case[Any]], token: str, job_id: str) -> int:
    """Ask one operation; returns how often."""
    count = 0

    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Case[Any]) -> None:
        nonlocal count
        if "job_id" in case.path_parameters and count % 2:
            case.path_parameters["job_id"] = job_id
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=PROMISES)
        count += 1

    ask()
    return count
