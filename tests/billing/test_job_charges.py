"""Quotes and limits, without a database."""

import msgspec
import pytest

from octavia_stream.billing.job_charges import JobCharges, Quote
from octavia_stream.billing.prices import read_prices
from octavia_stream.config import BillingSettings, MediaSettings
from octavia_stream.media.info import MediaInfo

LONGEST_S = 14_400


def lasting(seconds: float) -> MediaInfo:
    return MediaInfo(("wav",), None, seconds, 0.0, 3, None, (), ())


def charges(*, enabled: bool = True) -> JobCharges:
    return JobCharges(read_prices(), BillingSettings(enabled=enabled), LONGEST_S)


def test_a_quote_goes_by_what_the_probe_found() -> None:
    found = msgspec.to_builtins(lasting(90.0))
    assert charges().quote("video-translate", found) == Quote(90.0, 15, exact=True)
    assert charges(enabled=False).quote("video-translate", found) == Quote(90.0, 0, exact=True)


@pytest.mark.parametrize("found", [None, msgspec.to_builtins(lasting(0.0))])
def test_of_unknown_length_is_as_long_as_may_be(found: dict[str, object] | None) -> None:
    assert charges().quote("video-translate", found) == Quote(LONGEST_S, 2400, exact=False)


@pytest.mark.parametrize(
    ("seconds", "enabled", "longest_s"),
    [
        (60.0, True, 125),
        (60.5, True, 126),
        (10_000.0, True, LONGEST_S),  # never beyond what the server takes
        (0.0, True, LONGEST_S),  # held for all of it
        (60.0, False, LONGEST_S),
    ],
)
def test_much_more_sound_than_was_quoted_is_not_decoded(seconds: float, enabled: bool, longest_s: int) -> None:
    settings = MediaSettings(max_duration_s=LONGEST_S)
    limited = charges(enabled=enabled).limits(settings, lasting(seconds))
    assert limited == settings.model_copy(update={"max_duration_s": longest_s})
