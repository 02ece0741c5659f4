"""Prices: credits for a minute of each kind of job, and the packages credits are sold in."""

import math
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec

from octavia_stream.errors import InvalidRequest

Credits = Annotated[int, msgspec.Meta(ge=1)]
MS_PER_MINUTE = 60_000


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credits that are sold together."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]+$")]
    name: str
    credits: Credits
    price_cents: Annotated[int, msgspec.Meta(ge=1)]
    """In hundredths of the currency."""
    polar_product_id: str | None = None
    """The product at Polar that is this package; without one it is shown and cannot be bought here."""


class PricingTiers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All prices of a server, read from a file like `pricing.toml`."""

    currency: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
    """ISO 4217, in small letters, as Polar writes it."""
    credits_per_minute: dict[str, Annotated[int, msgspec.Meta(ge=0)]]
    """By kind of job; 0 is free."""
    package: tuple[Package, ...] = ()

    def quote(self, kind: str, seconds: float) -> int:
        """What a job on `seconds` of sound costs: by the millisecond, rounded up to whole credits.

        Raises InvalidRequest for a kind without a price and a length that is none.
        """
        rate = self.credits_per_minute.get(kind)
        if rate is None:
            raise InvalidRequest(f"There is no price for {kind}.")
        if not math.isfinite(seconds) or seconds < 0:
            raise InvalidRequest("A length is a number of seconds from 0.")
        # Whole numbers from here: 0.1 of a credit, ten times, is one credit.
        return -(-round(seconds * 1000) * rate // MS_PER_MINUTE)

    def quote_parts(self, kind: str, parts: Iterable[tuple[float, float]]) -> int:
        """What it costs to make these parts of a job again, such as sentences that were edited.

        parts: (start, end) in seconds, in any order. What several of them share is made once and charged once, so it
        is never more than the whole costs. Raises InvalidRequest as `quote`, and for a part that ends before it starts.
        """
        seconds = until = 0.0
        for start, end in sorted(parts):
            if not start <= end:
                raise InvalidRequest("A part of a job ends after it starts.")
            seconds += max(0.0, end - max(start, until))
            until = max(until, end)
        return self.quote(kind, seconds)

    def package_of_product(self, product_id: str) -> Package | None:
        """Which package a product at Polar is."""
        return next((one for one in self.package if one.polar_product_id == product_id), None)

    def package_of_id(self, package_id: str) -> Package | None:
        return next((one for one in self.package if one.id == package_id), None)


def read_prices(file: Path | None = None) -> PricingTiers:
    """The prices in `file`, or those of the package. Raises InvalidRequest with the mistake in it."""
    try:
        text = (
            file.read_text("utf-8")
            if file is not None
            else resources.files("octavia_stream.billing").joinpath("pricing.toml").read_text("utf-8")
        )
        tiers = msgspec.convert(tomllib.loads(text), PricingTiers)
    except OSError as error:
        raise InvalidRequest("The file of prices cannot be read.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidRequest(f"The file of prices cannot be used: {error}") from error
    _check_unique(tiers)
    return tiers


def _check_unique(tiers: PricingTiers) -> None:
    ids = [package.id for package in tiers.package]
    products = [package.polar_product_id for package in tiers.package if package.polar_product_id is not None]
    for names in (ids, products):
        if len(set(names)) < len(names):
            raise InvalidRequest("The file of prices names a package or a product twice.")
