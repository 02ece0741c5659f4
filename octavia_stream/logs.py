"""Structured logs, one line an event, on standard error.

What is personal or secret never gets in: keys that carry credentials or speech are struck out by
name, whoever logs them, and request lines carry no query string.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from octavia_stream.config import Settings

SECRET_KEYS = frozenset(
    {
        "authorization",
        "password",
        "token",
        "access_token",
        "refresh_token",
        "api_key",
        "ticket",
        "secret",
        "secret_key",
        "cookie",
    }
)
SPEECH_KEYS = frozenset({"text", "source_text", "transcript", "translation", "hypothesis"})
QUIET_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "asyncio", "websockets")
"""Talkative at INFO, and uvicorn's lines hold the query string with its one-time ticket."""


def strike_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace values of keys that name a credential or somebody's speech."""
    for key in event.keys() & (SECRET_KEYS | SPEECH_KEYS):
        event[key] = "[struck out]"
    return event


def configure_logs(settings: Settings, level: int = logging.INFO) -> None:
    """Set up structlog, and the standard library's loggers through it, for this process.

    Call it once, from an entry point. `log_format` picks lines for people or one JSON object a line.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        strike_out,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(settings.log_format))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _rendering(log_format: str) -> list[Processor]:
    """The last steps: drop what structlog carried along, render the traceback, render the line."""
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "json":
        # The default traceback transformer of `dict_tracebacks` adds local variables: those may hold speech.
        traceback = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        return [meta, traceback, structlog.processors.JSONRenderer()]
    return [
        meta,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
    ]
