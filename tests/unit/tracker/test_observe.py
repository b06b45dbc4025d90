"""Observe: which facts are read first, and what is not known when one of the sources fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, ConfigurationError, RetryError
from agent_stack.domain.identifiers import ClassName, InstanceArn, JobId, QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CapacityType, JobState, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.missing_vms import MissingVms
from agent_stack.tracker.observe import DEFAULT_BOOT_TIMEOUT, Observe
from agent_stack.tracker.standby_watch import StandbyWatch
from agent_stack.tracker.status_checks import StatusChecks
from agent_stack.tracker.unnamed_jobs import UnnamedJobs
from tests.simulator.memory import MemoryMailbox, MemoryStandbyVms, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, ScriptedFleet, WatchedLedger, a_book, a_class
from tests.unit.tracker.parts import NOW, ScriptedStacks
from tests.unit.values import a_letter, a_policy, a_run, a_vm, job_id

OTHER = QueueKey("other")
SLOW = timedelta(minutes=20)
BOOK = a_book(a_class(SMALL, boot_timeout=SLOW), a_class(LARGE))


@dataclass(frozen=True, kw_only=True)
class WatchedMailbox(MemoryMailbox):
    """Mailboxes that note which of them are read, and fail as a test says."""

    journal: list[str]
    read_arns: list[InstanceArn] = field(default_factory=list)
    fails: list[AgentStackError] = field(default_factory=list)

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, MailboxStatus]:
        self.journal.append("mailbox")
        self.read_arns.extend(arns)
        if self.fails:
            raise self.fails[0]
        return super().read(arns)


class OneOf(ScriptedFleet):
    """An EC2 of which only one kind of look fails."""

    def look_at_subnets(self) -> None:
        """Nothing here launches."""

    def describe_by_id(self, instance_ids: Sequence[Any]) -> Sequence[Vm]:
        self.journal.append("describe_by_id")
        raise RetryError("throttled")


class Tower:
    """Where everything is looked at: by default a run that boots on a VM that EC2 shows."""

    def __init__(self, *shows: Vm, fleet: ScriptedFleet | None = None) -> None:
        self.store, self.journal, self.telemetry = Store(), list[str](), RecordedTelemetry()
        self.ledger = WatchedLedger(store=self.store, journal=self.journal)
        self.fleet = fleet or ScriptedFleet()
        self.fleet.shows, self.fleet.journal = shows, self.journal
        self.stacks = ScriptedStacks(journal=self.journal)
        self.mailbox = WatchedMailbox(store=self.store, journal=self.journal)
        self.book: ClassBook | None = BOOK
        stacks, classes = self.stacks, self
        self.observe = Observe(
            standby=StandbyWatch(records=MemoryStandbyVms(store=self.store), telemetry=self.telemetry),
            fleet=self.fleet,
            ledger=self.ledger,
            stacks=stacks,  # type: ignore[arg-type]  # the one question that it asks
            mailbox=self.mailbox,
            classes=_Classes(classes),
            missing_vms=MissingVms(telemetry=self.telemetry),
            unnamed_jobs=UnnamedJobs(telemetry=self.telemetry),
            checks=StatusChecks(fleet=self.fleet, telemetry=self.telemetry),
            policy=a_policy(),
            telemetry=self.telemetry,
        )

    def reserved(self, number: int, queue: QueueKey | None = None, class_name: ClassName = SMALL) -> Run:
        run = a_run(number, class_name=class_name)
        run = run if queue is None else replace(run, queue_key=queue)
        self.store.runs[run.job_id] = run
        return run

    def booting(self, number: int) -> Run:
        """A run on the VM of its number, with its letter in the mailbox."""
        run = self.reserved(number)
        bound = run.bound(a_vm(number), now=NOW)
        (bound,) = self.ledger.bind([(bound, a_letter(bound, a_vm(number)))])
        return bound

    def look(self) -> tuple[TrackerCycle, dict[JobId, Situation]]:
        self.journal.clear()
        cycle = self.observe(TrackerCycle(now=NOW))
        return cycle, {situation.run.job_id: situation for situation in cycle.situations}


@dataclass(frozen=True)
class _Classes:
    tower: Tower

    def book(self) -> ClassBook:
        self.tower.journal.append("classes")
        if self.tower.book is None:
            raise ConfigurationError(setting="ClassesParameter", value="{", problem="no JSON", remedy="Fix it.")
        return self.tower.book


# --- the order ---


def test_ec2_is_asked_before_the_ledger_and_buildkite_before_the_mailboxes() -> None:
    """A VM without a run was then not bound when EC2 showed it; a job with an agent has a mailbox that says whose."""
    tower = Tower(a_vm(1))
    tower.booting(1)
    tower.booting(2)
    tower.look()
    assert tower.journal == ["describe", "active_runs", "describe_by_id", "job_states", "mailbox", "classes"]


def test_what_was_read_of_a_run_stands_in_its_situation() -> None:
    tower = Tower(a_vm(1, state=VmState.RUNNING))
    run = tower.booting(1)
    tower.stacks.states = {run.job_id: JobState.RESERVED}
    tower.store.report(a_vm(1).arn, BootStage.PREPARING)
    cycle, situations = tower.look()
    seen = situations[run.job_id]
    assert (seen.run, seen.vm, seen.described) == (run, a_vm(1, state=VmState.RUNNING), True)
    assert (seen.job_state, seen.boot_timeout, seen.now) == (JobState.RESERVED, SLOW, NOW)
    assert seen.mailbox_status is not None
    assert seen.mailbox_status.stage is BootStage.PREPARING
    assert (cycle.described, set(cycle.vms)) == (True, {a_vm(1).instance_id})


@pytest.mark.parametrize(
    ("vm", "job_state", "is_read"),
    [
        (a_vm(1, state=VmState.RUNNING, capacity_type=CapacityType.SPOT), JobState.RUNNING, False),
        (a_vm(1, state=VmState.RUNNING, capacity_type=CapacityType.SPOT), JobState.FINISHED, True),
        (a_vm(1, state=VmState.RUNNING), JobState.FINISHED, False),
        (a_vm(1, state=VmState.SHUTTING_DOWN), JobState.RUNNING, True),
        (a_vm(1, state=VmState.TERMINATED), JobState.RUNNING, True),
    ],
    ids=["works", "spot, job over", "job over", "going", "gone"],
)
def test_a_mailbox_under_an_agent_is_read_for_last_words_only(
    vm: Vm,
    job_state: JobState,
    is_read: bool,  # noqa: FBT001  (a case)
) -> None:
    """Each cycle reads the mailboxes of jobs that boot; those of a thousand jobs that run would cost all day."""
    tower = Tower(vm)
    run = tower.booting(1)
    tower.store.runs[run.job_id] = run.running(now=NOW, observed_moments={})
    tower.stacks.states = {run.job_id: job_state}
    tower.look()
    assert (vm.arn in tower.mailbox.read_arns) is is_read


# --- EC2 ---


def test_while_ec2_does_not_answer_no_vm_is_described_and_everything_else_is_read() -> None:
    tower = Tower(a_vm(1))
    run = tower.booting(1)
    tower.stacks.states = {run.job_id: JobState.RUNNING}
    tower.fleet.look = RetryError("throttled")
    cycle, situations = tower.look()
    seen = situations[run.job_id]
    assert (cycle.described, cycle.vms, seen.described, seen.vm) == (False, {}, False, None)
    assert seen.job_state is JobState.RUNNING
    assert seen.mailbox_status is not None
    assert "describe_by_id" not in tower.journal, "an absence of that look proves nothing"
    assert tower.telemetry.messages("INFO") == ["vms_unknown"]


def test_a_vm_that_is_not_among_the_living_is_asked_for_by_its_id() -> None:
    ended = a_vm(1, state=VmState.TERMINATED, reason="Server.SpotInstanceTermination")
    tower = Tower(ended, a_vm(2))
    tower.booting(1)
    tower.booting(2)
    cycle, situations = tower.look()
    assert (situations[job_id(1)].vm, situations[job_id(1)].described) == (ended, True)
    assert situations[job_id(2)].vm == a_vm(2)
    assert set(cycle.vms) == {ended.instance_id, a_vm(2).instance_id}


def test_a_vm_that_ec2_shows_in_neither_answer_is_absent_from_a_full_description() -> None:
    tower = Tower()
    run = tower.booting(1)
    _, situations = tower.look()
    assert (situations[run.job_id].vm, situations[run.job_id].described) == (None, True)


def test_a_vm_that_was_not_asked_for_by_its_id_in_this_cycle_is_not_described() -> None:
    """Questions by id are paced: at the third absence in a row none is asked."""
    tower = Tower(a_vm(2))
    hidden, shown = tower.booting(1), tower.booting(2)
    described = []
    for _ in range(4):
        cycle, situations = tower.look()
        assert cycle.described
        assert situations[shown.job_id].described
        described.append((situations[hidden.job_id].described, "describe_by_id" in tower.journal))
    assert described == [(True, True), (True, True), (False, False), (True, True)]


def test_when_the_look_by_ids_fails_only_the_vms_that_it_was_for_are_not_described() -> None:
    tower = Tower(a_vm(2), fleet=OneOf())
    absent, shown = tower.booting(1), tower.booting(2)
    cycle, situations = tower.look()
    assert cycle.described
    assert (situations[absent.job_id].described, situations[shown.job_id].described) == (False, True)
    assert tower.telemetry.messages("INFO") == ["absent_vms_unknown"]


def test_a_vm_that_is_shown_again_is_asked_for_at_once_when_it_goes() -> None:
    tower = Tower()
    tower.booting(1)
    for _ in range(3):
        tower.look()
    tower.fleet.shows = (a_vm(1),)
    tower.look()
    tower.fleet.shows = ()
    tower.look()
    assert "describe_by_id" in tower.journal


# --- failures that last ---


@pytest.mark.parametrize("message", ["vms_unknown", "absent_vms_unknown", "mailboxes_unknown"])
def test_a_source_that_stays_unknown_is_one_line_and_counts_as_an_error_from_the_second_time_on(message: str) -> None:
    tower = Tower(fleet=OneOf() if message == "absent_vms_unknown" else None)
    tower.booting(1)
    error = RetryError("throttled")
    tower.fleet.look = error if message == "vms_unknown" else None
    if message == "mailboxes_unknown":
        tower.mailbox.fails.append(error)
    tower.look()
    assert Metric.ERRORS not in tower.telemetry.counts, "one failure is no error"
    tower.look()
    assert tower.telemetry.messages("INFO") == [message]
    assert tower.telemetry.counts[Metric.ERRORS] == 1
    tower.fleet.look = None
    tower.mailbox.fails.clear()
    for _ in range(2):
        tower.look()
    assert tower.telemetry.counts[Metric.ERRORS] == 1 + (message == "absent_vms_unknown"), "it is over"


# --- the other sources ---


def test_a_queue_whose_job_states_cannot_be_had_hides_no_other_queue() -> None:
    tower = Tower()
    first, second = tower.reserved(1), tower.reserved(2, queue=OTHER)
    tower.stacks.states = dict.fromkeys((first.job_id, second.job_id), JobState.RESERVED)
    tower.stacks.unanswered = frozenset({OTHER})
    _, situations = tower.look()
    assert situations[first.job_id].job_state is JobState.RESERVED
    assert situations[second.job_id].job_state is None
    assert tower.telemetry.messages("INFO") == ["job_states_unknown"]


def test_only_the_mailboxes_of_booting_runs_are_read() -> None:
    tower = Tower(a_vm(1), a_vm(2))
    tower.reserved(3)
    tower.booting(1)
    running = tower.booting(2)
    tower.ledger.update([running.running(now=NOW, observed_moments={})])
    tower.look()
    assert tower.mailbox.read_arns == [a_vm(1).arn]
    del tower.store.runs[job_id(1)]
    tower.look()
    assert "mailbox" not in tower.journal


def test_mailboxes_that_cannot_be_read_are_unknown_and_not_empty() -> None:
    tower = Tower(a_vm(1))
    run = tower.booting(1)
    tower.mailbox.fails.append(RetryError("throttled"))
    _, situations = tower.look()
    assert situations[run.job_id].mailbox_status is None
    assert tower.telemetry.messages("INFO") == ["mailboxes_unknown"]


@pytest.mark.parametrize("readable", [True, False])
def test_a_run_whose_class_is_not_known_boots_within_the_usual_time(readable: bool) -> None:  # noqa: FBT001  (drawn)
    tower = Tower()
    run = tower.reserved(1, class_name=ClassName("removed") if readable else SMALL)
    tower.book = BOOK if readable else None
    _, situations = tower.look()
    assert situations[run.job_id].boot_timeout == DEFAULT_BOOT_TIMEOUT
    assert tower.telemetry.messages("ERROR") == ([] if readable else ["classes_unreadable"])


def test_a_shape_that_a_job_chose_boots_within_the_time_of_its_class() -> None:
    tower = Tower()
    run = tower.reserved(1, class_name=ClassName("small/m7i.large"))
    assert tower.look()[1][run.job_id].boot_timeout == SLOW


def test_without_the_ledger_nothing_is_known_and_the_cycle_fails() -> None:
    tower = Tower(a_vm(1))
    tower.ledger.fails["active_runs"] = [RetryError("throttled")]
    with pytest.raises(RetryError):
        tower.look()
