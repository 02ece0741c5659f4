"""`python -m deployments.deploy`: put the application on a running Ray cluster, wait until it runs, leave."""

import logging
import os
import re
import socket
import sys
import time
from urllib.parse import urlsplit

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus, ServeStatus

from deployments.app import APPLICATION, build, build_live
from octavia_stream.config import Settings
from octavia_stream.errors import EngineUnavailable, OctaviaError

LIVE_APPLICATION = "octavia-live"
NAMESPACE = "octavia"
CLUSTER_DEADLINE_S = 60.0
DEPLOY_DEADLINE_S = 300.0
POLL_S = 0.2
OUR_ERROR = re.compile(r"octavia_stream\.errors\.\w+: (.+)")
QUIET_LOGS = {"log_level": "WARNING", "enable_access_log": False}


def deploy(settings: Settings, deadline_s: float = DEPLOY_DEADLINE_S) -> None:
    """Deploy or replace the application on the cluster this process is attached to; return when it runs.

    Raises EngineUnavailable with the reason when it does not.
    """
    # Killed, Serve's HTTP proxy is away for half a minute; nobody needs it, for the api is a process of its own.
    serve.start(proxy_location="Disabled", logging_config=QUIET_LOGS)
    target = serve.RunTarget(build(settings), name=APPLICATION, route_prefix=None, logging_config=QUIET_LOGS)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    wait_until_running(deadline_s)
    deploy_live(settings)


def deploy_live(settings: Settings) -> None:
    """Start the live nodes, or stop them when they are not wanted. Nobody waits for them: jobs need none."""
    if settings.live.enabled:
        live = serve.RunTarget(
            build_live(settings), name=LIVE_APPLICATION, route_prefix=None, logging_config=QUIET_LOGS
        )
        serve.run_many([live], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    elif LIVE_APPLICATION in serve.status().applications:
        serve.delete(LIVE_APPLICATION)


def wait_until_running(deadline_s: float) -> None:
    """Returns when every deployment has its replicas. Raises EngineUnavailable when that fails or takes too long."""
    give_up_at = time.monotonic() + deadline_s
    while True:
        status = serve.status()
        application = status.applications.get(APPLICATION)
        if application is not None and application.status == ApplicationStatus.RUNNING:
            return
        if application is not None and application.status == ApplicationStatus.DEPLOY_FAILED:
            raise EngineUnavailable(reason(status))
        if time.monotonic() > give_up_at:
            raise EngineUnavailable(f"The model servers were not ready within {deadline_s:.0f} s. {reason(status)}")
        time.sleep(POLL_S)


def reason(status: ServeStatus) -> str:
    """Why the application does not run, in one sentence: our own error's if there is one."""
    application = status.applications[APPLICATION]
    messages = [deployment.message for deployment in application.deployments.values()]
    for message in messages:
        # Serve gives the traceback of the replica as text; the last error in it is what the others led to.
        ours = OUR_ERROR.findall(message)
        if ours:
            return str(ours[-1]).strip()
    waiting = [name for name, deployment in application.deployments.items() if deployment.status != "HEALTHY"]
    return f"Not ready: {', '.join(waiting) or 'none'}."


def wait_for_cluster(address: str, deadline_s: float = CLUSTER_DEADLINE_S) -> None:
    """Ray's client hangs on an address where nobody listens yet. Raises EngineUnavailable."""
    parts = urlsplit(f"//{address}")
    if parts.hostname is None or parts.port is None:
        return
    give_up_at = time.monotonic() + deadline_s
    while True:
        try:
            with socket.create_connection((parts.hostname, parts.port), timeout=POLL_S):
                return
        except OSError as error:
            if time.monotonic() > give_up_at:
                raise EngineUnavailable(f"No Ray cluster answered within {deadline_s:.0f} s.") from error
        time.sleep(POLL_S)


def main() -> int:
    """Exit code 0: it runs. 1: it does not, and the last line on standard error says why."""
    settings = Settings()
    address = settings.serve.ray_address or "auto"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        wait_for_cluster(address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
        deploy(settings)
    except (OctaviaError, ConnectionError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
