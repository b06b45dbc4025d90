"""The law of a VM's steps finds what is out of order."""

import pytest

from tests.vm.order import AGENT, BOOT, LIFETIME, POWER_OFF, READ, assert_in_order

IN_ORDER = (
    LIFETIME,
    BOOT,
    READ,
    "dynamodb:UpdateItem booting",
    "dynamodb:UpdateItem credential_taken",
    AGENT,
    "dynamodb:UpdateItem agent_started",
    "dynamodb:UpdateItem agent_exited",
    POWER_OFF,
)


def test_the_main_path_is_in_order() -> None:
    assert_in_order(IN_ORDER)


@pytest.mark.parametrize("first", range(len(IN_ORDER) - 1))
def test_no_two_neighbours_may_change_places(first: int) -> None:
    steps = [*IN_ORDER]
    steps[first : first + 2] = reversed(steps[first : first + 2])
    if steps[-2:] == [POWER_OFF, "dynamodb:UpdateItem agent_exited"]:
        assert_in_order(steps)  # a lifetime that is over is followed by the agent's end
        return
    with pytest.raises(AssertionError):
        assert_in_order(steps)


def test_a_second_agent_is_found() -> None:
    with pytest.raises(AssertionError, match="at most one agent"):
        assert_in_order([*IN_ORDER[:6], AGENT, *IN_ORDER[6:]])
