"""Replicas on two nodes, one of which dies in the middle of a job: the other does what is left, and nothing twice."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import ray
from ray import serve
from ray.serve import RunTarget

from deployments import handles
from deployments.app import deployment
from deployments.asr import Asr
from deployments.capacity import StageServers
from deployments.mt import Mt
from deployments.tts import Tts
from octavia_stream.audit.invariants import audit
from octavia_stream.config import ThreadedReplicaSettings, WorkerSettings
from octavia_stream.database.uuid7 import uuid7
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.jobs.every_kind import EveryKind
from octavia_stream.jobs.job import TERMINAL, AudioDubbingOptions, Job
from octavia_stream.jobs.worker import JobWorker
from octavia_stream.launcher import keeper
from octavia_stream.launcher.child import Child
from octavia_stream.launcher.ports import free_ports
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.scheduling.share import alike
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.uploads.upload import upload_key

pytestmark = [pytest.mark.ray, pytest.mark.services, pytest.mark.timeout(400)]

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

APPLICATIONS = {"transcribe": "nodes-asr", "translate": "nodes-mt", "synthesize": "nodes-tts"}
APART = ThreadedReplicaSettings(
    num_cpus=0.1, min_replicas=2, max_replicas=2, max_replicas_per_node=1, max_ongoing_requests=2, max_batch_size=1
)
TALK = Path(__file__).parents[1] / "data" / "speech" / "en" / "lj_printing_4min.flac"
SENTENCES_BEFORE = 6


@pytest.fixture
async def second_node(ray_head: str, ray_home: Path, eventually: Eventually) -> AsyncIterator[Child]:
    """Another raylet in the cluster of this room, as `ray start --address` makes one on another machine."""
    ports = free_ports(3)
    joining = [sys.executable, str(Path(__file__).with_name("joining_node.py")), ray_head, "4", *map(str, ports)]
    command = [sys.executable, "-I", "-S", keeper.__file__, *joining]
    node = await Child.start("node", command, os.environ, ray_home / "logs" / "node.log", signal.SIGTERM)

    async def has_joined() -> bool:
        return len(await asyncio.to_thread(living_nodes)) == 2

    await eventually(has_joined)
    yield node
    await node.stop(grace_s=0)


@pytest.fixture
async def servers(second_node: Child) -> AsyncIterator[dict[Stage, StageServers]]:
    """Two replicas of each model server, on different nodes."""
    made: dict[str, tuple[type, Any]] = {
        "transcribe": (Asr, partial(ScriptedTranscriber, 0.3)),
        "translate": (Mt, partial(ScriptedTranslator, 0.1)),
        "synthesize": (Tts, partial(ScriptedSynthesizer, 0.3)),
    }
    targets = [
        RunTarget(deployment(shell, "Stage", APART, 1.0).bind(make, APART), APPLICATIONS[stage], route_prefix=None)
        for stage, (shell, make) in made.items()
    ]
    await asyncio.to_thread(serve.run_many, targets)
    yield {stage: StageServers("Stage", APART) for stage in ("transcribe", "translate", "synthesize")}
    for application in APPLICATIONS.values():
        await asyncio.to_thread(serve.delete, application, _blocking=False)


async def test_a_node_that_dies_costs_only_what_was_in_flight_on_it(
    servers: dict[Stage, StageServers], second_node: Child, runtime: Runtime, eventually: Eventually
) -> None:
    assert {len(await asyncio.to_thread(nodes_of, name)) for name in APPLICATIONS.values()} == {2}
    job = await submitted(runtime)
    asr, mt, tts = (serve.get_deployment_handle("Stage", name) for name in APPLICATIONS.values())
    engines = handles.engines(asr, mt, tts, servers)
    settings = runtime.settings.model_copy(update={"worker": WorkerSettings(poll_s=0.1)})
    registry = Registry(settings.models, settings.home)
    worker = JobWorker(runtime, EveryKind(runtime, alike(engines), registry), "beside the nodes")
    working = asyncio.create_task(worker.run())
    try:
        await eventually(partial(has_spoken, runtime, job))
        before = await finished(runtime, job)
        await second_node.stop(grace_s=0)
        async with asyncio.timeout(200):
            while (await runtime.jobs.get(job.id, job.owner_id)).status not in TERMINAL:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        worker.drain()
        await working
    ended = await runtime.jobs.get(job.id, job.owner_id)
    assert ended.status == "completed", ended.error_message
    assert before
    assert before <= await finished(runtime, job), "what was finished was done again"
    found = await audit(runtime.pool, runtime.objects, runtime.settings.home, deadline_s=60.0, grace_s=0.0)
    assert found.clean, [breach for breach in found.breaches if breach.count]


def living_nodes() -> list[str]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["NodeID"] for node in nodes if node["Alive"]]


def nodes_of(application: str) -> set[str]:
    """Where an application's replicas live."""
    client = serve.context._get_global_client()
    assert client is not None
    [found] = client.get_serve_details()["applications"][application]["deployments"].values()
    return {replica["node_id"] for replica in found["replicas"]}


async def submitted(runtime: Runtime) -> Job:
    """A job that waits for a worker."""
    owner = await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")
    upload_id = uuid7()
    key = upload_key(upload_id)
    stored = await runtime.objects.put_file(key, TALK)
    size, sha256 = stored.size, stored.sha256
    await runtime.uploads.add(upload_id, owner.id, TALK.name, "audio/flac", size=size, sha256=sha256, key=key)
    options = AudioDubbingOptions(source_language="en", target_language="pt")
    job = await runtime.jobs.create(owner.id, "audio-translate", upload_id, options)
    return await runtime.jobs.submit(job.id, owner.id)


async def finished(runtime: Runtime, job: Job) -> set[tuple[object, ...]]:
    """Every piece that is done, how often it was tried, and when it was finished."""
    rows = await runtime.pool.fetch(
        "select stage, idx, digest, attempts, finished_at from chunk where job_id = $1 and state = 'done'", job.id
    )
    return {tuple(row) for row in rows}


async def has_spoken(runtime: Runtime, job: Job) -> bool:
    return sum(piece[0] == "synthesize" for piece in await finished(runtime, job)) >= SENTENCES_BEFORE
