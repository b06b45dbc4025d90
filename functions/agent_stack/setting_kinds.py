"""Kinds of settings: how the text of a variable becomes a value, and what of it is refused in which words."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

MIN_SPOT_PRICE = Decimal("0.001")  # USD an hour; source: EC2's API reference, MaxPrice of a launch template override

COST_TAG_PATTERN = r"^[A-Za-z0-9_.:/@+-]{1,128}=[A-Za-z0-9_.:/@+-]{0,256}$"
MAX_COST_TAGS = 40  # EC2 allows 50 on one resource, and the stack's own are among them


def _split(value: Any) -> Any:  # noqa: ANN401  (whatever the environment holds; pydantic judges it)
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _above_minimum(price: Decimal) -> Decimal:
    if price <= MIN_SPOT_PRICE:
        raise ValueError(
            f"EC2 accepts a spot price above {MIN_SPOT_PRICE} USD an hour only; "
            "set a higher price, or nothing for the on-demand price"
        )
    return price


def _not_reserved(pair: str) -> str:
    # AWS reserves its prefix however it is written; the other two are keys like any other.
    if pair.lower().startswith("aws:") or pair.startswith(("agent-stack:", "Name=")):
        raise ValueError(f"{pair.partition('=')[0]} is AWS's or this stack's own key; choose another one")
    return pair


def _as_tags(pairs: tuple[str, ...]) -> tuple[str, ...]:
    keys = [pair.partition("=")[0] for pair in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {twice[0]} is given twice; a tag has one value")
    if len(pairs) > MAX_COST_TAGS:
        raise ValueError(f"there are {len(pairs)} tags; EC2 leaves room for {MAX_COST_TAGS}")
    return pairs


class MisfitError(ValueError):
    """Settings that are right one by one, and wrong together."""

    def __init__(self, problem: str, *variables: str) -> None:
        super().__init__(problem)
        self.variables = variables


def _duration(unit: str) -> Callable[[Any], timedelta]:
    def read(value: Any) -> timedelta:  # noqa: ANN401  (see above)
        try:
            return timedelta(**{unit: float(value)})
        except OverflowError:
            raise ValueError(f"no duration has so many {unit}; set a smaller number") from None

    return read


Minutes = Annotated[timedelta, BeforeValidator(_duration("minutes"))]
Seconds = Annotated[timedelta, BeforeValidator(_duration("seconds"))]
Commas = BeforeValidator(_split)

SpotPrice = Annotated[Decimal, AfterValidator(_above_minimum)]
CostTags = Annotated[
    tuple[Annotated[str, Field(pattern=COST_TAG_PATTERN), AfterValidator(_not_reserved)], ...],
    Commas,
    AfterValidator(_as_tags),
]
