"""Launches in flight: what is collected, what is recorded of it, and what a dispatcher still records as it leaves."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from agent_stack.dispatcher.in_flight import DRAIN_SECONDS, InFlightLaunches
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import Intent, LaunchError, LaunchErrorClass, LaunchOutcome
from agent_stack.domain.measures import Metric
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLease, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import ByHand, ScriptedFleet, WatchedLedger, an_in_flight, an_intent
from tests.unit.values import a_vm

FULL = LaunchError(error_class=LaunchErrorClass.QUOTA, code="VcpuLimitExceeded", message="32")


class Room:
    """One process's launches, whose answers come when a test says so."""

    def __init__(self, answers: Sequence[LaunchOutcome | AgentStackError] = ()) -> None:
        self.store, self.clock, self.workers = Store(), VirtualClock(), ByHand()
        self.telemetry = RecordedTelemetry()
        self.ledger = WatchedLedger(store=self.store)
        self.fleet = ScriptedFleet(answers=list(answers))
        MemoryLease(store=self.store, function="dispatcher").acquire("us", now=EPOCH, ttl=timedelta(minutes=1))
        self.launches = InFlightLaunches(
            fleet=self.fleet, ledger=self.ledger, workers=self.workers, clock=self.clock, telemetry=self.telemetry
        )

    def begin(self, number: int) -> Intent:
        """A launch of two VMs, written down and asked for."""
        intent = an_intent(number)
        self.ledger.write_intent(intent, fence=1)
        self.launches.begin(intent)
        return intent

    def spent(self) -> dict[IntentId, bool]:
        return {intent.intent_id: intent.spent for intent in self.store.intents.values()}


def test_a_launch_runs_beside_the_cycle_and_is_in_flight_until_it_is_collected() -> None:
    room = Room()
    intent = room.begin(1)
    assert (room.launches.intents, room.launches.is_answered, room.launches.collect()) == ((intent,), False, [])
    room.workers.perform()
    assert (room.launches.intents, room.launches.is_answered) == ((intent,), True)
    assert [asked for asked, _ in room.launches.collect()] == [intent]
    assert (room.launches.intents, room.launches.is_answered) == ((), False)


def test_each_answer_is_collected_once_and_those_to_come_stay_in_flight() -> None:
    room = Room()
    first, second = room.begin(1), room.begin(2)
    room.workers.submitted[0].perform()
    assert [intent for intent, _ in room.launches.collect()] == [first]
    assert (room.launches.collect(), room.launches.intents) == ([], (second,))
    room.workers.perform()
    assert [intent for intent, _ in room.launches.collect()] == [second]


def test_a_launch_that_failed_is_an_answer_too() -> None:
    error = RetryError("throttled")
    room = Room([error])
    first, second = room.begin(1), room.begin(2)
    room.workers.perform()
    answers = dict(room.launches.collect())
    assert answers[first] is error
    assert isinstance(answers[second], LaunchOutcome)


def test_an_answer_spends_its_intent_with_the_vms_that_came() -> None:
    room = Room([LaunchOutcome(vms=(a_vm(7),), errors=(FULL,))])
    room.begin(1)
    room.workers.perform()
    room.launches.record(room.launches.collect())
    (intent,) = room.store.intents.values()
    assert (intent.spent, intent.vms) == (True, (a_vm(7),))
    assert room.telemetry.counts == {Metric.VMS_LAUNCHED: 1, Metric.LAUNCH_ERRORS: 1}


@pytest.mark.parametrize("error", [RetryError("throttled"), WaitError("not permitted")])
def test_an_intent_of_which_nothing_came_is_closed_beside_the_cycle(error: AgentStackError) -> None:
    room = Room([error])
    room.begin(1)
    room.workers.perform()
    room.launches.record(room.launches.collect())
    assert room.spent() == {IntentId("as-1"): False}
    room.workers.perform()
    assert room.spent() == {}


def test_an_intent_whose_outcome_is_unknown_stays_open() -> None:
    room = Room([UnknownOutcomeError("no answer")])
    room.begin(1)
    room.workers.perform()
    room.launches.record(room.launches.collect())
    room.workers.perform()
    assert room.spent() == {IntentId("as-1"): False}


def test_an_answer_that_cannot_be_recorded_costs_the_others_nothing() -> None:
    room = Room()
    room.begin(1)
    room.begin(2)
    room.workers.perform()
    room.ledger.fails["spend_intent"] = [RetryError("throttled")]
    room.launches.record(room.launches.collect())
    assert room.spent() == {IntentId("as-1"): False, IntentId("as-2"): True}


def test_a_write_beside_the_cycle_that_fails_is_logged_and_costs_nothing_else() -> None:
    room = Room()
    room.ledger.fails["close_intent"] = [RetryError("throttled")]
    room.launches.close(IntentId("as-1"))
    room.launches.close(IntentId("as-2"))
    room.workers.perform()
    assert room.ledger.journal == ["close_intent", "close_intent"]
    assert room.telemetry.messages("INFO") == ["intent_not_closed"]


# --- a dispatcher that leaves ---


def test_a_dispatcher_that_leaves_records_what_is_answered_while_it_waits() -> None:
    room = Room()
    room.begin(1)
    room.begin(2)
    for pause in room.launches.drain():
        room.clock.sleep(pause)
        room.workers.submitted[1 if room.spent() == {IntentId("as-1"): True, IntentId("as-2"): False} else 0].perform()
    assert room.spent() == {IntentId("as-1"): True, IntentId("as-2"): True}
    assert room.clock.now() < EPOCH + timedelta(seconds=1)


def test_a_dispatcher_that_leaves_waits_for_its_writes_too() -> None:
    room = Room()
    room.launches.close(IntentId("as-1"))
    pauses = room.launches.drain()
    next(pauses)
    room.workers.perform()
    assert list(pauses) == []
    assert room.ledger.journal == ["close_intent"]


def test_a_dispatcher_with_nothing_in_flight_leaves_at_once() -> None:
    assert list(Room().launches.drain()) == []


def test_a_dispatcher_that_leaves_does_not_wait_for_ever() -> None:
    room = Room()
    room.begin(1)
    for pause in room.launches.drain():
        room.clock.sleep(pause)
    assert room.clock.now() == EPOCH + DRAIN_SECONDS
    assert room.spent() == {IntentId("as-1"): False}, "the next dispatcher settles it"


def test_a_dispatcher_that_leaves_tries_again_to_record_what_failed() -> None:
    room = Room()
    room.begin(1)
    room.begin(2)
    room.workers.perform()
    room.ledger.fails["spend_intent"] = [RetryError("throttled")] * 2
    for pause in room.launches.drain():
        room.clock.sleep(pause)
    assert room.spent() == {IntentId("as-1"): True, IntentId("as-2"): True}
    assert room.clock.now() <= EPOCH + 3 * timedelta(seconds=1)


def test_outcomes_of_intents_that_others_closed_are_forgotten() -> None:
    room = Room()
    intent = room.begin(1)
    room.ledger.fails["spend_intent"] = [RetryError("throttled")]
    room.launches.record([(intent, LaunchOutcome(vms=(a_vm(1),)))])
    assert room.launches.outcome_of(intent.intent_id) is not None
    room.ledger.fails["spend_intent"] = [RetryError("throttled")]
    room.launches.record([(intent, LaunchOutcome(vms=(a_vm(1),)))])
    room.launches.forget_others([])
    assert room.launches.outcome_of(intent.intent_id) is None


def test_no_more_answers_are_collected_than_a_cycle_can_bind_but_always_one() -> None:
    room = Room()
    intents = [room.begin(number) for number in range(1, 5)]  # two VMs each
    room.workers.submitted[3].perform()
    assert room.launches.answered_vms == 2
    room.workers.perform()
    assert room.launches.answered_vms == 8
    assert [intent for intent, _ in room.launches.collect(1)] == intents[:1]
    assert [intent for intent, _ in room.launches.collect(3)] == intents[1:3]
    assert room.launches.intents == (intents[3],), "it counts as on its way"
    assert [intent for intent, _ in room.launches.collect(0)] == intents[3:]


def test_a_replay_that_ec2_answered_stays_answered_however_often_its_vms_are_looked_for() -> None:
    launches, intent_id = an_in_flight(), an_intent().intent_id
    for answered in (False, True, False):
        launches.settle_later(intent_id, answered=answered)
    known = launches.unsettled(intent_id)
    assert known is not None
    assert (known.looks, known.answered) == (3, True)
