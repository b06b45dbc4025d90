"""What a lease's item says of pauses, whatever another hand wrote into it."""

from decimal import Decimal
from typing import Any

import pytest

from agent_stack.adapters.dynamodb.lease import read_pauses
from agent_stack.domain.identifiers import QueueKey


@pytest.mark.parametrize(
    "details",
    [None, "yes", Decimal(1), {}, {"at": "now"}, {"at": Decimal("1E+30")}, {"at": Decimal("NaN")}, {"by": Decimal(7)}],
    ids=str,
)
def test_a_pause_whose_details_cannot_be_read_still_pauses(details: Any) -> None:  # noqa: ANN401  (anything)
    assert read_pauses({"paused#default": details}).of(QueueKey("default")) is not None


@pytest.mark.parametrize("at", ["now", Decimal("1E+30"), Decimal("NaN"), True], ids=str)
def test_a_resumption_that_cannot_be_read_is_left_out(at: Any) -> None:  # noqa: ANN401  (anything)
    assert read_pauses({"resumed#default": at}).resumed_at(QueueKey("default")) is None
