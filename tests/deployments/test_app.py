"""What the settings become for Serve. Nothing is started."""

from typing import Any

from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve._private.common import DeploymentStatus, DeploymentStatusTrigger
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview, ServeStatus

from deployments.app import APPLICATION, build, deployment, deployment_options
from deployments.deploy import reason
from deployments.tts import Tts
from octavia_stream.config import ReplicaSettings, Settings


def test_a_fixed_number_of_replicas_is_not_autoscaled() -> None:
    options = deployment_options(ReplicaSettings(min_replicas=2, max_replicas=2), shutdown_s=10.0)

    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options


def test_a_range_of_replicas_is_autoscaled() -> None:
    options = deployment_options(ReplicaSettings(min_replicas=0, max_replicas=6), shutdown_s=10.0)

    scaling = options["autoscaling_config"]
    assert (scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas) == (0, 1, 6)
    assert "num_replicas" not in options


def test_a_share_of_a_gpu_reaches_ray() -> None:
    options = deployment_options(ReplicaSettings(num_cpus=2.0, num_gpus=0.25), shutdown_s=10.0)

    assert options["ray_actor_options"] == {"num_cpus": 2.0, "num_gpus": 0.25}


def test_every_queue_is_bounded_and_every_replica_watched() -> None:
    made = deployment(Tts, "Tts", Settings().serve.tts, shutdown_s=10.0)

    assert made.max_queued_requests > 0
    assert made.max_ongoing_requests > 0
    assert deployment_options(ReplicaSettings(), 10.0)["health_check_period_s"] == 2.0


def test_the_builder_takes_the_settings() -> None:
    assert isinstance(build(Settings()), Application)


def test_the_builder_takes_the_arguments_of_a_config_file() -> None:
    """As `serve run deployments.app:build` and a RayService pass them."""
    builder: Any = build
    arguments = {"serve": {"tts": {"max_replicas": 4}}}

    assert isinstance(call_user_app_builder_with_args_if_necessary(builder, arguments), Application)


def test_the_reason_of_a_failed_deployment_is_our_sentence_and_no_traceback() -> None:
    message = (
        "The deployment failed to start 3 times in a row. Error:\nray::ServeReplica:octavia:Asr.initialize()\n"
        '  File "asr.py", line 19, in __init__\n'
        "octavia_stream.errors.ModelMissing: Model 'whisper-base' is not installed; install octavia-stream[embedded]."
    )

    assert reason(status({"Asr": message, "Mt": ""})) == (
        "Model 'whisper-base' is not installed; install octavia-stream[embedded]."
    )


def test_without_a_sentence_of_ours_the_reason_names_who_is_not_ready() -> None:
    assert reason(status({"Asr": "", "Mt": ""})) == "Not ready: Asr, Mt."


def status(messages: dict[str, str]) -> ServeStatus:
    deployments = {
        name: DeploymentStatusOverview(
            status=DeploymentStatus.DEPLOY_FAILED,
            status_trigger=DeploymentStatusTrigger.REPLICA_STARTUP_FAILED,
            replica_states={},
            message=message,
        )
        for name, message in messages.items()
    }
    application = ApplicationStatusOverview(
        status=ApplicationStatus.DEPLOY_FAILED, message="", last_deployed_time_s=0.0, deployments=deployments
    )
    return ServeStatus(applications={APPLICATION: application})
