"""How many VMs may start without another look at EC2: never one too many, whoever launched and whatever got lost."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.vm_count import LONGEST_LOOK, MAX_AGE, VmCount
from agent_stack.dispatcher.vm_prefetch import PAGE, VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import Launched, LaunchOrder, VmLook
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLease, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, AtOnce, ByHand, ScriptedFleet, WatchedLedger, a_capacity, a_class
from tests.unit.values import a_policy, a_vm

MAXIMUM = 10
SECOND = timedelta(seconds=1)


class Process:
    """One process of a deployment with room for ten VMs."""

    def __init__(self, store: Store, fleet: ScriptedFleet, *, by_hand: bool = False) -> None:
        self.store, self.fleet, self.fence = store, fleet, 0
        self.ledger, self.clock, telemetry = WatchedLedger(store=store), VirtualClock(), RecordedTelemetry()
        self.telemetry = telemetry
        self.looks = ByHand() if by_hand else AtOnce()
        rules = a_policy(max_instances=MAXIMUM, max_launches_per_minute=100)
        self.in_flight = InFlightLaunches(
            fleet=fleet, ledger=self.ledger, workers=ByHand(), clock=self.clock, telemetry=telemetry
        )
        self.count = VmCount(
            ledger=self.ledger,
            in_flight=self.in_flight,
            workers=AtOnce(),
            most=MAXIMUM,
            write_beside=lambda _, write: write(),
        )
        self.prefetch = VmPrefetch(
            fleet=fleet,
            workers=self.looks,
            capacity=a_capacity(),
            count=self.count,
            policy=rules,
            short=0 if by_hand else PAGE,
        )
        self.room = LaunchRoom(in_flight=self.in_flight, prefetch=self.prefetch, policy=rules, telemetry=telemetry)
        self.send = SendLaunch(fleet=fleet, ledger=self.ledger, in_flight=self.in_flight, telemetry=telemetry)

    def takes_the_lease(self) -> "Process":
        lease = MemoryLease(store=self.store, function="dispatcher")
        held = lease.acquire(f"{id(self)}", now=EPOCH + self.fence * SECOND, ttl=-SECOND)
        assert held is not None
        self.fence = held.fence
        return self

    def cycle(self, wanted: int, *, later: timedelta = timedelta(), **found: Any) -> tuple[int, bool]:  # noqa: ANN401  (the cycle's own fields)
        """The room of a cycle that wants so many VMs, and whether it asked EC2."""
        self.fleet.journal.clear()
        cycle = DispatcherCycle(now=EPOCH + later, fence=self.fence, **found)
        cycle = self.prefetch.start(cycle, wanted)
        left = self.room(cycle, LaunchMemory(), wanted)
        return left, "describe" in self.fleet.journal

    def asks_for(self, count: int) -> bool:
        number = self.store.launched.vms
        order = LaunchOrder(
            intent_id=IntentId(f"as-{number}-{count}"),
            vm_class=a_class(SMALL),
            count=count,
            capacity_type=CapacityType.ON_DEMAND,
            pools=(),
        )
        return self.send(order, DispatcherCycle(now=EPOCH, fence=self.fence), queues=())


def a_process(*shows: int, by_hand: bool = False) -> Process:
    """One that has the lease; EC2 shows the VMs of these numbers."""
    fleet = ScriptedFleet(shows=[a_vm(number) for number in shows])
    return Process(Store(), fleet, by_hand=by_hand).takes_the_lease()


def test_a_look_is_enough_for_all_launches_that_it_leaves_room_for() -> None:
    process = a_process(1, 2)
    assert process.cycle(3) == (8, True)
    process.asks_for(3)
    assert process.cycle(4) == (5, False)
    process.asks_for(4)
    assert process.cycle(1) == (1, False)


def test_a_cycle_that_does_not_look_at_the_vms_looks_at_the_subnets_and_waits_for_that() -> None:
    process = a_process(1, by_hand=True)
    process.store.launched = replace(an_old_look(process), look=VmLook(taken=1, launched=0, at=EPOCH))
    assert process.cycle(1) == (9, False)
    assert isinstance(process.looks, ByHand)
    assert len(process.looks.submitted) == len(process.looks.waited) == 1
    process.looks.perform()
    assert process.fleet.journal == ["look_at_subnets"]
    unhurried = a_process(1)
    unhurried.cycle(1)
    assert unhurried.fleet.journal == ["describe"], "which looks at the subnets, too"


def test_a_cycle_that_lacks_room_looks_again_because_vms_may_have_ended() -> None:
    process = a_process(1, 2, 3, 4, 5, 6)
    process.cycle(1)
    process.fleet.shows = ()
    assert process.cycle(4) == (4, False)
    assert process.cycle(5) == (10, True)


def test_the_next_process_goes_on_from_the_look_and_counts_what_others_launched_since() -> None:
    first = a_process(1, 2)
    first.cycle(1)
    first.asks_for(3)
    second = Process(first.store, first.fleet).takes_the_lease()
    assert second.cycle(5) == (5, False)
    second.asks_for(2)
    first.takes_the_lease()
    assert first.cycle(3) == (3, False)


def an_earlier_version_holds_the_lease(store: Store) -> None:
    """It adds nothing to the count of VMs."""
    store.leases["dispatcher"].fence += 1


def test_a_look_counts_for_nothing_once_a_version_that_does_not_count_has_held_the_lease() -> None:
    first = a_process(1, 2)
    first.cycle(1)
    an_earlier_version_holds_the_lease(first.store)
    first.fleet.shows = [a_vm(number) for number in range(7)]
    assert first.takes_the_lease().cycle(3) == (3, True), "its own look"
    an_earlier_version_holds_the_lease(first.store)
    second = Process(first.store, first.fleet).takes_the_lease()
    assert second.cycle(3) == (3, True), "the ledger's look"
    third = Process(first.store, first.fleet).takes_the_lease()
    assert third.cycle(3) == (3, False), "a look made since"


def test_a_late_list_counts_for_nothing_once_a_version_that_does_not_count_has_held_the_lease() -> None:
    process = a_process(1, by_hand=True)
    process.cycle(1)
    an_earlier_version_holds_the_lease(process.store)
    process.takes_the_lease()
    assert isinstance(process.looks, ByHand)
    process.looks.perform()
    assert process.cycle(1)[0] == 0
    process.fleet.shows = [a_vm(number) for number in range(7)]
    process.cycle(1)
    process.looks.perform()
    assert process.cycle(1)[0] == 3


def test_an_intent_counts_though_the_answer_to_its_write_is_lost() -> None:
    """It may be there, and whoever finds it sends its request."""
    process = a_process()
    process.cycle(1)
    process.ledger.fails["write_intent"] = [UnknownOutcomeError("lost")]
    assert not process.asks_for(4)
    assert process.cycle(6) == (6, False)


def test_an_intent_that_the_ledger_never_had_is_in_no_look_that_another_process_reads() -> None:
    """Else as many VMs of a later launch would seem to be in the look."""
    first = a_process()
    first.ledger.fails["write_intent"] = [RetryError("throttled")]
    first.cycle(1)
    assert not first.asks_for(4)
    assert first.cycle(MAXIMUM) == (MAXIMUM, True)
    assert first.asks_for(4)
    second = Process(first.store, first.fleet).takes_the_lease()
    assert second.cycle(6) == (6, False)


def test_a_late_list_counts_with_what_others_launched_since_though_an_intent_before_it_was_refused() -> None:
    process = a_process(1, by_hand=True)
    process.count.prepare(process.fence)
    process.ledger.fails["write_intent"] = [RetryError("throttled")]
    assert not process.asks_for(4)
    assert process.cycle(1)[0] == 0, "the list is under way"
    assert Process(process.store, process.fleet).takes_the_lease().asks_for(4)
    process.takes_the_lease()
    assert isinstance(process.looks, ByHand)
    process.looks.perform()
    assert process.cycle(1)[0] == MAXIMUM - 1 - 4


def test_after_an_intent_in_doubt_the_next_lease_reads_the_ledgers_count_again() -> None:
    """Under a new number it can no longer arrive, so that it counts for nothing if it is not there."""
    process = a_process(1)
    process.cycle(1)
    process.ledger.fails["write_intent"] = [UnknownOutcomeError("lost")]
    assert not process.asks_for(4)
    assert process.cycle(5) == (5, False)
    process.takes_the_lease()
    assert process.cycle(9) == (9, False)
    process.takes_the_lease()
    assert process.cycle(9) == (9, False)
    assert process.ledger.journal.count("launched") == 2


def test_what_is_coming_at_the_look_counts() -> None:
    process = a_process(1)
    assert process.cycle(1, unconfirmed=3) == (6, True)
    assert process.cycle(1) == (6, False)


def test_while_the_ledger_does_not_count_each_cycle_looks() -> None:
    process = a_process(1)
    process.ledger.fails["launched"] = [RetryError("throttled")] * 100
    assert [process.cycle(1) for _ in range(3)] == [(9, True)] * 3
    process.ledger.fails.clear()
    assert [process.cycle(1) for _ in range(2)] == [(9, True), (9, False)]


def test_the_ledgers_count_is_read_once_until_another_process_has_had_the_lease() -> None:
    process = a_process(1)
    for _ in range(3):
        process.cycle(1)
    process.takes_the_lease()
    process.cycle(1)
    assert process.ledger.journal.count("launched") == 1
    Process(process.store, process.fleet).takes_the_lease()
    process.takes_the_lease()
    process.cycle(1)
    assert process.ledger.journal.count("launched") == 2


@pytest.mark.parametrize(
    ("age", "looks"), [(MAX_AGE - SECOND, False), (MAX_AGE, True), (-SECOND, True), (MAX_AGE + LONGEST_LOOK, True)]
)
def test_an_old_look_is_made_again(age: timedelta, looks: bool) -> None:  # noqa: FBT001  (a parameter)
    process = a_process(1)
    process.cycle(1)
    assert process.cycle(1, later=age)[1] is looks


def test_nothing_is_known_while_standby_vms_are_not() -> None:
    process = a_process(1)
    process.cycle(1)
    assert process.cycle(1, standby_ids=None)[0] == 0


# --- a look that takes longer than a cycle ---


def an_old_look(process: Process) -> Launched:
    """One that is due to be made again; it showed one VM."""
    return replace(process.store.launched, look=VmLook(taken=1, launched=0, at=EPOCH - MAX_AGE))


def test_a_look_that_is_due_by_its_age_alone_keeps_no_cycle_waiting() -> None:
    process = a_process(1, by_hand=True)
    process.store.launched = an_old_look(process)
    assert process.cycle(1) == (9, False)
    assert process.cycle(1) == (9, False)
    assert isinstance(process.looks, ByHand)
    assert sum(one.task == process.fleet.describe for one in process.looks.submitted) == 1, "one look is under way"
    process.fleet.shows = [a_vm(number) for number in range(4)]
    process.looks.perform()
    assert process.cycle(1)[0] == 6


def test_a_list_that_comes_later_counts_with_all_that_was_asked_for_meanwhile() -> None:
    process = a_process(1, by_hand=True)
    process.store.launched = an_old_look(process)
    process.cycle(1)
    process.asks_for(2)
    assert isinstance(process.looks, ByHand)
    process.looks.perform()
    shown, coming, asked_meanwhile = 1, 2, 2  # the last two may be the same VMs
    assert process.cycle(1)[0] == MAXIMUM - shown - coming - asked_meanwhile


def test_without_any_look_there_is_no_room_until_the_list_is_complete_and_it_is_asked_for_once() -> None:
    process = a_process(1, by_hand=True)
    assert process.cycle(1)[0] == 0
    assert process.cycle(1)[0] == 0
    assert isinstance(process.looks, ByHand)
    assert sum(one.task == process.fleet.describe for one in process.looks.submitted) == 1
    process.looks.perform()
    assert process.cycle(1)[0] == 9


def test_a_short_list_that_its_cycle_did_not_use_is_used_by_no_later_one() -> None:
    """VMs have ended since, and EC2 lists the others again in a moment."""
    process = a_process(*range(10))
    cycle = DispatcherCycle(now=EPOCH, fence=process.fence)
    process.prefetch.start(cycle, 1)
    process.fleet.shows = ()
    assert process.cycle(1) == (10, True)


def test_a_list_that_fails_later_is_asked_for_again() -> None:
    process = a_process(1, by_hand=True)
    process.cycle(1)
    process.fleet.look = RetryError("throttled")
    assert isinstance(process.looks, ByHand)
    process.looks.perform()
    process.cycle(1)
    process.fleet.look = None
    process.cycle(1)
    process.looks.perform()
    assert process.cycle(1)[0] == 9


@pytest.mark.parametrize("failure", [RetryError("throttled"), UnknownOutcomeError("the answer is lost")])
def test_an_intent_that_was_not_written_hides_no_launch_of_the_next_process(failure: AgentStackError) -> None:
    first = a_process(1, 2)
    first.cycle(1)
    first.ledger.fails["write_intent"] = [failure]
    assert not first.asks_for(5)
    assert first.cycle(9) == (8, True), "a look after it"
    second = Process(first.store, first.fleet).takes_the_lease()
    assert second.cycle(5)[0] == 8
    assert second.asks_for(5)
    assert first.takes_the_lease().cycle(3) == (3, False)
