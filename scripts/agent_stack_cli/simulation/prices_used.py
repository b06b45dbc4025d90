"""What an hour of a VM costs in a simulation: the operator's word, the dated list, or a model's guess."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from agent_stack_cli.errors import CliError
from agent_stack_cli.prices import DATE, REGIONS, usd

GB = 1024
PRICES_OF = REGIONS[1]


@dataclass(slots=True, kw_only=True)
class PricesUsed:
    """Prices, and which of them were used.

    Attributes:
        own: USD an hour by instance type, as the operator gave them.
    """

    own: Mapping[str, float] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    guessed: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)

    def of(self, vm: Mapping[str, Any]) -> float:
        """USD an hour of that VM. The model's price of a spot VM is a share of its on-demand price."""
        kind, spot = str(vm["type"]), vm["capacity_type"] == "spot"
        if kind in self.own and not spot:
            self.used.add(kind)
            return self.own[kind]
        listed = usd(PRICES_OF).get(f"{kind}_hour")
        if listed is not None and not spot:
            self.listed.add(kind)
            return listed
        self.guessed.add(f"{kind} spot" if spot else kind)
        return float(vm["model_usd_an_hour"])

    def functions(self, seconds: float, memory_mib: float) -> float:
        """USD for so many billed seconds of a function."""
        return seconds * memory_mib / GB * usd(PRICES_OF)["lambda_arm_gb_second"]

    def said(self) -> list[tuple[str, str]]:
        """Each source with what was taken from it."""
        rows = [("given", f"{kind} {self.own[kind]:g} USD an hour") for kind in sorted(self.used)]
        if self.listed:
            rows.append((f"list prices of {DATE}", f"{', '.join(sorted(self.listed))} in {PRICES_OF}"))
        if self.guessed:
            own = any(" " not in kind for kind in self.guessed)
            remedy = "; give yours with --price TYPE=USD" if own else ""
            rows.append(("guess", f"{', '.join(sorted(self.guessed))}, by a model{remedy}"))
        return rows


def unused(prices: Sequence[PricesUsed]) -> list[str]:
    """The given prices that no VM of any set had, each with why."""
    used = {kind for one in prices for kind in one.used}
    launched = sorted({kind for one in prices for kind in (*one.used, *one.listed, *one.guessed)})
    return [
        f"--price {kind}={price:g}: it is used for no VM; what ran is {', '.join(launched) or 'nothing'}, and "
        "--price is of on-demand types"
        for kind, price in sorted(prices[0].own.items())
        if kind not in used
    ]


def prices(given: Iterable[str]) -> PricesUsed:
    """Prices as TYPE=USD.

    Raises:
        CliError: one is not written so.
    """
    own: dict[str, float] = {}
    for text in given:
        name, _, price = text.partition("=")
        try:
            value = float(price)
        except ValueError:
            value = float("nan")
        if not name or not isfinite(value) or value < 0:
            raise CliError(f"{text!r} is no price", next="write it as --price m7i.large=0.12")
        own[name] = value
    return PricesUsed(own=own)
