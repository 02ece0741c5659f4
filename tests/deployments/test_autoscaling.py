"""Replicas come with the seconds of sound that wait, and go when none do: on a real Ray node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import uuid4

import pytest
from ray import serve
from ray.serve import RunTarget
from ray.serve.config import AutoscalingConfig

from deployments import handles
from deployments.app import deployment, deployment_options
from deployments.backlog import FORGOTTEN_S, FRESH_S, Backlog, HeardBacklogs, QueuedSoundPolicy
from deployments.capacity import StageServers, follow_replicas, running_replicas
from deployments.tts import Tts
from octavia_stream.config import ThreadedReplicaSettings
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import Overloaded
from octavia_stream.languages import Language
from octavia_stream.scheduling.fair_engines import FairEngines
from octavia_stream.scheduling.share import Share
from octavia_stream.testing import ScriptedSynthesizer
from octavia_stream.tts.voice import Voice

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field")]

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

VOICE = Voice("scripted/ana", Language("pt"), "female", "scripted", characters_per_second=10.0)
REPLICAS = ThreadedReplicaSettings(
    min_replicas=0, max_replicas=2, num_cpus=0.1, max_ongoing_requests=2, queued_s_per_replica=30.0, idle_s=0.0
)
APPLICATION = "scaling"


class Context:
    """What Serve tells a policy."""

    def __init__(self, told: dict[str, dict[str, float]], ongoing: float) -> None:
        self.aggregated_metrics = told
        self.total_num_requests = ongoing


def test_the_policy_reads_what_replicas_heard_and_nothing_else() -> None:
    policy = QueuedSoundPolicy(queued_s_per_replica=30.0, max_ongoing_requests=2)
    told = {"queued_s:a/1": {"r1": 70.0, "r2": 10.0}, "queued_s:b/2": {"r1": 21.0}, "other": {"r1": 1e6}}
    assert policy(Context(told, 2.0))[0] == 4
    assert policy(Context({}, 0.0))[0] == 0


def test_a_worker_that_fell_silent_has_nothing_waiting() -> None:
    now = 0.0
    heard = HeardBacklogs(lambda: now)
    heard.hear(None)
    heard.hear(Backlog("a/1", 70.0))
    now = FRESH_S / 2
    heard.hear(Backlog("b/2", 5.0))
    assert heard.stats() == {"queued_s:a/1": 70.0, "queued_s:b/2": 5.0}
    now = FRESH_S
    assert heard.stats() == {"queued_s:a/1": 0.0, "queued_s:b/2": 5.0}
    now = FORGOTTEN_S
    assert heard.stats() == {"queued_s:b/2": 0.0}


def test_the_settings_reach_serve_and_serve_takes_them() -> None:
    scaling: AutoscalingConfig = deployment_options(REPLICAS, 1.0)["autoscaling_config"]
    assert (scaling.min_replicas, scaling.max_replicas, scaling.downscale_delay_s) == (0, 2, 0.0)
    assert scaling.policy.policy_kwargs == {"queued_s_per_replica": 30.0, "max_ongoing_requests": 2}
    assert scaling.policy.get_policy().__name__ == QueuedSoundPolicy.__name__


@pytest.fixture
async def asleep(ray_head: str) -> AsyncIterator[StageServers]:
    """An application that scales fast and has no replica yet."""
    options = deployment_options(REPLICAS, 1.0)
    fast = {"initial_replicas": 0, "upscale_delay_s": 0.5, "look_back_period_s": 2.0, "metrics_interval_s": 0.5}
    kept = options["autoscaling_config"].model_dump(exclude={"policy"}) | fast
    scaling = AutoscalingConfig(**kept, policy=options["autoscaling_config"].policy)
    made = deployment(Tts, "Tts", REPLICAS, shutdown_s=1.0).options(autoscaling_config=scaling)
    target = RunTarget(made.bind(partial(ScriptedSynthesizer, 0.3), REPLICAS), APPLICATION, route_prefix=None)
    await asyncio.to_thread(serve.run_many, [target])
    yield StageServers("Tts", REPLICAS)
    await asyncio.to_thread(serve.delete, APPLICATION)


async def test_replicas_come_with_what_waits_and_go_when_nothing_does(
    asleep: StageServers, eventually: Eventually
) -> None:
    async def running() -> int:
        return running_replicas(await asyncio.to_thread(serve.status), APPLICATION, "Tts")

    assert await running() == 0
    handle = serve.get_deployment_handle("Tts", APPLICATION)
    synthesizer = handles.HandleSynthesizer(handle, 60.0, asleep)
    unused: Engines = Engines(synthesizer, synthesizer, synthesizer)  # type: ignore[arg-type]
    gates = {"transcribe": asleep.gate, "translate": asleep.gate, "synthesize": asleep.gate}
    fair = FairEngines(unused, gates)(Share(uuid4())).synthesizer  # type: ignore[arg-type]
    following = asyncio.create_task(follow_replicas({"synthesize": asleep}, APPLICATION))
    calls: list[asyncio.Task[object]] = []
    try:
        # 10 s of speech each: more than twice what may wait for one replica.
        calls = [asyncio.create_task(fair.synthesize("a" * 100, VOICE)) for _ in range(400)]

        async def both() -> bool:
            return await running() == REPLICAS.max_replicas and asleep.gate.slots == 4

        await eventually(both)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

        async def none() -> bool:
            return await running() == 0 and asleep.running == 0

        await eventually(none)
    finally:
        for task in (*calls, following):
            task.cancel()
        await asyncio.gather(*calls, following, return_exceptions=True)


async def test_a_call_that_waits_in_vain_for_the_first_replica_is_no_failure(asleep: StageServers) -> None:
    asleep.see(0)
    handle = serve.get_deployment_handle("Tts", APPLICATION)
    with pytest.raises(Overloaded, match="being started"):
        await handles.HandleSynthesizer(handle, 0.001, asleep).synthesize("a", VOICE)
