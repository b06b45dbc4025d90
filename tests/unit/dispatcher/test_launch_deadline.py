"""Which runs are given up for want of a VM: late ones, and those of a class that stays broken."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_deadline import BROKEN_GRACE, LaunchDeadline
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.breakers import ACCOUNT, Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import Bucket, ClassName, JobId
from agent_stack.domain.pauses import Pauses
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, a_book, a_class, a_vcpu_cache
from tests.unit.values import a_policy, a_run, a_vm, job_id

SECOND = timedelta(seconds=1)
DEADLINE = a_policy().launch_deadline


class Line:
    """Runs that wait since `EPOCH`."""

    def __init__(self, *runs: Run) -> None:
        self.store, self.telemetry = Store(), RecordedTelemetry()
        self.ledger = MemoryLedger(store=self.store)
        self.runs = tuple(self.ledger.record(runs))

    def reasons(
        self,
        now: datetime,
        memory: LaunchMemory | None = None,
        idle: dict[ClassName, tuple[Vm, ...]] | None = None,
        ready: Sequence[Run] | None = None,
        pauses: Pauses | None = None,
    ) -> dict[JobId, str]:
        """Why which runs were given up."""
        permission, vcpus = LaunchPermission(), a_vcpu_cache()
        permission.observe(pauses or Pauses(), timedelta())
        vcpus.want(a_class(SMALL).instance_types, now)
        late = LaunchDeadline(
            ledger=self.ledger, vcpus=vcpus, permission=permission, policy=a_policy(), telemetry=self.telemetry
        )
        runs = self.runs if ready is None else tuple(ready)
        cycle = DispatcherCycle(now=now, fence=1, ready=runs, book=a_book())
        late(cycle, idle or {}, memory or LaunchMemory())
        return {run.job_id: run.failure_reason for run in self.store.runs.values() if run.failure_reason is not None}


def broken(since: datetime, key: ClassName = SMALL, *, definite: bool = True) -> LaunchMemory:
    until, message = since + timedelta(hours=1), "InvalidAMIID: gone"
    breaker = Breaker(until=until, since=since, failures=3, message=message, definite=definite)
    return LaunchMemory(breakers={key: breaker})


def test_a_class_that_only_looks_wrong_costs_no_job_its_time() -> None:
    line = Line(a_run(class_name=SMALL))
    assert line.reasons(EPOCH + DEADLINE - SECOND, broken(EPOCH, definite=False)) == {}
    assert line.reasons(EPOCH + BROKEN_GRACE, broken(EPOCH)) != {}


def test_a_run_without_a_vm_is_given_up_at_the_deadline_and_not_before() -> None:
    line = Line(a_run(class_name=SMALL))
    assert line.reasons(EPOCH + DEADLINE - SECOND) == {}
    assert line.reasons(EPOCH + DEADLINE) == {job_id(): "No VM of class “small” could be launched within 600 s."}
    assert line.telemetry.messages("ERROR") == ["job_failed_by_stack"]


def test_the_reason_ends_with_what_ec2_said_last_of_that_class() -> None:
    memory = LaunchMemory(last_error_by_class={SMALL: "VcpuLimitExceeded: 32", LARGE: "Other: words"})
    line = Line(a_run(class_name=SMALL))
    (reason,) = line.reasons(EPOCH + DEADLINE, memory).values()
    assert reason.endswith("within 600 s. Last EC2 error: VcpuLimitExceeded: 32")


def test_a_run_of_a_class_with_an_idle_vm_is_not_late() -> None:
    line = Line(a_run(1, class_name=SMALL), a_run(2, class_name=LARGE))
    assert set(line.reasons(EPOCH + DEADLINE, idle={SMALL: (a_vm(),), LARGE: ()})) == {job_id(2)}


def test_a_requeued_run_waits_anew() -> None:
    run = a_run(class_name=SMALL).bound(a_vm(), now=EPOCH)
    requeued = run.requeued(Failure(kind=FailureKind.SPOT, words=""), now=EPOCH + DEADLINE)
    line = Line(replace(requeued, version=1))
    assert line.reasons(EPOCH + 2 * DEADLINE - SECOND) == {}
    assert set(line.reasons(EPOCH + 2 * DEADLINE)) == {job_id()}


@pytest.mark.parametrize("key", [SMALL, ACCOUNT])
def test_a_class_that_stays_broken_is_given_up_early_with_ec2s_own_words(key: ClassName) -> None:
    line = Line(a_run(class_name=SMALL))
    assert line.reasons(EPOCH + BROKEN_GRACE - SECOND, broken(EPOCH, key)) == {}
    assert line.reasons(EPOCH + BROKEN_GRACE, broken(EPOCH, key)) == {
        job_id(): "No VM of class “small” can be launched: InvalidAMIID: gone"
    }


def test_neither_a_fresh_trouble_nor_a_fresh_run_is_given_up_early() -> None:
    line = Line(a_run(class_name=SMALL))
    assert line.reasons(EPOCH + 2 * BROKEN_GRACE, broken(EPOCH + BROKEN_GRACE + SECOND)) == {}
    fresh = Line(a_run(class_name=SMALL, now=EPOCH + BROKEN_GRACE + SECOND))
    assert fresh.reasons(EPOCH + 2 * BROKEN_GRACE, broken(EPOCH)) == {}


def test_a_run_that_the_tracker_changed_meanwhile_is_not_given_up() -> None:
    line = Line(a_run(1, class_name=SMALL), a_run(2, class_name=SMALL))
    line.ledger.update([line.runs[0].with_facts(reservation_lost=True)])
    assert set(line.reasons(EPOCH + DEADLINE)) == {job_id(2)}
    assert len(line.telemetry.messages("ERROR")) == 1


def test_only_runs_that_want_a_vm_now_are_given_up() -> None:
    line = Line(a_run(class_name=SMALL))
    assert line.reasons(EPOCH + 2 * DEADLINE, ready=()) == {}


def full_from(begin: timedelta, end: timedelta) -> LaunchMemory:
    held = ((EPOCH + begin, EPOCH + end),)
    ceiling = Ceiling(most=2, refused_at=EPOCH + begin, code="VcpuLimitExceeded", message="", held=held)
    return LaunchMemory(quotas={Bucket("on-demand:standard"): ceiling})


def test_the_deadline_stands_still_while_the_operator_pauses_its_queue() -> None:
    line, resumed = Line(a_run(class_name=SMALL)), EPOCH + DEADLINE
    pauses = Pauses(resumed={"*": resumed})
    assert line.reasons(resumed + DEADLINE - SECOND, pauses=pauses) == {}
    assert set(line.reasons(resumed + DEADLINE, pauses=pauses)) == {job_id()}


def test_a_quota_that_was_full_during_the_pause_makes_the_wait_no_longer() -> None:
    line, resumed = Line(a_run(class_name=SMALL)), EPOCH + DEADLINE
    pauses, memory = Pauses(resumed={"*": resumed}), full_from(SECOND, DEADLINE)
    assert line.reasons(resumed + DEADLINE - SECOND, memory, pauses=pauses) == {}
    assert set(line.reasons(resumed + DEADLINE, memory, pauses=pauses)) == {job_id()}
