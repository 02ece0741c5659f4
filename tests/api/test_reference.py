"""The page about the wire leaves nothing out."""

from pathlib import Path
from typing import get_args

from api import errors as api_errors
from octavia_stream.events.event import JobEvent

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text()


def test_every_kind_of_event_is_on_the_page() -> None:
    tags = {str(event.__struct_config__.tag) for event in get_args(JobEvent)}
    assert {tag for tag in tags if f"`{tag}`" not in PAGE} == set()


def test_every_code_of_an_error_is_on_the_page() -> None:
    # Only between workers: no request meets it.
    codes = {error.code for error in api_errors.STATUS} - {"lease_lost"}
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_every_close_code_is_on_the_page() -> None:
    codes = {*api_errors.CLOSE_CODE.values(), api_errors.CLOSE_RESTARTING}
    assert {code for code in codes if f"| {code} |" not in PAGE} == set()
