"""Recover: a launch without an answer is left alone, replayed or looked up; it is never asked for twice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.dispatcher.idle_vms import NOT_SHOWN_YET
from agent_stack.dispatcher.in_flight import DRAIN_SECONDS
from agent_stack.dispatcher.recover import UNANSWERED_GRACE
from agent_stack.domain.backoff import Backoff, backoff_key
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, GiveUpError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.identifiers import IntentId, QueueKey
from agent_stack.domain.launching import Intent, LaunchOutcome
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH, VirtualClock
from tests.unit.dispatcher.parts import (
    LARGE,
    SMALL,
    ScriptedFleet,
    an_intent,
)
from tests.unit.dispatcher.ward import NOTHING_PAUSED, OLD_ENOUGH, OTHER, QUEUE, SECOND, Ward
from tests.unit.values import a_policy, a_run, a_vm

MINUTE = timedelta(minutes=1)

PROVEN = EPOCH + NOT_SHOWN_YET
"""From then on EC2's list proves what came of a launch that was asked for at EPOCH."""


def test_a_launch_is_left_to_its_process_for_as_long_as_that_waits_for_answers() -> None:
    assert DRAIN_SECONDS < UNANSWERED_GRACE <= 4 * DRAIN_SECONDS


def test_a_young_launch_of_another_process_is_left_to_that_process() -> None:
    ward = Ward()
    ward.waits()
    intent = ward.left()
    cycle = ward.cycle(now=OLD_ENOUGH - SECOND)
    assert (cycle.unconfirmed, cycle.unconfirmed_by_class) == (2, {SMALL: 2})
    assert (ward.fleet.requests, ward.store.intents) == ([], {intent.intent_id: intent})


def test_an_unanswered_launch_is_replayed_as_it_was_written_and_its_answer_recorded() -> None:
    answer = LaunchOutcome(vms=(a_vm(1), a_vm(2)))
    ward = Ward(ScriptedFleet(shows=answer.vms, answers=[answer]))
    ward.waits()
    intent = ward.left()
    ward.cycle()
    assert ward.fleet.requests == [intent.request]
    ward.take_answers()
    assert ward.store.intents == {intent.intent_id: replace(intent, spent=True, vms=answer.vms)}
    assert ward.cycle().idle_vms == {SMALL: answer.vms}


def test_with_max_vcpus_each_class_knows_the_types_of_its_open_launches() -> None:
    expected = {SMALL: {"m7i.large", "m7i.4xlarge"}, LARGE: {"c7i.large"}}
    for most in (8, None):
        ward = Ward(ScriptedFleet(shows=(a_vm(2),), types={"old": frozenset({"m7i.4xlarge"})}), max_vcpus=most)
        ward.waits()
        ward.left(1, request="old")
        ward.left(2, spent=True, vms=(a_vm(2),))
        ward.left(3, class_name=LARGE, spent=True, vms=(a_vm(3, instance_type="c7i.large"),))
        assert ward.cycle(now=OLD_ENOUGH - SECOND).types_on_their_way == (expected if most else {})


def test_a_replay_that_names_no_vm_makes_the_tag_tell() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(9, intent_id=IntentId("as-9"))), answers=[LaunchOutcome(vms=())]))
    ward.waits()
    ward.left()
    ward.cycle()
    ward.take_answers()
    assert ward.cycle(now=OLD_ENOUGH + MINUTE).idle_vms == {SMALL: (a_vm(1),)}
    assert len(ward.fleet.requests) == 1


def test_a_launch_in_flight_of_this_process_is_neither_asked_again_nor_counted_twice() -> None:
    ward = Ward(by_hand=True)
    ward.waits()
    ward.in_flight.begin(ward.left())
    cycle = ward.cycle()
    assert (cycle.unconfirmed, cycle.unconfirmed_by_class, ward.fleet.requests) == (0, {}, [])


def test_the_launch_of_a_paused_queue_is_not_replayed_and_its_vms_are_found_by_the_tag() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1),)))
    ward.waits()
    ward.left()
    cycle = ward.cycle(now=PROVEN, paused_before=frozenset({QUEUE}))
    assert (ward.fleet.requests, cycle.idle_vms) == ([], {SMALL: (a_vm(1),)})


def test_the_first_cycle_under_a_lease_asks_ec2_nothing_because_a_queue_may_be_paused() -> None:
    ward = Ward()
    ward.waits()
    intent = ward.left()
    cycle = ward.cycle(paused_before=None)
    assert cycle.unconfirmed_by_class == {SMALL: 2}
    assert (ward.fleet.requests, ward.store.intents) == ([], {intent.intent_id: intent})


@pytest.mark.parametrize("paused", [None, NOTHING_PAUSED])
def test_while_launches_are_switched_off_none_is_replayed(paused: frozenset[QueueKey] | None) -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1),)), launch_enabled=False)
    ward.waits()
    ward.left()
    cycle = ward.cycle(now=PROVEN, paused_before=paused)
    assert (ward.fleet.requests, cycle.idle_vms) == ([], {SMALL: (a_vm(1),)})


def test_a_launch_whose_vms_would_be_too_old_to_be_bound_is_not_replayed() -> None:
    ward = Ward()
    ward.waits()
    ward.left()
    cycle = ward.cycle(now=EPOCH + a_policy().bindable_age + NOT_SHOWN_YET)
    assert (ward.fleet.requests, cycle.unconfirmed, ward.store.intents) == ([], 0, {})


def test_the_launch_of_a_queue_without_runs_is_not_replayed() -> None:
    ward = Ward()
    ward.waits(queue=OTHER)
    ward.left()
    ward.cycle(now=PROVEN)
    assert (ward.fleet.requests, ward.store.intents) == ([], {})


def test_a_launch_is_not_replayed_where_the_vms_that_are_known_are_enough_for_its_class() -> None:
    """Seed 62169: they were bound in the same cycle, and VMs without a job came in addition, beyond MaxVcpus."""
    ward = Ward(ScriptedFleet(shows=(a_vm(5),)))
    ward.waits()
    ward.left(1)
    ward.left(2, spent=True, vms=(a_vm(5),))
    assert ward.cycle().idle_vms == {SMALL: (a_vm(5),)}
    assert ward.fleet.requests == []
    ward.waits(2)
    ward.cycle()
    assert len(ward.fleet.requests) == 1, "the second run lacks one"


def test_of_two_unanswered_launches_as_many_are_replayed_as_runs_need() -> None:
    ward = Ward(by_hand=True)
    ward.waits()
    ward.left(1)
    ward.left(2)
    ward.cycle()
    assert len(ward.in_flight.intents) == 1


def test_a_launch_of_a_class_whose_runs_are_gone_is_not_replayed_for_another_class() -> None:
    ward = Ward()
    ward.waits(class_name=LARGE)
    ward.left()
    ward.cycle()
    assert ward.fleet.requests == []


@pytest.mark.parametrize(("age", "coming"), [(NOT_SHOWN_YET - SECOND, 1), (NOT_SHOWN_YET, 0)])
def test_a_vm_that_ec2_does_not_show_yet_is_waited_for(age: timedelta, coming: int) -> None:
    ward = Ward(ScriptedFleet(shows=()))
    ward.waits()
    ward.left(spent=True, vms=(a_vm(1, launched_at=OLD_ENOUGH - age),))
    cycle = ward.cycle()
    assert (cycle.idle_vms, cycle.unconfirmed, cycle.unconfirmed_by_class[SMALL]) == ({SMALL: ()}, 1, coming)


def test_while_ec2_does_not_say_which_vms_are_up_none_is_asked_for_in_their_place() -> None:
    ward = Ward(ScriptedFleet(look=RetryError("throttled")))
    ward.waits()
    ward.left(spent=True, vms=(a_vm(1),))
    cycle = ward.cycle()
    assert (cycle.unconfirmed, cycle.unconfirmed_by_class) == (1, {SMALL: 1})


def test_ec2s_list_proves_nothing_while_whoever_had_the_lease_before_may_have_replayed_the_launch() -> None:
    """Seed 40209: it had, a second before; its VMs came, and were not counted."""
    ward = Ward(ScriptedFleet(shows=()))
    ward.waits(queue=OTHER)
    intent = ward.left()
    late = EPOCH + a_policy().bindable_age / 2
    for seconds in (0, 29):
        cycle = ward.cycle(fence=2, now=late + seconds * SECOND)
        assert (cycle.unconfirmed, ward.store.intents) == (2, {intent.intent_id: intent})
    for _ in range(2):
        ward.cycle(fence=2, now=late + 10 * NOT_SHOWN_YET)
    assert ward.store.intents == {}


def replayed(answer: LaunchOutcome | AgentStackError) -> tuple[Ward, Intent, VirtualClock]:
    """A launch that was sent again when it was a minute old, with that answer; EC2 shows no VM."""
    ward = Ward(ScriptedFleet(shows=(), answers=[answer]))
    ward.waits()
    intent = ward.left()
    clock = ward.in_flight.clock
    assert isinstance(clock, VirtualClock)
    clock.sleep(2 * NOT_SHOWN_YET)
    ward.cycle(now=clock.now())
    ward.take_answers()
    assert len(ward.fleet.requests) == 1
    return ward, intent, clock


def test_nor_while_its_own_replay_may_have_launched() -> None:
    ward, intent, clock = replayed(UnknownOutcomeError("no answer"))
    clock.sleep(NOT_SHOWN_YET - SECOND)
    cycle = ward.cycle(now=clock.now(), paused_before=frozenset({QUEUE}))
    assert (cycle.unconfirmed, ward.store.intents) == (2, {intent.intent_id: intent})


def test_nor_after_a_replay_that_ec2_answered_without_vms_because_the_first_request_may_have_launched() -> None:
    ward, intent, clock = replayed(LaunchOutcome(vms=()))
    for _ in range(int(NOT_SHOWN_YET / SECOND) - 1):
        clock.sleep(SECOND)
        assert ward.cycle(now=clock.now()).unconfirmed == 2
    assert ward.store.intents == {intent.intent_id: intent}
    clock.sleep(2 * NOT_SHOWN_YET)
    ward.cycle(now=clock.now())
    assert (ward.store.intents, len(ward.fleet.requests)) == ({}, 1), "another replay would tell no more"


def test_what_is_remembered_of_a_launch_ends_with_it() -> None:
    ward = Ward(ScriptedFleet(shows=(), answers=[GiveUpError("no")]))
    ward.waits()
    intent = ward.left()
    ward.in_flight.begin(intent)
    ward.take_answers()
    ward.cycle(now=PROVEN)
    assert ward.in_flight.asked(intent.intent_id) is None


def test_all_vms_of_a_launch_prove_it_at_once() -> None:
    vms = (a_vm(1), a_vm(2))
    ward = Ward(ScriptedFleet(shows=vms), launch_enabled=False)
    ward.waits()
    ward.left()
    assert ward.cycle(fence=2).idle_vms == {SMALL: vms}


def test_a_launch_that_the_operator_paused_is_not_replayed_and_counts_until_the_tag_proves_something() -> None:
    ward = Ward(ScriptedFleet(shows=()))
    ward.waits()
    intent = ward.left()
    pauses = Pauses(paused={QUEUE: OperatorPause(since=EPOCH)})
    ward.in_flight.permission.observe(pauses, ward.in_flight.clock.monotonic())
    for paused_before in (NOTHING_PAUSED, frozenset({QUEUE})):
        cycle = ward.cycle(now=EPOCH + NOT_SHOWN_YET - SECOND, paused_before=paused_before)
        assert (cycle.unconfirmed, ward.store.intents) == (2, {intent.intent_id: intent})
    cycle = ward.cycle(now=EPOCH + NOT_SHOWN_YET)
    assert (cycle.unconfirmed, ward.fleet.requests, ward.store.intents) == (0, [], {})


def test_the_launch_of_a_queue_whose_runs_all_have_vms_is_not_replayed() -> None:
    ward = Ward()
    ward.ledger.record([replace(a_run(class_name=SMALL).bound(a_vm(7), now=EPOCH), version=1)])
    ward.left()
    ward.cycle()
    assert ward.fleet.requests == []


@pytest.mark.parametrize(
    "error", [RetryError("throttled"), UnknownOutcomeError("no answer"), WaitError("not permitted"), GiveUpError("no")]
)
def test_a_replay_without_a_certain_answer_leaves_the_launch_open_and_asks_later_each_time(
    error: AgentStackError,
) -> None:
    """A refused replay proves nothing of the first request: its VMs may be up."""
    ward = Ward(ScriptedFleet(answers=[error] * 3))
    ward.waits()
    intent = ward.left()
    ward.cycle()
    ward.take_answers()
    assert ward.store.intents == {intent.intent_id: intent}
    first = ward.in_flight.unsettled(intent.intent_id)
    assert first is not None
    ward.cycle(now=first.next_at - SECOND)
    assert len(ward.fleet.requests) == 1
    assert ward.cycle(now=first.next_at - SECOND).unconfirmed_by_class == {SMALL: 2}


@pytest.mark.parametrize(
    "error", [UnknownOutcomeError("mismatch"), WaitError("not permitted"), RetryError("throttled")]
)
def test_a_replay_in_doubt_is_settled_once_all_vms_that_carry_its_tag_are_shown(error: AgentStackError) -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2)), answers=[error]))
    ward.waits()
    intent = ward.left()
    ward.cycle()
    ward.take_answers()
    cycle = ward.cycle(now=OLD_ENOUGH + MINUTE)
    assert (cycle.idle_vms, cycle.unconfirmed) == ({SMALL: (a_vm(1), a_vm(2))}, 0)
    assert ward.store.intents == {intent.intent_id: replace(intent, spent=True, vms=(a_vm(1), a_vm(2)))}
    assert len(ward.fleet.requests) == 1


def test_a_replay_in_doubt_stays_open_while_fewer_vms_are_shown_than_it_may_launch() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1),), answers=[UnknownOutcomeError("no answer")] * 2))
    ward.waits()
    intent = ward.left()
    ward.cycle()
    ward.take_answers()
    assert ward.cycle(now=OLD_ENOUGH + MINUTE).idle_vms == {}
    assert ward.store.intents == {intent.intent_id: intent}
    assert len(ward.fleet.requests) == 2


def backs_off(ward: Ward) -> None:
    """Nothing works in the class of its launches; it may not be asked for within ten minutes."""
    backoff = Backoff(failures=9, since=EPOCH, until=EPOCH + 10 * MINUTE)
    memory = LaunchMemory(backoffs={backoff_key(SMALL, CapacityType.ON_DEMAND): backoff})
    ward.recover.capacity.learn(memory, fence=1)


def describes(ward: Ward, cycles: int, **found: object) -> int:
    """How often EC2 is asked for its list in that many cycles, a second apart."""
    count = 0
    clock = ward.in_flight.clock
    assert isinstance(clock, VirtualClock)
    for _ in range(cycles):
        ward.cycle(now=clock.now(), **found)
        ward.take_answers()
        count += ward.journal.count("describe")
        clock.sleep(SECOND)
    return count


def test_launches_in_doubt_whose_class_backs_off_are_looked_for_later_each_time_and_all_in_one_list() -> None:
    """Their class may not be asked for, so nothing of them changes from one second to the next."""
    ward = Ward(ScriptedFleet(shows=(), answers=[RetryError("throttled")] * 3))
    for number in range(1, 6):
        ward.waits(number)
    for number in (1, 2, 3):
        ward.left(number, capacity_type=CapacityType.ON_DEMAND)
    clock = ward.in_flight.clock
    assert isinstance(clock, VirtualClock)
    clock.sleep(UNANSWERED_GRACE)
    ward.cycle(now=clock.now())
    ward.take_answers()
    assert len(ward.fleet.requests) == 3, "each was sent again, and each answer is in doubt"
    backs_off(ward)
    assert describes(ward, 60) <= 6
    assert len(ward.fleet.requests) == 3
    assert len(ward.store.intents) == 3


def test_launches_in_doubt_that_the_operator_paused_are_looked_for_later_each_time() -> None:
    ward = Ward(ScriptedFleet(shows=(), answers=[RetryError("throttled")]))
    ward.waits()
    ward.left()
    clock = ward.in_flight.clock
    assert isinstance(clock, VirtualClock)
    clock.sleep(UNANSWERED_GRACE)
    ward.cycle(now=clock.now())
    ward.take_answers()
    pauses = Pauses(paused={QUEUE: OperatorPause(since=EPOCH)})
    ward.in_flight.permission.observe(pauses, clock.monotonic())
    assert describes(ward, 60) <= 6
    assert ward.store.intents == {}, "EC2's list proves in time that nothing came of it"


def test_launches_that_are_looked_for_in_one_cycle_share_one_list() -> None:
    ward = Ward(ScriptedFleet(shows=()), launch_enabled=False)
    for number in (1, 2, 3):
        ward.left(number)
    ward.cycle(now=PROVEN)
    assert ward.journal.count("describe") == 1
    assert ward.store.intents == {}
    failing = Ward(ScriptedFleet(look=RetryError("throttled")), launch_enabled=False)
    for number in (1, 2, 3):
        failing.left(number)
    failing.cycle(now=PROVEN)
    assert failing.journal.count("describe") == 1, "a failure is an answer, too"


def test_one_launch_that_stays_unsettled_does_not_hold_up_the_others() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(5),), answers=[RetryError("throttled"), LaunchOutcome(vms=(a_vm(5),))]))
    ward.waits()
    ward.waits(2, class_name=LARGE)
    ward.left(1)
    ward.left(2, class_name=LARGE)
    ward.cycle()
    ward.take_answers()
    unsettled = ward.in_flight.unsettled(an_intent(1).intent_id)
    assert unsettled is not None
    cycle = ward.cycle(now=unsettled.next_at - SECOND)
    assert (cycle.unconfirmed_by_class, cycle.idle_vms) == ({SMALL: 2}, {LARGE: (a_vm(5),)})


@pytest.mark.parametrize("error", [WaitError("UnauthorizedOperation"), GiveUpError("no"), RetryError("throttled")])
def test_a_look_that_is_refused_never_says_that_nothing_was_launched(error: AgentStackError) -> None:
    ward = Ward(ScriptedFleet(look=error), launch_enabled=False)
    ward.waits()
    intent = ward.left()
    cycle = ward.cycle()
    assert (cycle.unconfirmed_by_class, ward.store.intents) == ({SMALL: 2}, {intent.intent_id: intent})


def test_an_outcome_that_cannot_be_recorded_leaves_the_others_their_own() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(5, intent_id=IntentId("as-2")))), launch_enabled=False)
    ward.waits()
    ward.left(1)
    ward.left(2, class_name=LARGE)
    ward.ledger.fails["spend_intent"] = [RetryError("throttled")]
    cycle = ward.cycle(now=PROVEN)
    assert (cycle.unconfirmed_by_class, [vm.instance_id for vm in cycle.idle_vms[LARGE]]) == (
        {SMALL: 2},
        [a_vm(5).instance_id],
    )


def test_an_answer_that_this_process_could_not_record_is_neither_asked_for_again_nor_lost() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1),)))
    ward.waits()
    intent = ward.left()
    ward.ledger.fails["spend_intent"] = [RetryError("throttled")]
    ward.in_flight.record([(intent, LaunchOutcome(vms=(a_vm(1),)))])
    cycle = ward.cycle()
    assert (ward.fleet.requests, cycle.idle_vms, cycle.unconfirmed) == ([], {SMALL: (a_vm(1),)}, 0)
    assert ward.store.intents == {intent.intent_id: replace(intent, spent=True, vms=(a_vm(1),))}


def test_a_launch_that_ec2_refused_is_not_replayed_because_its_intent_could_not_be_closed() -> None:
    ward = Ward()
    ward.waits()
    intent = ward.left()
    ward.ledger.fails["close_intent"] = [RetryError("throttled")]
    ward.in_flight.record([(intent, RetryError("RequestLimitExceeded"))])
    cycle = ward.cycle()
    assert (ward.fleet.requests, cycle.unconfirmed, ward.store.intents) == ([], 0, {})
