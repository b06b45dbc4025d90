"""After a VM failed: another pool, on-demand after two losses to spot, and at last a finish that says everything."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.attempts import Failure, FailureKind, excluding_failed_pools, failure_kind, spot_losses
from agent_stack.domain.classes import ClassBook, Unmatched, VmClass, on_demand_name
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import ConfigurationError, GiveUpError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import CapacityType, CredentialHolder, JobState, Outcome, RunState, VmState
from agent_stack.domain.vms import MailboxStatus
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.decide import Decide
from agent_stack.tracker.finish import CONSOLES_PER_CYCLE, Finish
from agent_stack.tracker.requeue import Requeue
from agent_stack.tracker.terminate import Terminate
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_policy, a_run, a_vm

BIG, STRICT = ClassName("big"), ClassName("strict")
SPOT = VmClass(name=BIG, instance_types=("c7i.large",), image="ami-1", capacity_type=CapacityType.SPOT, fallback=True)
BOOK = ClassBook(classes={BIG: SPOT, STRICT: replace(SPOT, name=STRICT, fallback=False)}, default=BIG)
SPOT_VM = a_vm(state=VmState.TERMINATED, capacity_type=CapacityType.SPOT, reason="Server.SpotInstanceTermination")
QUEUE = QueueKey("default")


class Classes:
    """Where the classes come from; None for a document that is wrong."""

    def __init__(self, book: ClassBook | None = BOOK) -> None:
        self._book = book

    def book(self) -> ClassBook:
        if self._book is None:
            raise ConfigurationError(setting="ClassesParameter", value="{", problem="no JSON", remedy="Mend it.")
        return self._book


def lost_run(ledger: MemoryLedger, number: int = 1, *, attempt: int = 1, class_name: ClassName = BIG) -> Run:
    """A run that lost so many spot VMs, the last one just now; its baton is ours."""
    run = a_run(number, class_name=class_name)
    for n in range(attempt):
        run = run.bound(replace(SPOT_VM, instance_id=InstanceId(f"i-{number}{n}")), now=EPOCH)
        if n < attempt - 1:
            run = run.requeued(Failure(kind=FailureKind.SPOT, words=""), now=EPOCH)
    (recorded,) = ledger.record([replace(run.with_facts(credential_holder=CredentialHolder.TRACKER), version=1)])
    return recorded


def tick_of(*runs: Run, **changes: object) -> TrackerCycle:
    values: dict[str, Any] = {
        "vm": SPOT_VM,
        "described": True,
        "job_state": JobState.RESERVED,
        "mailbox_status": MailboxStatus(credential_holder=CredentialHolder.TRACKER),
        "boot_timeout": timedelta(seconds=300),
        "policy": a_policy(),
        "now": EPOCH,
        **changes,
    }
    situations = tuple(Situation(run=run, **values) for run in runs)
    return Decide(telemetry=RecordedTelemetry())(TrackerCycle(now=EPOCH, situations=situations))


# --- hand back ---


def hand_back(ledger: MemoryLedger, classes: Classes, cycle: TrackerCycle) -> Run:
    Requeue(ledger=ledger, classes=classes, telemetry=RecordedTelemetry())(cycle)
    (run,) = ledger.active_runs()
    return run


@pytest.mark.parametrize(
    ("attempt", "class_name", "book", "then"),
    [
        (1, BIG, BOOK, BIG),
        (2, BIG, BOOK, on_demand_name(BIG)),
        (2, STRICT, BOOK, STRICT),
        (2, BIG, None, BIG),
    ],
)
def test_after_two_losses_to_spot_a_class_that_may_fall_back_is_asked_for_on_demand(
    attempt: int, class_name: ClassName, book: ClassBook | None, then: ClassName
) -> None:
    ledger = MemoryLedger(store=Store())
    run = hand_back(ledger, Classes(book), tick_of(lost_run(ledger, attempt=attempt, class_name=class_name)))
    assert (run.state, run.class_name, len(run.tried), run.binding) == (RunState.RESERVED, then, attempt, None)


def test_a_boot_that_failed_by_itself_costs_no_spot() -> None:
    ledger = MemoryLedger(store=Store())
    cycle = tick_of(lost_run(ledger, attempt=2), vm=a_vm(), now=EPOCH + timedelta(seconds=300))
    assert hand_back(ledger, Classes(), cycle).class_name == BIG


def test_the_name_of_a_fallback_is_ours_alone() -> None:
    name = on_demand_name(BIG)
    found = BOOK.find(name)
    assert found is not None
    assert (found.name, found.capacity_type, found.fallback) == (name, CapacityType.ON_DEMAND, False)
    assert on_demand_name(name) == name
    shaped = BOOK.find(ClassName("big/c7i.large/fallback"))
    assert shaped is not None
    assert (shaped.instance_types, shaped.capacity_type) == (("c7i.large",), CapacityType.ON_DEMAND)
    for rules in ((f"class={name}",), ("class=big", "market=fallback"), ("class=big", "instance-type=fallback")):
        assert isinstance(BOOK.match(rules, QUEUE), Unmatched)
    assert isinstance(BOOK.match(("class=big", "market=on-demand"), QUEUE), Unmatched)


def test_a_class_that_may_not_fall_back_any_more_is_asked_for_as_it_is() -> None:
    found = BOOK.find(ClassName("strict/fallback"))
    assert found is not None
    assert (found.name, found.capacity_type) == ("strict/fallback", CapacityType.SPOT)


def test_the_next_vm_comes_from_elsewhere_where_there_is_another_place() -> None:
    pools = ["spot:a:1", "spot:a:2"]
    assert excluding_failed_pools(pools, ["spot:a:1"]) == ("spot:a:2",)
    assert excluding_failed_pools(pools, pools) == tuple(pools)
    assert excluding_failed_pools(pools, []) == tuple(pools)


def test_ec2s_reasons_tell_spot_from_the_rest() -> None:
    assert failure_kind("Server.SpotInstanceTermination") is FailureKind.SPOT
    assert failure_kind("Server.InsufficientInstanceCapacity") is FailureKind.CAPACITY
    assert failure_kind("Client.UserInitiatedShutdown") is FailureKind.EC2
    on_demand = a_run().bound(a_vm(), now=EPOCH)
    assert spot_losses(on_demand.attempts_with(Failure(kind=FailureKind.CAPACITY, words=""), EPOCH)) == 0


# --- finish ---


class Ends:
    """Buildkite, as far as finishing goes; and EC2's consoles."""

    def __init__(self, failure: Exception | None = None, consoles: Exception | None = None) -> None:
        self.details: dict[JobId, str] = {}
        self.read: list[InstanceId] = []
        self._failure = failure
        self._consoles = consoles

    def finish(self, queue: QueueKey, job_id: JobId, *, exit_status: int, detail: str) -> None:
        self.details[job_id] = detail
        if self._failure is not None:
            raise self._failure

    def console_output(self, instance_id: InstanceId) -> str:
        self.read.append(instance_id)
        if self._consoles is not None:
            raise self._consoles
        return f"{instance_id} was here"


def finish(ends: Any, ledger: MemoryLedger, cycle: TrackerCycle) -> TrackerCycle:  # noqa: ANN401  (two ports in one)
    return Finish(stacks=ends, fleet=ends, ledger=ledger, clock=VirtualClock(EPOCH), telemetry=RecordedTelemetry())(
        cycle
    )


def test_a_vm_that_said_nothing_is_asked_for_its_console_and_one_that_did_is_not() -> None:
    ledger, ends = MemoryLedger(store=Store()), Ends()
    finish(ends, ledger, tick_of(lost_run(ledger, attempt=3)))
    (detail,) = ends.details.values()
    assert detail.endswith("i-12 was here")
    assert "3. i-12 (m7i.large, spot, eu-central-1a)" in detail
    assert "fallback_to_on_demand" in detail
    said = MailboxStatus(credential_holder=CredentialHolder.TRACKER, detail="disk is full")
    finish(ends, ledger, tick_of(lost_run(ledger, 2, attempt=3), mailbox_status=said))
    assert ends.read == [InstanceId("i-12")]
    assert not any("console" in text for job, text in ends.details.items() if not text.endswith("i-12 was here"))


def test_consoles_are_bounded_and_their_failure_costs_only_themselves() -> None:
    ledger, ends = MemoryLedger(store=Store()), Ends(consoles=RetryError("throttled"))
    count = CONSOLES_PER_CYCLE + 5
    finish(ends, ledger, tick_of(*(lost_run(ledger, n, attempt=3) for n in range(1, count + 1))))
    assert len(ends.read) == CONSOLES_PER_CYCLE
    assert len(ends.details) == count
    assert ledger.active_runs() == []


def test_a_job_that_never_had_a_vm_has_no_console() -> None:
    ledger, ends = MemoryLedger(store=Store()), Ends()
    (run,) = ledger.record([a_run(failure_reason="There is no class “x” here.", class_name=ClassName(""))])
    finish(ends, ledger, tick_of(run, vm=None, mailbox_status=None))
    (detail,) = ends.details.values()
    assert detail.startswith("There is no class “x” here.")
    assert "UnmatchedJobs" in detail
    assert ends.read == []


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (None, Outcome.FAILED),
        (GiveUpError("404"), None),  # the job is still reserved, whatever the refusal says
        (UnknownOutcomeError("no answer"), None),
        (RetryError("429"), None),
    ],
)
def test_the_intention_is_recorded_and_the_answer_tells_how_it_ended(
    failure: Exception | None, outcome: Outcome | None
) -> None:
    store = Store()
    ledger, ends = MemoryLedger(store=store), Ends(failure)
    finish(ends, ledger, tick_of(lost_run(ledger, attempt=3)))
    if outcome is None:
        (run,) = ledger.active_runs()
        assert run.finishing_at == EPOCH
        again = tick_of(run, now=EPOCH + timedelta(seconds=29))
        assert again.verdicts[run.job_id].decision.action is Action.KEEP
        later = tick_of(run, now=EPOCH + timedelta(seconds=30)).verdicts[run.job_id].decision
        assert (later.action, later.failure is not None) == (Action.FINISH, True)
    else:
        assert [run.outcome for run in store.history] == [outcome]


def test_a_job_given_up_after_vms_that_failed_lists_them_too() -> None:
    ledger, ends = MemoryLedger(store=Store()), Ends()
    spot = Failure(kind=FailureKind.SPOT, words="")
    run = a_run(class_name=BIG).bound(SPOT_VM, now=EPOCH).requeued(spot, now=EPOCH).failing("Nothing to be had.")
    (run,) = ledger.record([replace(run, version=1)])
    finish(ends, ledger, tick_of(run, vm=None, mailbox_status=None))
    (detail,) = ends.details.values()
    assert "1. i-00000000000000001 (m7i.large, spot, eu-central-1a), 0 s: EC2 interrupted it (spot)" in detail
    assert "console" not in detail


def test_a_run_that_another_has_changed_meanwhile_is_not_finished() -> None:
    ledger, ends = MemoryLedger(store=Store()), Ends()
    run = lost_run(ledger, attempt=3)
    ledger.update([run.with_facts()])
    finish(ends, ledger, tick_of(run))
    assert ends.details == {}


def test_a_run_whose_vm_is_long_missing_can_end() -> None:
    """There is nothing to terminate, and asking EC2 to would be refused for ever."""

    class NoVms:
        def terminate(self, instance_ids: Any) -> Mapping[InstanceId, GiveUpError]:  # noqa: ANN401  (any ids)
            return {instance_id: GiveUpError("InvalidInstanceID.NotFound") for instance_id in instance_ids}

    run = a_run().bound(a_vm(), now=EPOCH).running(now=EPOCH, observed_moments={}).with_facts(job_over_at=EPOCH)
    now = EPOCH + timedelta(hours=2)
    cycle = replace(tick_of(run, vm=None, job_state=JobState.FINISHED, now=now), now=now)
    fleet: Any = NoVms()
    after = Terminate(fleet=fleet, policy=a_policy(), telemetry=RecordedTelemetry())(cycle)
    assert after.verdicts[run.job_id].decision.action is Action.END
