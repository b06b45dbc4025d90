"""Launch: what is asked of EC2, in which order it is written down, and what a crash or a refusal leaves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import BugError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, LaunchError, LaunchErrorClass, LaunchOutcome
from agent_stack.domain.measures import Metric
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.launching import SECOND, Room
from tests.unit.dispatcher.parts import LARGE, SMALL, ScriptedFleet, a_book, a_class
from tests.unit.values import a_policy, a_run, a_vm

DRY = LaunchError(
    error_class=LaunchErrorClass.CAPACITY,
    code="InsufficientInstanceCapacity",
    message="none left",
    pool="on-demand:m7i.large:a",
)


# --- the intent comes first ---


def test_an_intent_is_written_before_ec2_is_asked() -> None:
    """A process that dies between the two leaves an intent without VMs, never VMs without an intent."""
    room = Room()
    room.cycle(*room.ready(2))
    assert "launch" not in room.journal
    room.workers.perform()
    assert [step for step in room.journal if step in {"write_intent", "launch"}] == ["write_intent", "launch"]
    (intent,) = room.store.intents.values()
    assert room.fleet.requests == [intent.request]
    assert not intent.spent


def test_an_intent_names_the_class_the_count_and_the_queues_of_its_runs() -> None:
    room = Room()
    first, second = room.ready(2)
    room.cycle(first, replace(second, queue_key=QueueKey("another")))
    (intent,) = room.store.intents.values()
    assert (intent.class_name, intent.count, intent.created_at) == (SMALL, 2, EPOCH)
    assert intent.queues == ("another", "default")


def test_an_intent_is_as_old_as_its_writing_and_not_as_its_cycle() -> None:
    """Seed 81375: a slow cycle's launch looked a minute old at once, and EC2's list without its VMs proved too much."""
    room = Room()
    ready = room.ready(1)
    began = room.clock.now()
    room.clock.sleep(timedelta(minutes=1))
    room.cycle(*ready, now=began)
    (intent,) = room.store.intents.values()
    assert intent.created_at == began + timedelta(minutes=1)


def test_an_ec2_whose_intent_cannot_be_written_is_not_asked() -> None:
    room = Room()
    room.ledger.fails["write_intent"] = [RetryError("throttled")]
    room.cycle(*room.ready(1))
    assert room.workers.submitted == []
    assert room.telemetry.messages("ERROR") == ["intent_not_written"]


def test_a_dispatcher_that_lost_its_lease_launches_nothing() -> None:
    room = Room()
    room.clock.sleep(2 * SECOND)
    assert room.lease.acquire("another", now=room.clock.now(), ttl=SECOND) is not None
    cycle = room.cycle(*room.ready(1), *room.ready(1, first=2, class_name=LARGE))
    assert (room.asked(), cycle.launching, room.store.intents) == ([], 0, {})
    assert "lease_lost_before_launch" in room.telemetry.messages("INFO")
    assert room.store.launching.asked == (), "what was not asked for is not charged to EC2's budget"


def test_after_a_lost_lease_the_further_chunks_of_a_class_are_not_tried() -> None:
    room = Room(max_instances=5000, max_launches_per_minute=5000)
    room.clock.sleep(2 * SECOND)
    room.lease.acquire("another", now=room.clock.now(), ttl=SECOND)
    room.cycle(*room.ready(2 * MAX_VMS_OF_A_LAUNCH))
    assert room.journal.count("write_intent") == 1


# --- who wants a VM ---


def test_runs_that_an_idle_vm_or_one_in_flight_will_serve_want_none() -> None:
    room = Room()
    room.cycle(*room.ready(1))
    cycle = room.cycle(
        *room.ready(5), idle_vms={SMALL: (a_vm(1),)}, unconfirmed=1, unconfirmed_by_class={SMALL: 1, LARGE: 4}
    )
    assert cycle.wanted_launches == 2
    assert room.asked() == [(SMALL, 1), (SMALL, 2)]
    assert cycle.launching == 3


def test_vms_of_one_class_serve_no_other() -> None:
    room = Room()
    room.cycle(*room.ready(1, class_name=LARGE), idle_vms={SMALL: (a_vm(1), a_vm(2))})
    assert room.asked() == [(LARGE, 1)]


def test_a_requeued_run_launches_nothing_while_launches_are_switched_off() -> None:
    room = Room(launch_enabled=False)
    requeued = replace(a_run(class_name=SMALL, attempt=1), version=5)
    cycle = room.cycle(requeued)
    assert (cycle.wanted_launches, cycle.launching, room.store.intents) == (1, 0, {})


def test_answers_are_collected_while_launches_are_switched_off() -> None:
    room = Room()
    room.cycle(*room.ready(1))
    room.workers.perform()
    off = replace(room.launch, policy=a_policy(launch_enabled=False))
    cycle = off(DispatcherCycle(now=EPOCH, fence=room.fence, book=a_book()))
    assert [len(vms) for vms in cycle.idle_vms.values()] == [1]
    assert [intent.spent for intent in room.store.intents.values()] == [True]


def test_while_no_job_token_can_be_had_no_vm_is_asked_for() -> None:
    room = Room()
    room.tokens.asked(issued=0, now=EPOCH)
    assert room.cycle(*room.ready(1)).wanted_launches == 1
    assert room.asked() == []


def test_while_vms_would_not_find_their_program_no_vm_is_asked_for() -> None:
    room = Room()
    room.launch = replace(room.launch, program=replace(room.launch.program, wanted="of another version"))
    room.cycle(*room.ready(1))
    assert room.asked() == []


def test_a_class_that_ec2_calls_wrong_wants_nothing_and_the_others_go_on() -> None:
    broken = Breaker(until=EPOCH + 60 * SECOND, since=EPOCH, failures=1, message="InvalidAMIID")
    room = Room(memory=LaunchMemory(breakers={SMALL: broken}))
    cycle = room.cycle(*room.ready(2), *room.ready(1, first=3, class_name=LARGE))
    assert (cycle.wanted_launches, room.asked()) == (1, [(LARGE, 1)])


def test_a_class_that_the_operator_removed_is_passed_over_and_the_others_go_on() -> None:
    room = Room()
    room.cycle(*room.ready(1, class_name=ClassName("removed")), *room.ready(1, first=2))
    assert room.asked() == [(SMALL, 1)]


def test_a_cycle_with_nothing_to_launch_or_collect_reads_nothing() -> None:
    room = Room()
    cycle = DispatcherCycle(now=EPOCH, fence=room.fence, book=a_book())
    assert room.launch(cycle) is cycle
    assert room.journal == []


def test_launching_without_the_classes_is_a_bug() -> None:
    room = Room()
    with pytest.raises(BugError):
        room.cycle(*room.ready(1), book=None)


# --- answers ---


def test_the_vms_of_an_answer_are_idle_in_the_cycle_that_collects_it() -> None:
    room = Room()
    runs = room.ready(2)
    room.cycle(*runs)
    room.workers.perform()
    cycle = room.cycle(*runs)
    assert (len(cycle.idle_vms[SMALL]), cycle.wanted_launches, cycle.launching) == (2, 0, 0)
    (intent,) = room.store.intents.values()
    assert (intent.spent, intent.vms) == (True, cycle.idle_vms[SMALL])
    assert room.telemetry.counts[Metric.VMS_LAUNCHED] == 2


def test_an_answer_that_brought_too_few_makes_the_cycle_ask_the_other_pools_for_the_rest() -> None:
    room = Room(ScriptedFleet(answers=[LaunchOutcome(vms=(a_vm(1),), errors=(DRY,))]))
    runs = room.ready(3)
    room.cycle(*runs)
    room.workers.perform()
    room.cycle(*runs)
    assert room.asked() == [(SMALL, 2)]
    assert [order.pools for order in room.fleet.orders] == [
        ("on-demand:m7i.large:a", "on-demand:m7i.large:b"),
        ("on-demand:m7i.large:b",),
    ]


def test_the_next_requests_are_out_before_the_answers_are_recorded() -> None:
    room = Room(ScriptedFleet(answers=[LaunchOutcome(vms=(), errors=(DRY,))]))
    runs = room.ready(1)
    room.cycle(*runs)
    room.workers.perform()
    room.journal.clear()
    room.cycle(*runs)
    writes = [step for step in room.journal if step in {"write_intent", "spend_intent"}]
    assert writes == ["write_intent", "spend_intent"]


def test_a_launch_whose_outcome_is_unknown_is_not_asked_for_again() -> None:
    room = Room(ScriptedFleet(answers=[UnknownOutcomeError("no answer")]))
    runs = room.ready(2)
    room.cycle(*runs)
    room.workers.perform()
    cycle = room.cycle(*runs, unconfirmed=3)
    assert (cycle.wanted_launches, room.asked()) == (0, [])
    assert cycle.unconfirmed == 5
    assert [intent.spent for intent in room.store.intents.values()] == [False], "it is left for recover"


def test_a_launch_that_ec2_throttled_closes_its_intent_and_pauses_all_launches() -> None:
    room = Room(ScriptedFleet(answers=[RetryError("RequestLimitExceeded")]))
    runs = room.ready(1)
    room.cycle(*runs)
    room.workers.perform()
    cycle = room.cycle(*runs)
    room.workers.perform()
    assert (cycle.wanted_launches, room.asked(), room.store.intents) == (1, [], {})
    assert room.store.launching.paused(EPOCH)


def test_an_intent_that_cannot_be_written_costs_no_answer_that_has_come() -> None:
    room = Room()
    room.cycle(*room.ready(1))
    room.workers.perform()
    room.ledger.fails["write_intent"] = [RetryError("throttled")]
    cycle = room.cycle(*room.ready(3))
    assert len(cycle.idle_vms[SMALL]) == 1
    assert [intent.spent for intent in room.store.intents.values()] == [True]


def test_a_class_with_an_idle_vm_is_not_given_up_however_long_it_waited() -> None:
    """The answer of this very cycle counts: the run is bound in it."""
    young = a_vm(1, launched_at=EPOCH + a_policy().launch_deadline)
    room = Room(ScriptedFleet(answers=[LaunchOutcome(vms=(young,))]))
    (run,) = room.ready(1)
    room.ledger.record([run])
    room.cycle(run)
    room.workers.perform()
    room.clock.sleep(a_policy().launch_deadline)
    room.cycle(run)
    assert [run.failure_reason for run in room.store.runs.values()] == [None]


def test_shaped_classes_are_asked_for_under_their_own_names() -> None:
    shaped = ClassName("small/m7i.large")
    room = Room()
    room.cycle(*room.ready(1, class_name=shaped), book=a_book(a_class(SMALL)))
    assert room.asked() == [(shaped, 1)]


def test_a_vm_that_is_too_old_to_be_bound_when_its_answer_comes_is_not_idle() -> None:
    """A process may be frozen between the request and the answer. The VM is about to power itself off."""
    room = Room()
    (run,) = room.ready(1)
    room.cycle(run)
    room.workers.perform()
    room.clock.sleep(a_policy().bindable_age)
    cycle = room.cycle(run)
    assert (cycle.idle_vms, cycle.wanted_launches) == ({SMALL: ()}, 1)
    assert [intent.spent for intent in room.store.intents.values()] == [True, False], "the answer is recorded"


def test_an_unwritten_failure_reason_costs_no_vm_that_came() -> None:
    room = Room()
    (first, second) = room.ready(2)
    room.cycle(first)
    room.workers.perform()
    room.ledger.fails["update"] = [RetryError("throttled")]
    late = replace(second, class_name=LARGE, state_entered_at=EPOCH - a_policy().launch_deadline)
    assert len(room.cycle(first, late).idle_vms[SMALL]) == 1
