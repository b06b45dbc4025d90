"""How many VMs may be asked for: what EC2 shows, what it hides, what is coming, and how fast they came."""

from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.budgets import Level
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, RetryError, WaitError
from agent_stack.domain.measures import Metric
from agent_stack.domain.runs import Run
from agent_stack.domain.states import VmState
from agent_stack.domain.vms import Vm
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, ByHand, ScriptedFleet, a_capacity, a_vm_count, an_intent
from tests.unit.values import a_policy, a_run, a_vm

NOW = EPOCH + timedelta(minutes=10)
MAXIMUM = 10


class Places:
    """A deployment with room for ten VMs, ten minutes after the first was launched."""

    def __init__(self, *shows: Vm, look: AgentStackError | None = None, **policy: Any) -> None:  # noqa: ANN401  (a policy's own fields)
        rules = a_policy(**{"max_instances": MAXIMUM, **policy})
        self.telemetry = RecordedTelemetry()
        fleet, ledger, self.workers = ScriptedFleet(shows=shows, look=look), MemoryLedger(store=Store()), ByHand()
        self.in_flight = InFlightLaunches(
            fleet=fleet,
            ledger=ledger,
            workers=ByHand(),
            clock=VirtualClock(),
            telemetry=self.telemetry,
        )
        self.ledger, self.fleet = ledger, fleet
        count = a_vm_count(rules, ledger, self.in_flight)
        prefetch = VmPrefetch(fleet=fleet, workers=self.workers, capacity=a_capacity(), count=count, policy=rules)
        self.room = LaunchRoom(in_flight=self.in_flight, prefetch=prefetch, policy=rules, telemetry=self.telemetry)

    def left(self, memory: LaunchMemory | None = None, **found: Any) -> int:  # noqa: ANN401  (the cycle's own fields)
        return self.room(DispatcherCycle(now=NOW, fence=1, **found), memory or LaunchMemory())


def bound(number: int, **vm: object) -> Run:
    return a_run(number).bound(a_vm(number, **vm), now=EPOCH)


@pytest.mark.parametrize(
    ("state", "taken"),
    [(VmState.PENDING, 1), (VmState.RUNNING, 1), (VmState.SHUTTING_DOWN, 0), (VmState.STOPPED, 0)],
)
def test_a_vm_takes_a_place_while_ec2_shows_it_up_whether_a_run_has_it_or_not(state: VmState, taken: int) -> None:
    assert Places(a_vm(1, state=state)).left() == MAXIMUM - taken
    assert Places(a_vm(1, state=state)).left(active=(bound(1),)) == MAXIMUM - taken


def test_a_vm_of_a_run_that_ec2_does_not_show_yet_takes_a_place() -> None:
    assert Places(a_vm(1)).left(active=(bound(1), bound(2))) == MAXIMUM - 2


def test_an_idle_vm_that_ec2_does_not_show_yet_takes_a_place() -> None:
    assert Places(a_vm(1)).left(idle_vms={SMALL: (a_vm(1), a_vm(2))}) == MAXIMUM - 2


def test_launches_without_an_answer_take_places_for_all_their_vms() -> None:
    places = Places()
    for number, count in enumerate((2, 3)):
        places.in_flight.begin(an_intent(number, count=count))
    assert places.left(unconfirmed=4) == MAXIMUM - 9


@pytest.mark.parametrize("error", [RetryError("throttled"), WaitError("not permitted")])
def test_while_ec2_does_not_say_what_is_up_there_is_no_room(error: AgentStackError) -> None:
    places = Places(look=error)
    assert places.left() == 0
    assert Metric.ERRORS not in places.telemetry.counts, "one failure is no error"
    places.left()
    assert places.telemetry.messages("INFO") == ["vms_unknown"]
    assert places.telemetry.counts[Metric.ERRORS] == 1, "the alarm rings while it lasts"


def test_what_was_asked_for_within_a_minute_counts_though_it_is_gone_again() -> None:
    memory = LaunchMemory(
        asked=((NOW - timedelta(seconds=61), 100), (NOW - timedelta(seconds=59), 3), (NOW - timedelta(seconds=1), 1))
    )
    assert Places(max_launches_per_minute=5).left(memory) == 1


def test_a_dispatcher_without_lessons_counts_the_fresh_and_the_idle_vms_as_launched_within_the_minute() -> None:
    """Its lessons may be lost, and other processes may have launched: the VMs themselves prove a rate."""
    places = Places(max_launches_per_minute=5)
    fresh, old = bound(1, launched_at=NOW - timedelta(seconds=59)), bound(2, launched_at=NOW - timedelta(seconds=60))
    assert places.left(active=(fresh, old, a_run(3))) == 4
    assert places.left(active=(fresh, old), idle_vms={SMALL: (a_vm(4), a_vm(5))}) == 2
    assert places.left(active=(fresh, old), idle_vms={SMALL: (a_vm(4), a_vm(5))}, unconfirmed=1) == 1


def test_vms_that_the_lessons_and_the_records_both_show_are_counted_once() -> None:
    memory = LaunchMemory(asked=((NOW, 2),))
    places = Places(max_launches_per_minute=5)
    assert places.left(memory, idle_vms={SMALL: (a_vm(1), a_vm(2))}) == 3


def test_no_more_are_asked_for_than_ec2_grants() -> None:
    memory = LaunchMemory(instances=Level(tokens=1.9, at=NOW))
    assert Places().left(memory) == 1


def test_more_vms_than_the_maximum_leave_no_room() -> None:
    assert Places(*(a_vm(number) for number in range(MAXIMUM + 2))).left() < 1


def test_standby_vms_count_also_where_they_are_closed_or_not_shown_yet() -> None:
    listed = frozenset({a_vm(1).instance_id, a_vm(2).instance_id})
    assert Places(a_vm(1)).left(standby_ids=listed) == MAXIMUM - 2
    assert Places().left(standby_ids=None) == 0, "nobody knows what is up"
