"""What gets into logs, and what must not."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from octavia_stream.config import Settings
from octavia_stream.logs import configure_logs


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def one_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().err.splitlines()
    event: dict[str, Any] = json.loads(line)
    return event


def test_a_line_is_one_json_object_with_the_bound_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("room").info("happened", count=3)
    event = one_line(capsys)
    assert event.items() >= {"event": "happened", "count": 3, "request_id": "r1", "level": "info"}.items()
    assert event["timestamp"].endswith("Z")


def test_credentials_and_speech_are_struck_out_whoever_logs_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    logging.getLogger("library").warning("plain", extra={"token": "s3cret"})
    structlog.get_logger("room").info("said", text="my speech", password="s3cret", authorization="Bearer s3cret")
    written = capsys.readouterr().err
    assert "s3cret" not in written
    assert "my speech" not in written
    assert "said" in written


def test_a_traceback_holds_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="json"))
    try:
        transcript = "what was said"
        raise ValueError(len(transcript))
    except ValueError:
        structlog.get_logger("room").exception("failed")
    event = one_line(capsys)
    assert event["exception"][0]["exc_type"] == "ValueError"
    assert "what was said" not in json.dumps(event["exception"])


def test_lines_for_people_are_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="console"))
    structlog.get_logger("room").info("happened", count=3)
    written = capsys.readouterr().err
    assert "happened" in written
    assert "count=3" in written


def test_the_server_does_not_log_request_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format="console"))
    logging.getLogger("uvicorn.error").info('"WebSocket /x?ticket=abc" [accepted]')
    logging.getLogger("uvicorn.access").info('"GET /x?ticket=abc"')
    assert capsys.readouterr().err == ""
