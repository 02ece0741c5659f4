"""Entry point of the api process: `python -m api.main`."""

import socket
import sys

import uvicorn
from litestar import Litestar

from api.app import create_app
from api.proxies import Forwarded
from octavia_stream.config import ApiSettings, Settings
from octavia_stream.logs import configure_logs
from octavia_stream.telemetry.tracing import start_tracing, stop_tracing

GRACE_S = 10
"""How long answers under way may take once the server is asked to stop."""
PING_INTERVAL_S = 15.0
PING_TIMEOUT_S = 15.0
MAX_WEBSOCKET_MESSAGE_BYTES = 320 * 1024
"""Four seconds of sound in base64; on other sockets clients have nothing to say."""


class ApiServer(uvicorn.Server):
    """uvicorn, which on its way out first ends the streams that would never end by themselves.

    Their clients reconnect and resume: WebSockets are closed with 1012, event streams just end.
    """

    def __init__(self, config: uvicorn.Config, app: Litestar) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.services.closing.set()
        await super().shutdown(sockets)


def uvicorn_config(app: Litestar, settings: ApiSettings) -> uvicorn.Config:
    """How this application is served."""
    standard = bool(settings.trusted_proxies) and settings.proxy_header == "forwarded"
    return uvicorn.Config(
        Forwarded(app, settings.trusted_proxies) if standard else app,
        host=settings.host,
        port=settings.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Attempts are counted by the address of a client: what a header says of it is believed from these alone.
        proxy_headers=bool(settings.trusted_proxies) and not standard,
        forwarded_allow_ips=list(settings.trusted_proxies),
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PING_TIMEOUT_S,
        ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
        timeout_graceful_shutdown=GRACE_S,
    )


def main() -> None:
    """Serve until interrupted or terminated."""
    settings = Settings()
    configure_logs(settings)
    start_tracing(settings.telemetry, "api")
    app = create_app(settings)
    server = ApiServer(uvicorn_config(app, settings.api), app)
    server.run()
    stop_tracing()
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
