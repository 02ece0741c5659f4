"""`ray up` would accept our cluster files: Ray's own preparation and validation, and an AWS in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


def read(name: str) -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return written


@pytest.fixture(params=["ray_cluster.yaml", "ray_cluster.local.yaml"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials that are worth nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


def test_ray_accepts_the_file(cluster: dict[str, Any]) -> None:
    prepared = prepare_config(cluster)

    validate_config(prepared)

    assert prepared["head_node_type"] in prepared["available_node_types"]
    assert prepared["max_workers"] > 0


@pytest.mark.ray  # no cluster, but moto takes ten seconds to know AWS's machines
def test_on_aws_the_autoscaler_knows_the_gpus_it_can_add(aws: None) -> None:
    """Ray fills in what an instance type has, which is how a replica that asks for a GPU makes a node start."""
    filled = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(read("ray_cluster.yaml")))

    validate_config(filled)

    worker = filled["available_node_types"]["gpu_worker"]
    assert worker["resources"]["GPU"] == 1
    assert (worker["min_workers"], worker["max_workers"]) == (1, 8)
    assert "GPU" not in filled["available_node_types"]["head"]["resources"]


@pytest.mark.parametrize("commands", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_every_node_starts_with_the_same_switches(cluster: dict[str, Any], commands: str) -> None:
    """Token authentication, and what both ends of a Serve call must agree on."""
    start = cluster[commands][-1]

    for switch in ("RAY_AUTH_MODE=token", "RAY_worker_niceness=0", "RAY_SERVE_THROUGHPUT_OPTIMIZED=1"):
        assert switch in start
    assert "~/.ray/auth_token" in cluster["file_mounts"]
