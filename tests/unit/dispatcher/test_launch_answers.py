"""What the answers to launches teach: each for itself, and an unknown one nothing."""

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import Answer
from agent_stack.dispatcher.launch_answers import LaunchAnswers, Learnt
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, LaunchPausedError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.launching import LaunchError, LaunchErrorClass, LaunchOutcome
from tests.simulator.clock import EPOCH
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, ScriptedFleet, a_book, a_vcpu_cache, an_in_flight, an_intent
from tests.unit.values import a_vm


def an_error(error_class: LaunchErrorClass, pool: str = "") -> LaunchError:
    code = CODES.get(error_class, "NeverHeardOf")
    return LaunchError(error_class=error_class, code=code, message="EC2's words", pool=pool)


CODES = {
    LaunchErrorClass.THROTTLE: "RequestLimitExceeded",
    LaunchErrorClass.CAPACITY: "InsufficientInstanceCapacity",
    LaunchErrorClass.QUOTA: "VcpuLimitExceeded",
    LaunchErrorClass.ACCOUNT: "PendingVerification",
    LaunchErrorClass.CONFIGURATION: "InvalidAMIID.NotFound",
}


def learn(*answers: Answer, telemetry: RecordedTelemetry | None = None) -> Learnt:
    told = telemetry or RecordedTelemetry()
    answerer = LaunchAnswers(
        fleet=ScriptedFleet(), in_flight=an_in_flight(), vcpus=a_vcpu_cache(), ids=SeededIds(), telemetry=told
    )
    idle = {SMALL: (a_vm(1),), LARGE: (a_vm(9),)}
    return answerer.learn(answers, LaunchMemory(), DispatcherCycle(now=EPOCH, fence=1, book=a_book(), idle_vms=idle))


def test_new_vms_stand_behind_the_idle_ones_of_their_class() -> None:
    learnt = learn((an_intent(1), LaunchOutcome(vms=(a_vm(2),))), (an_intent(2), LaunchOutcome(vms=(a_vm(3),))))
    assert learnt.idle_vms == {SMALL: (a_vm(1), a_vm(2), a_vm(3)), LARGE: (a_vm(9),)}


def test_an_unknown_outcome_teaches_nothing_of_pools_and_stays_unknown() -> None:
    intent = an_intent()
    learnt = learn((intent, UnknownOutcomeError("no answer")))
    assert learnt.unknown == (intent,)
    assert (learnt.memory.unavailable_pools, learnt.memory.quotas, learnt.memory.breakers) == ({}, {}, {})


@pytest.mark.parametrize("error", [RetryError("throttled"), WaitError("not permitted")])
def test_an_ec2_that_took_no_launch_is_left_alone_for_a_moment(error: AgentStackError) -> None:
    telemetry = RecordedTelemetry()
    learnt = learn((an_intent(), error), telemetry=telemetry)
    assert learnt.memory.paused(EPOCH)
    assert learnt.unknown == ()
    assert telemetry.messages("INFO") == ["launch_failed"]


def test_a_launch_that_the_operator_paused_teaches_nothing_of_ec2() -> None:
    telemetry = RecordedTelemetry()
    learnt = learn((an_intent(), LaunchPausedError("paused")), telemetry=telemetry)
    assert (learnt.memory, learnt.unknown) == (LaunchMemory(), ())
    assert telemetry.messages("INFO") == ["launch_paused"]


def test_an_answer_that_failed_costs_the_others_nothing() -> None:
    learnt = learn(
        (an_intent(1), RetryError("throttled")),
        (an_intent(2), UnknownOutcomeError("no answer")),
        (an_intent(3, class_name=LARGE), LaunchOutcome(vms=(a_vm(2),))),
    )
    assert learnt.idle_vms[LARGE] == (a_vm(9), a_vm(2))


def test_what_an_answer_says_of_a_class_is_learnt_for_that_class() -> None:
    wrong = LaunchOutcome(vms=(), errors=(an_error(LaunchErrorClass.CONFIGURATION),))
    dry = LaunchOutcome(vms=(a_vm(2),), errors=(an_error(LaunchErrorClass.CAPACITY, "spot:m7i.large:a"),))
    memory = learn((an_intent(1), wrong), (an_intent(2, class_name=LARGE), dry)).memory
    assert memory.breaker(SMALL, EPOCH) is not None
    assert memory.breaker(LARGE, EPOCH) is None
    assert memory.unavailable(EPOCH) == {"spot:m7i.large:a"}
    assert set(memory.last_error_by_class) == {SMALL, LARGE}


@pytest.mark.parametrize("error_class", list(LaunchErrorClass))
def test_errors_that_waiting_does_not_fix_are_logged_as_errors(error_class: LaunchErrorClass) -> None:
    telemetry = RecordedTelemetry()
    learn((an_intent(), LaunchOutcome(vms=(), errors=(an_error(error_class),))), telemetry=telemetry)
    waits = error_class in {LaunchErrorClass.THROTTLE, LaunchErrorClass.CAPACITY, LaunchErrorClass.QUOTA}
    assert telemetry.messages("WARNING" if waits else "ERROR")[0] == "launch_partial"
    assert telemetry.messages("INFO") == ["vms_launched"]
