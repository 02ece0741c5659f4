"""All routes of live sessions."""

from litestar import Router

from api.live import account_routes
from api.live_doors import doors
from api.live_recordings import recordings
from api.live_sockets import sockets

live_router = Router("/live", route_handlers=[account_routes, recordings, doors, sockets], tags=["live"])
