"""Which class a standby VM's miss is counted for."""

from dataclasses import replace

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.classes import on_demand_name
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
