"""Which class a standby VM's miss is counted for, and what is said of VMs that ended young."""

from dataclasses import replace

import pytest

from agent_stack.dispatcher.standby_troubles import BY_ITSELF
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.standby_trouble import UNPREPARED
from agent_stack.domain.states import CapacityType, VmState
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.parts import SMALL
from tests.unit.dispatcher.standing_by import HOUR, SECOND, StandingBy, hot
from tests.unit.values import a_run, a_vm

LOST = Failure(kind=FailureKind.TIMEOUT, words="silent")


def test_a_miss_counts_for_the_class_of_the_vm_although_the_job_wants_on_demand_from_now_on() -> None:
    """It was the job's second spot VM that was lost."""
    dispatcher = StandingBy(hot(1))
    dispatcher.clock.sleep(SECOND)
    taken = a_run(9, class_name=SMALL).bound(replace(a_vm(9), hold=HOUR), now=EPOCH)
    lost = taken.requeued(LOST, now=dispatcher.clock.now(), class_name=on_demand_name(SMALL))
    dispatcher.replenish(dispatcher.cycle(active=(lost,)))
    assert {name: one.misses for name, one in dispatcher.store.launching.standby.items()} == {SMALL: 1}


@pytest.mark.parametrize("bought", CapacityType)
def test_of_spot_vms_it_is_said_that_ec2_may_have_taken_them_back(bought: CapacityType) -> None:
    """Such a VM powers itself off at the notice, and EC2's reason is the same."""
    dispatcher = StandingBy(hot(UNPREPARED))
    dispatcher.put(*range(UNPREPARED), age=SECOND, capacity_type=bought)
    dispatcher.fleet.shows = [replace(vm, state=VmState.TERMINATED, reason=BY_ITSELF) for vm in dispatcher.fleet.shows]
    dispatcher.replenish(dispatcher.cycle())
    reason = dispatcher.store.launching.standby[SMALL].reason
    assert "before it was prepared" in reason
    assert ("or because EC2 takes it back" in reason) == (bought is CapacityType.SPOT)
