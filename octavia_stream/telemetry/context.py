"""The ids under which logs know what they tell of."""

import structlog


def request_id() -> str | None:
    """Of the request that is being answered, if there is one."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return str(found)[:64] if found is not None else None
