"""The look at the VMs beside a cycle: begun only when it pays, asked for once, and never waited for too long."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vm_prefetch import ANSWER_TIMEOUT, VmPrefetch
from agent_stack.domain.budgets import Pause
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import RetryError
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.parts import ByHand, ScriptedFleet, a_capacity, a_vm_count
from tests.unit.values import a_policy, a_vm

CYCLE = DispatcherCycle(now=EPOCH, fence=1)


class Window:
    """An EC2 that shows one VM."""

    def __init__(self, memory: LaunchMemory | None = None, look: RetryError | None = None, **policy: Any) -> None:  # noqa: ANN401  (a policy's own fields)
        self.fleet, self.workers = ScriptedFleet(shows=(a_vm(),), look=look), ByHand()
        self.prefetch = VmPrefetch(
            fleet=self.fleet,
            workers=self.workers,
            capacity=a_capacity(memory),
            count=a_vm_count(a_policy(**policy)),
            policy=a_policy(**policy),
        )


def test_a_cycle_that_will_launch_looks_beside_its_first_steps_and_asks_once() -> None:
    window = Window()
    cycle = window.prefetch.start(CYCLE, 1)
    assert window.fleet.journal == []
    window.workers.perform()
    assert list(window.prefetch.result(cycle)) == [a_vm()]
    assert window.fleet.journal == ["describe"]


def test_a_cycle_looks_once_however_many_steps_begin_it() -> None:
    window = Window()
    cycle = window.prefetch.start(window.prefetch.start(CYCLE, 1), 5)
    assert len(window.workers.submitted) == 1
    assert cycle.vm_listing is window.workers.submitted[0]


@pytest.mark.parametrize(
    ("vms", "policy", "memory"),
    [
        (0, {}, None),
        (1, {"launch_enabled": False}, None),
        (1, {"observe_only": True}, None),
        (1, {}, LaunchMemory(pause=Pause(until=EPOCH + ANSWER_TIMEOUT, throttles=1))),
    ],
)
def test_a_cycle_that_will_not_launch_does_not_look(
    vms: int, policy: dict[str, Any], memory: LaunchMemory | None
) -> None:
    window = Window(memory, **policy)
    assert window.prefetch.start(CYCLE, vms) is CYCLE
    assert window.workers.submitted == []


def test_a_cycle_that_did_not_begin_to_look_looks_when_it_needs_to_know() -> None:
    window = Window()
    assert list(window.prefetch.result(CYCLE)) == [a_vm()]
    assert window.workers.submitted == []


def test_a_look_that_takes_too_long_is_not_waited_for_nor_asked_again() -> None:
    window = Window()
    cycle = window.prefetch.start(CYCLE, 1)
    with pytest.raises(RetryError, match="within 5 s"):
        window.prefetch.result(cycle)
    assert window.workers.waited == [ANSWER_TIMEOUT] == [timedelta(seconds=5)]
    assert window.fleet.journal == []


def test_a_look_that_failed_fails_where_its_answer_is_needed() -> None:
    window = Window(look=RetryError("throttled"))
    cycle = window.prefetch.start(CYCLE, 1)
    window.workers.perform()
    with pytest.raises(RetryError, match="throttled"):
        window.prefetch.result(cycle)


def test_what_one_cycle_saw_is_not_what_the_next_one_sees() -> None:
    window = Window()
    cycle = window.prefetch.start(CYCLE, 1)
    window.workers.perform()
    window.fleet.shows = ()
    assert list(window.prefetch.result(replace(cycle, vm_listing=None))) == []
