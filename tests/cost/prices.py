"""Public list prices of one region, as dated inputs, and what is assumed where nothing can be counted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("prices.json")
REGIONS = ("us-east-1", "eu-central-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Of one region, in USD.

    Attributes:
        unconfirmed: prices that no second page repeated.
        reasons: of the assumptions, by name.
        pages: where each price is published.
    """

    region: str
    date: str
    usd: Mapping[str, float]
    assumed: Mapping[str, float]
    reasons: Mapping[str, str]
    pages: Mapping[str, str]
    unconfirmed: Sequence[str]


def prices_of(region: str) -> Prices:
    """The prices of a region that the file has."""
    stored = json.loads(_FILE.read_text())
    prices = stored["prices"]
    return Prices(
        region=region,
        date=stored["date"],
        usd={name: price[region] for name, price in prices.items()},
        assumed={name: assumption["value"] for name, assumption in stored["assumptions"].items()},
        reasons={name: assumption["why"] for name, assumption in stored["assumptions"].items()},
        pages={name: price["page"] for name, price in prices.items()},
        unconfirmed=tuple(name for name, price in prices.items() if region not in price["seen"]),
    )
