"""Which idle VMs are ended, because jobs of other classes need the room that they take."""

from datetime import timedelta
from typing import Any

from agent_stack.dispatcher.class_room import Left
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.standby import Closing
from agent_stack.domain.states import VmState
from agent_stack.domain.vms import Vm
from tests.simulator.clock import EPOCH
from tests.simulator.memory.store import Box
from tests.unit.dispatcher.parts import LARGE, SMALL, SilentInstanceTypes, a_book, a_class
from tests.unit.dispatcher.standing_by import HOUR, SECOND, StandingBy, hot
from tests.unit.values import a_letter, a_run, a_vm


def full(count: int = 4, **policy: Any) -> StandingBy:  # noqa: ANN401  (a policy's own fields)
    """As many idle VMs as may be up."""
    dispatcher = StandingBy(hot(count), **{"max_instances": count, **policy})
    for number in range(1, count + 1):
        dispatcher.put(number, age=number * HOUR / 2)
    return dispatcher


def closed(dispatcher: StandingBy) -> list[str]:
    return sorted(dispatcher.reasons())


def ids(*numbers: int) -> list[str]:
    return [a_vm(number).instance_id for number in numbers]


def test_as_many_are_ended_as_places_are_missing_the_youngest_first() -> None:
    dispatcher = full()
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 2}))
    assert closed(dispatcher) == ids(1, 2)
    assert set(dispatcher.reasons().values()) == {Closing.PREEMPTED}


def test_while_what_was_ended_leaves_nothing_more_is_ended() -> None:
    dispatcher = full()
    for _ in range(3):
        dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
        dispatcher.clock.sleep(SECOND)
    assert closed(dispatcher) == ids(1)


def test_without_a_job_that_lacks_room_nothing_is_ended() -> None:
    dispatcher = full()
    dispatcher.preempt(dispatcher.cycle())
    roomy = full(max_instances=5)
    roomy.preempt(roomy.cycle(unmet={LARGE: 1}))
    assert [closed(dispatcher), closed(roomy)] == [[], []]
    assert roomy.store.launching.preempting == (), "its launch deadline goes on"


def test_vms_that_are_not_ready_go_before_ready_ones_and_other_classes_before_the_job_s_own() -> None:
    dispatcher = full(3)
    dispatcher.put(9, age=SECOND, name=LARGE)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 2}))
    assert closed(dispatcher) == ids(1, 2), "one of its own class is worth more, although it boots"
    other = full(3)
    other.put(9, age=SECOND)
    other.preempt(other.cycle(unmet={LARGE: 2}))
    assert closed(other) == ids(1, 9)


def test_a_vm_that_is_not_ready_goes_first_although_it_is_older() -> None:
    """Its class needs longer to boot."""
    third = ClassName("third")
    dispatcher = full(3)
    dispatcher.book = a_book(hot(3), a_class(LARGE, boot_timeout=9 * HOUR), a_class(third))
    dispatcher.put(9, age=8 * HOUR, name=LARGE, hold=20 * HOUR)
    dispatcher.preempt(dispatcher.cycle(unmet={third: 2}))
    assert closed(dispatcher) == ids(1, 9)


def test_a_vm_that_got_a_job_meanwhile_is_not_ended() -> None:
    dispatcher = full(2)
    cycle = dispatcher.cycle(unmet={LARGE: 1})
    dispatcher.store.put_box(a_vm(1).arn, Box(assignment=a_letter(a_run(1), a_vm(1)), credential="taken"))
    dispatcher.preempt(cycle)
    assert closed(dispatcher) == []
    dispatcher.clock.sleep(SECOND)
    dispatcher.preempt(dispatcher.cycle(look=False, unmet={LARGE: 1}))
    assert closed(dispatcher) == ids(2), "the next one is"


def test_for_a_class_that_ec2_refuses_nothing_is_ended() -> None:
    """The end of a VM would help no job."""
    breaker = Breaker(until=EPOCH + HOUR, since=EPOCH, failures=3, message="InvalidAMIID: gone")
    dispatcher = full()
    dispatcher.store.launching = LaunchMemory(breakers={LARGE: breaker})
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    assert closed(dispatcher) == []


def test_with_launches_off_nothing_is_preempted() -> None:
    dispatcher = full(launch_enabled=False)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    assert closed(dispatcher) == []


def test_max_vcpus_that_idle_vms_fill_makes_room_by_size() -> None:
    dispatcher = full(9, max_instances=100, max_vcpus=18)
    waits = (a_run(1, class_name=LARGE),)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}, active=waits))
    assert closed(dispatcher) == ids(1, 2, 3, 4, 5, 6, 7, 8), "sixteen vCPUs are missing, and each VM has two"


def test_until_ec2_has_said_the_size_of_a_vm_max_vcpus_leaves_no_room() -> None:
    dispatcher = full(1, max_vcpus=100)
    room = dispatcher.preempt.vcpu_room
    assert room(dispatcher.cycle()) == Left(left=98, standby=2, up=2)
    room.vcpus.instance_types = SilentInstanceTypes()
    unknown = room(dispatcher.cycle(active=(a_run(1, class_name=LARGE),)))
    assert unknown == Left(left=0, standby=0, known=False)


def test_a_type_that_ec2_does_not_know_takes_no_room_from_others() -> None:
    """A class may name it by mistake, and a run of that class may be there already."""
    dispatcher = full(1, max_vcpus=100)
    dispatcher.book = a_book(hot(1), a_class(LARGE, instance_types=("x99.large",)))
    room = dispatcher.preempt.vcpu_room(dispatcher.cycle(active=(a_run(1, class_name=LARGE),)))
    assert room == Left(left=98, standby=2, up=2)


def test_the_launch_deadline_stands_still_while_room_is_made() -> None:
    dispatcher = full()
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    begin = dispatcher.clock.now()
    dispatcher.clock.sleep(5 * SECOND)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    assert dispatcher.store.launching.preempting == ((begin, begin + timedelta(seconds=5)),)


def test_vms_that_ec2_does_not_show_up_any_more_are_no_room() -> None:
    dispatcher = full(2)
    shown: list[Vm] = list(dispatcher.fleet.shows)
    dispatcher.fleet.shows = [shown[0], a_vm(7, state=VmState.RUNNING)]
    dispatcher.preempt(dispatcher.cycle(unmet={SMALL: 1}))
    assert closed(dispatcher) == ids(1)


def test_for_a_job_whose_vm_never_fits_into_max_vcpus_nothing_is_ended_and_no_deadline_stands_still() -> None:
    """It was reserved before its class named a larger type; no end makes room for it."""
    dispatcher = StandingBy(hot(2), max_vcpus=8)
    dispatcher.put(1, 2)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}, active=(a_run(1, class_name=LARGE),)))
    assert dispatcher.reasons() == {}
    assert dispatcher.store.launching.preempting == ()
