"""Which of a class's spot VMs are bought on-demand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.purchase_mix import PurchaseMix
from agent_stack.domain.states import CapacityType

ON_DEMAND, SPOT = CapacityType.ON_DEMAND, CapacityType.SPOT


@pytest.mark.parametrize(
    ("mix", "wanted", "on_demand", "spot", "due"),
    [
        (PurchaseMix(base=2), 5, 0, 0, 2),
        (PurchaseMix(base=2), 5, 2, 0, 0),
        (PurchaseMix(base=2), 1, 0, 9, 1),  # the base comes first, also where spot is up already
        (PurchaseMix(percent=25), 8, 0, 0, 2),
        (PurchaseMix(percent=25), 1, 0, 0, 1),  # rounded up
        (PurchaseMix(percent=25), 1, 1, 2, 0),
        (PurchaseMix(base=2, percent=25), 10, 0, 0, 4),
        (PurchaseMix(base=2, percent=25), 1, 9, 0, 0),
        (PurchaseMix(), 3, 0, 0, 0),
    ],
)
def test_the_base_comes_first_and_then_the_share(
    mix: PurchaseMix, wanted: int, on_demand: int, spot: int, due: int
) -> None:
    assert mix.on_demand_due(wanted, {ON_DEMAND: on_demand, SPOT: spot}) == due


@given(st.integers(0, 50), st.integers(0, 99), st.lists(st.integers(1, 40), max_size=8))
def test_whatever_the_requests_are_the_mix_is_that_of_one_request(base: int, percent: int, requests: list[int]) -> None:
    mix = PurchaseMix(base=base, percent=percent)
    up = {ON_DEMAND: 0, SPOT: 0}
    for wanted in requests:
        due = mix.on_demand_due(wanted, up)
        assert 0 <= due <= wanted
        up = {ON_DEMAND: up[ON_DEMAND] + due, SPOT: up[SPOT] + wanted - due}
    assert up[ON_DEMAND] == mix.on_demand_due(sum(requests), {})
