"""What is true of many operations is said of each: added to the OpenAPI document from the routes themselves."""

from dataclasses import replace

from litestar import Litestar
from litestar.routes import HTTPRoute

from api.throttling import class_of

_TOO_LARGE, _TOO_MANY = 413, 429
_SAID = {
    _TOO_LARGE: "The body is larger than this server accepts.",
    _TOO_MANY: "These are too many requests; try again after `Retry-After`.",
}


def complete_responses(app: Litestar) -> None:
    """Who takes a body may find it too large, and who is counted may refuse; errors keep the shape of the route's own.

    Call it once, before the document is first asked for.
    """
    handlers = {handler for route in app.routes if isinstance(route, HTTPRoute) for handler in route.route_handlers}
    for handler in handlers:
        own = dict(handler.responses or {})
        invalid = own.get(400)
        if invalid is None:
            continue
        missing = {_TOO_LARGE} if "data" in handler.parsed_fn_signature.parameters else set[int]()
        missing |= {_TOO_MANY} if class_of(handler.opt, "GET") else set[int]()
        own |= {status: replace(invalid, description=_SAID[status]) for status in missing - own.keys()}
        handler.responses = own
