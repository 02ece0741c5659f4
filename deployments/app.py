"""The Serve application: settings in, a graph of deployments out."""

from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application, Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from deployments.asr import Asr
from deployments.backlog import QueuedSoundPolicy
from deployments.capacity import LIVE_CALLS
from deployments.engine_threads import load_engine
from deployments.live_node import LiveNode
from deployments.mt import Mt
from deployments.tts import Tts
from deployments.worker import Worker
from octavia_stream.config import ReplicaSettings, Settings

APPLICATION = "octavia"
"""How Serve calls it, unless somebody gives it another name."""
HEALTH_CHECK_PERIOD_S = 2.0
HEALTH_CHECK_TIMEOUT_S = 5.0
"""With Serve's own 10 s and 30 s a hung replica keeps its calls for over a minute; with these for 20 s."""
ENGINE_SHUTDOWN_S = 10.0
WORKER_SHUTDOWN_S = 30.0
UPSCALE_DELAY_S = 5.0
ROUTER = "deployments.routing.FewestCallsRouter"


def build(args: Settings) -> Application:
    """The whole application, for `deployments.deploy`, `serve run deployments.app:build` and Serve config files.

    args: settings that stand above the environment's, such as `{"serve": {"tts": {"max_replicas": 4}}}`.
    """
    chosen = args.serve
    live_calls = LIVE_CALLS if args.live.enabled else 0
    asr = deployment(Asr, "Asr", chosen.asr, ENGINE_SHUTDOWN_S, live_calls)
    mt = deployment(Mt, "Mt", chosen.mt, ENGINE_SHUTDOWN_S, live_calls)
    tts = deployment(Tts, "Tts", chosen.tts, ENGINE_SHUTDOWN_S, live_calls)
    worker = deployment(Worker, "JobWorker", chosen.worker, WORKER_SHUTDOWN_S)
    return worker.bind(
        args,
        asr.bind(partial(load_engine, args, "transcriber"), chosen.asr, args),
        mt.bind(partial(load_engine, args, "translator"), chosen.mt, args),
        tts.bind(partial(load_engine, args, "synthesizer"), chosen.tts, args),
    )


def build_live(args: Settings, engines_of: str = APPLICATION) -> Application:
    """The live nodes: an application of its own, beside the one that has the model servers and is named here."""
    node = serve.deployment(
        ray_actor_options={"num_cpus": args.live.num_cpus},
        num_replicas=args.live.nodes,
        # Each listens at its machine's addresses, and measures its machine's CPUs.
        max_replicas_per_node=1,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        graceful_shutdown_timeout_s=WORKER_SHUTDOWN_S,
        graceful_shutdown_wait_loop_s=0.2,
    )
    return node(LiveNode).options(name="LiveNode").bind(args, engines_of)


def deployment(
    target: type, name: str, replicas: ReplicaSettings, shutdown_s: float, live_calls: int = 0
) -> Deployment:
    """A plain class as a Serve deployment. live_calls: what a replica takes beside the calls of jobs."""
    return serve.deployment(**deployment_options(replicas, shutdown_s, live_calls))(target).options(name=name)


def deployment_options(replicas: ReplicaSettings, shutdown_s: float, live_calls: int = 0) -> dict[str, Any]:
    """What Serve calls the settings of one deployment. live_calls: as `deployment` takes it."""
    actor: dict[str, Any] = {"num_cpus": replicas.num_cpus}
    if replicas.num_gpus:
        actor["num_gpus"] = replicas.num_gpus
    return {
        "ray_actor_options": actor,
        "max_replicas_per_node": replicas.max_replicas_per_node,
        "max_ongoing_requests": replicas.max_ongoing_requests + live_calls,
        "max_queued_requests": replicas.max_queued_requests,
        "request_router_config": RequestRouterConfig(request_router_class=ROUTER),  # type: ignore[arg-type]
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "health_check_timeout_s": HEALTH_CHECK_TIMEOUT_S,
        "graceful_shutdown_timeout_s": shutdown_s,
        "graceful_shutdown_wait_loop_s": 0.2,
    } | _count(replicas)


def _count(replicas: ReplicaSettings) -> dict[str, Any]:
    if replicas.min_replicas >= replicas.max_replicas:
        return {"num_replicas": max(replicas.min_replicas, 1)}
    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=QueuedSoundPolicy,
        policy_kwargs={
            "queued_s_per_replica": replicas.queued_s_per_replica,
            "max_ongoing_requests": replicas.max_ongoing_requests,
        },
    )
    scaling = AutoscalingConfig(
        min_replicas=replicas.min_replicas,
        max_replicas=replicas.max_replicas,
        # One at first in any case: what cannot start should fail when it is deployed, not when a job comes.
        initial_replicas=max(replicas.min_replicas, 1),
        upscale_delay_s=UPSCALE_DELAY_S,
        downscale_delay_s=replicas.idle_s,
        policy=policy,
    )
    return {"autoscaling_config": scaling}
