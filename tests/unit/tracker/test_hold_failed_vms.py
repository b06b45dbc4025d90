"""A few VMs whose boot failed stay up; their jobs notice nothing of it, and their places come back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.holds import MAX_HELD, Holds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.notices import NoticeKind
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, Outcome, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.domain.waiting import Waiting, WaitingList, WaitReason
from agent_stack.tracker.cycle import TrackerCycle, TrackerStep, Verdict
from agent_stack.tracker.finish import Finish
from agent_stack.tracker.hold_failed_vms import HoldFailedVms
from agent_stack.tracker.orphan_cleanup import OrphanCleanup
from agent_stack.tracker.requeue import Requeue
from agent_stack.tracker.surplus_vms import SurplusVms
from agent_stack.tracker.terminate import Terminate
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, MemoryMailbox, Store
from tests.simulator.memory.store import Box
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import an_intent
from tests.unit.tracker.parts import ScriptedStacks
from tests.unit.values import a_letter, a_policy, a_run, a_vm, job_id

NOW = EPOCH + timedelta(seconds=40)
SECOND = timedelta(seconds=1)
HALF_AN_HOUR = timedelta(minutes=30)


@dataclass
class Shown:
    """EC2, as far as these steps ask it."""

    vms: dict[InstanceId, Vm] = field(default_factory=dict)
    ended: list[InstanceId] = field(default_factory=list)
    fails: bool = False

    def look_at_subnets(self) -> None:
        """Nothing here launches."""

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        if self.fails:
            raise RetryError("throttled")
        return [self.vms[instance_id] for instance_id in instance_ids if instance_id in self.vms]

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        self.ended += instance_ids
        self.vms |= {one: replace(self.vms[one], state=VmState.SHUTTING_DOWN) for one in instance_ids}
        return {}


class Stack:
    """A tracker whose cycles hold, end, hand back and finish; a VM of each class boots and fails."""

    def __init__(self, **policy: object) -> None:
        self.policy: Policy = a_policy(**{"hold_on_failure": HALF_AN_HOUR, **policy})
        self.store, self.fleet, self.telemetry = Store(), Shown(), RecordedTelemetry()
        self.ledger = MemoryLedger(store=self.store)
        self.mailbox = MemoryMailbox(store=self.store)
        self.stacks = ScriptedStacks()
        self.job_state = JobState.RESERVED
        self.clock = VirtualClock(NOW)
        self.restart()

    def restart(self) -> None:
        """Another process goes on."""
        telemetry, fleet = self.telemetry, self.fleet
        surplus = SurplusVms(ledger=self.ledger, mailbox=self.mailbox, telemetry=telemetry)
        self.hold = HoldFailedVms(
            fleet=fleet,  # type: ignore[arg-type]  # what it asks
            ledger=self.ledger,
            mailbox=self.mailbox,
            policy=self.policy,
            telemetry=telemetry,
        )
        self.steps: tuple[TrackerStep, ...] = (
            self.hold,
            Terminate(fleet=fleet, policy=self.policy, telemetry=telemetry),  # type: ignore[arg-type]  # what it asks
            Requeue(ledger=self.ledger, classes=None, telemetry=telemetry),  # type: ignore[arg-type]  # asked after spot losses
            Finish(stacks=self.stacks, fleet=fleet, ledger=self.ledger, clock=self.clock, telemetry=telemetry),  # type: ignore[arg-type]  # what they ask
            OrphanCleanup(
                fleet=fleet,  # type: ignore[arg-type]  # what it asks
                ledger=self.ledger,
                surplus_vms=surplus,
                policy=self.policy,
                telemetry=telemetry,
            ),
        )

    def fails(self, number: int = 1, name: str = "default") -> Vm:
        """A VM that boots for a job fails, says so and waits; the tracker has taken the credential back."""
        vm = a_vm(number, state=VmState.RUNNING)
        run = a_run(number, class_name=ClassName(name)).reserved(now=EPOCH, until=EPOCH + timedelta(hours=1))
        run = run.bound(vm, now=EPOCH).with_facts(credential_holder=CredentialHolder.TRACKER)
        box = Box(assignment=a_letter(run, vm), credential=None, revoked=True)
        box.stage, box.detail = BootStage.FAILED, "(waits) disk is on fire"
        self.store.runs[run.job_id], self.store.boxes[vm.arn] = run, box
        self.fleet.vms[vm.instance_id] = vm
        return vm

    def cycle(self, now: timedelta = timedelta(), *, described: bool = True) -> TrackerCycle:
        """One cycle."""
        at = NOW + now
        self.clock.sleep(at - self.clock.now())
        shown = {one: vm for one, vm in self.fleet.vms.items() if vm.state is not VmState.TERMINATED}
        situations = tuple(
            Situation(
                run=run,
                vm=self.fleet.vms.get(run.binding.instance_id) if run.binding else None,
                described=described,
                job_state=self.job_state,
                mailbox_status=self._status(run),
                boot_timeout=timedelta(minutes=5),
                policy=self.policy,
                now=at,
            )
            for run in self.store.runs.values()
        )
        verdicts = {s.run.job_id: Verdict(situation=s, decision=decide(s)) for s in situations}
        cycle = TrackerCycle(
            now=at, described=described, vms=shown if described else {}, situations=situations, verdicts=verdicts
        )
        for step in self.steps:
            cycle = step(cycle)
        return cycle

    def _status(self, run: Run) -> MailboxStatus | None:
        return None if run.binding is None else self.mailbox.read([run.binding.arn]).get(run.binding.arn)

    def told(self, vm: Vm) -> int | None:
        """For how many seconds that VM was told to stay up."""
        return self.store.hold_seconds(InstanceArn(vm.arn))

    def said(self, message: str) -> bool:
        """Whether that was logged."""
        return message in self.telemetry.messages()

    @property
    def held(self) -> list[InstanceId]:
        return [hold.instance_id for hold in self.store.holds.vms]


WANT_OF_ROOM = {WaitReason.MAX_INSTANCES, WaitReason.QUOTA}
"""What a held VM counts for; docs/tasks/debug-a-job.md."""


def someone_waits(reason: WaitReason) -> WaitingList:
    job = Waiting(job_id=job_id(7), queue_key=QueueKey("default"), class_name=ClassName("default"), reason=reason)
    return WaitingList(at=NOW, jobs=(job,))


def test_the_vm_stays_up_and_its_job_goes_on_in_the_same_cycle() -> None:
    stack = Stack()
    vm = stack.fails()
    cycle = stack.cycle()
    assert stack.fleet.ended == []
    assert stack.store.runs[job_id(1)].binding is None, "the dispatcher finds its job another VM"
    (notice,) = [n for n in cycle.verdicts[job_id(1)].decision.notices if n.kind is NoticeKind.VM_HELD]
    assert f"aws ssm start-session --target {vm.instance_id}" in notice.text
    assert "30 min" in notice.text
    assert stack.told(vm) is None, "it is told once its run is settled"
    later = stack.cycle(SECOND)
    assert stack.told(vm) == HALF_AN_HOUR.total_seconds() - 1
    assert later.resting == {vm.instance_id}


def test_without_the_setting_it_ends_as_always() -> None:
    stack = Stack(hold_on_failure=timedelta())
    vm = stack.fails()
    cycle = stack.cycle()
    assert stack.fleet.ended == [vm.instance_id]
    assert stack.store.runs[job_id(1)].binding is None
    assert NoticeKind.VM_HELD not in {n.kind for n in cycle.verdicts[job_id(1)].decision.notices}
    assert stack.store.holds == Holds()


def test_at_its_last_vm_the_job_is_finished_at_once_and_the_detail_says_how_to_connect() -> None:
    stack = Stack(max_launch_attempts=1)
    vm = stack.fails()
    stack.cycle()
    ((_, finished, _, detail),) = stack.stacks.finished
    assert finished == job_id(1)
    assert f"aws ssm start-session --target {vm.instance_id}" in detail
    assert f"The VM stays up until {NOW + HALF_AN_HOUR:%H:%M} UTC. Look into its failed boot" in detail
    assert [run.outcome for run in stack.store.history] == [Outcome.FAILED]
    assert stack.fleet.ended == []
    stack.cycle(SECOND)
    assert stack.told(vm) is not None


def test_the_detail_of_a_job_that_is_finished_as_its_hold_ends_names_no_vm() -> None:
    """The answer to the first finish was lost; by the second, jobs need the room, and the VM is about to end."""
    stack = Stack(max_launch_attempts=1)
    stack.fails()
    stack.stacks.finishes = {job_id(1): RetryError("no answer")}
    stack.cycle()
    stack.store.waiting = replace(someone_waits(WaitReason.QUOTA), at=NOW + timedelta(seconds=31))
    stack.stacks.finishes = {}
    stack.cycle(timedelta(seconds=31))
    first, second = (detail for _, _, _, detail in stack.stacks.finished)
    assert "stays up until" in first
    assert "stays up until" not in second


def test_a_finish_whose_answer_is_lost_neither_waits_for_the_hold_nor_ends_it() -> None:
    stack = Stack(max_launch_attempts=1)
    vm = stack.fails()
    stack.stacks.finishes = {job_id(1): RetryError("no answer")}
    stack.cycle()
    assert len(stack.stacks.finished) == 1
    for second in range(1, 29, 9):
        stack.cycle(timedelta(seconds=second))
    assert (stack.fleet.ended, stack.told(vm)) == ([], None), "its run is not settled"
    stack.stacks.finishes = {}
    stack.cycle(timedelta(seconds=31))
    assert len(stack.stacks.finished) == 2
    stack.cycle(timedelta(seconds=32))
    assert stack.told(vm) == HALF_AN_HOUR.total_seconds() - 32
    assert stack.fleet.ended == []


def test_a_crash_after_its_record_changes_nothing() -> None:
    """The hold is recorded first; the process dies before the run is handed back, and before the VM is told."""
    stack = Stack()
    vm = stack.fails()
    stack.steps = (stack.hold,)
    stack.cycle()
    stack.restart()
    stack.cycle(SECOND)
    assert stack.fleet.ended == []
    assert stack.store.runs[job_id(1)].binding is None
    stack.restart()
    stack.cycle(2 * SECOND)
    assert stack.told(vm) == HALF_AN_HOUR.total_seconds() - 2
    assert stack.held == [vm.instance_id]


def test_one_vm_of_each_class_is_held() -> None:
    stack = Stack()
    first, second, other = stack.fails(1), stack.fails(2), stack.fails(3, "large/own-types")
    stack.cycle()
    assert stack.held == [first.instance_id, other.instance_id]
    assert stack.fleet.ended == [second.instance_id]
    assert {hold.class_name for hold in stack.store.holds.vms} == {"default", "large"}
    third = stack.fails(4, "large/other-types")
    stack.cycle(SECOND)
    assert third.instance_id in stack.fleet.ended, "what jobs choose of a class is one class"


def test_three_vms_are_held_in_all() -> None:
    stack = Stack()
    for number in range(1, MAX_HELD + 2):
        stack.fails(number, f"class-{number}")
    stack.cycle()
    assert len(stack.held) == MAX_HELD
    assert stack.fleet.ended == [a_vm(MAX_HELD + 1).instance_id]


def test_at_its_time_it_ends_and_its_place_is_free() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    stack.cycle(HALF_AN_HOUR - SECOND)
    assert stack.fleet.ended == []
    over = stack.cycle(HALF_AN_HOUR)
    assert stack.fleet.ended == [vm.instance_id]
    assert over.busy, "the tracker stays until it is gone"
    assert stack.said("held_vm_terminated")
    assert not stack.said("orphan_terminated")
    stack.cycle(HALF_AN_HOUR + SECOND)
    stack.fails(2)
    stack.cycle(HALF_AN_HOUR + 2 * SECOND)
    assert stack.held == [a_vm(2).instance_id]


def test_old_and_without_a_run_it_is_neither_an_orphan_nor_surplus() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    del stack.store.boxes[vm.arn]  # the table lets go of a mailbox when it is as old as a VM may be
    for minute in (1, 5, 10, 29):
        stack.cycle(timedelta(minutes=minute))
    assert stack.fleet.ended == []


def test_the_vm_that_waits_for_its_job_is_not_surplus_because_an_older_one_is_held() -> None:
    """Of the VMs of a class the youngest are surplus, and a held one is not among those that jobs may get."""
    stack = Stack()
    stack.fails(1)
    stack.store.intents[a_vm().intent_id] = an_intent(1, class_name=ClassName("default"), spent=True)  # type: ignore[index]  # it has one
    stack.cycle()
    fresh = a_vm(2, state=VmState.RUNNING, launched_at=NOW)
    stack.fleet.vms[fresh.instance_id] = fresh
    for second in (1, 12, 24):
        stack.cycle(timedelta(seconds=second))
    assert stack.fleet.ended == []


def test_a_vm_that_ended_by_itself_gives_its_place_back() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    stack.fleet.vms[vm.instance_id] = replace(vm, state=VmState.TERMINATED)
    other = stack.fails(2)
    stack.cycle(SECOND)
    assert stack.held == [other.instance_id]


def test_a_vm_that_ec2_does_not_show_is_no_proof_of_its_end() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    del stack.fleet.vms[vm.instance_id]
    stack.fails(2)
    stack.cycle(SECOND)
    assert stack.held == [vm.instance_id]
    stack.fails(3)
    stack.cycle(HALF_AN_HOUR)
    assert stack.held == [a_vm(3).instance_id], "after its time there is no reason to wait for it"


def test_an_ec2_that_does_not_answer_ends_no_hold() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    stack.fleet.fails, stack.fleet.vms = True, {}
    stack.fails(2)
    stack.cycle(SECOND)
    assert stack.held == [vm.instance_id]
    assert stack.said("held_vms_unknown")


def test_a_full_stack_holds_nothing() -> None:
    stack = Stack(max_instances=1)
    vm = stack.fails()
    stack.cycle()
    assert stack.fleet.ended == [vm.instance_id]


def test_a_stack_that_becomes_full_ends_what_it_holds() -> None:
    stack = Stack(max_instances=2)
    vm = stack.fails()
    stack.cycle()
    stack.fleet.vms[a_vm(9).instance_id] = a_vm(9, state=VmState.RUNNING)
    stack.cycle(SECOND)
    assert vm.instance_id in stack.fleet.ended


@pytest.mark.parametrize("reason", list(WaitReason))
def test_a_job_that_waits_for_room_ends_what_is_held(reason: WaitReason) -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    stack.store.waiting = someone_waits(reason)
    stack.cycle(SECOND)
    assert (vm.instance_id in stack.fleet.ended) is (reason in WANT_OF_ROOM)


@pytest.mark.parametrize("reason", list(WaitReason))
def test_while_a_job_waits_for_room_no_vm_is_held(reason: WaitReason) -> None:
    """Where nothing is held yet, too."""
    stack = Stack()
    vm = stack.fails()
    stack.store.waiting = someone_waits(reason)
    stack.cycle()
    assert (vm.instance_id in stack.fleet.ended) is (reason in WANT_OF_ROOM)
    assert bool(stack.held) is (reason not in WANT_OF_ROOM)


def test_of_two_trackers_one_uses_the_last_place() -> None:
    stack = Stack()
    mine = stack.fails(1)
    before = stack.store.holds

    class Late(MemoryLedger):
        """The other tracker writes between this one's look and its write."""

        def holds(self) -> Holds:
            self.store.holds = Holds(version=before.version + 1)
            return before

    stack.store.holds = before = Holds(version=4)
    stack.ledger = Late(store=stack.store)
    stack.restart()
    stack.cycle()
    assert stack.fleet.ended == [mine.instance_id], "it ends as always"
    assert stack.held == []


def test_holds_that_cannot_be_read_stop_no_job_and_end_no_held_vm() -> None:
    stack = Stack()
    held = stack.fails(1)
    stack.cycle()

    class Dumb(MemoryLedger):
        def holds(self) -> Holds:
            raise RetryError("throttled")

    stack.ledger = Dumb(store=stack.store)
    stack.restart()
    other = stack.fails(2, "large")
    stack.cycle(timedelta(minutes=20))
    assert stack.fleet.ended == [other.instance_id]
    assert stack.store.runs[job_id(2)].binding is None
    assert held.instance_id not in stack.fleet.ended


class NoList(MemoryLedger):
    def waiting(self) -> WaitingList | None:
        raise RetryError("throttled")


class NoRecord(MemoryLedger):
    def record_holds(self, holds: Holds) -> bool:
        raise RetryError("throttled")


def test_an_unreadable_list_of_waiting_jobs_ends_no_hold_and_begins_none() -> None:
    stack = Stack()
    vm = stack.fails(1)
    stack.cycle()
    stack.ledger = NoList(store=stack.store)
    stack.restart()
    other = stack.fails(2, "large")
    cycle = stack.cycle(timedelta(minutes=20))
    assert stack.fleet.ended == [other.instance_id]
    assert cycle.held is not None
    assert set(cycle.held) == {vm.instance_id}
    assert stack.said("waiting_jobs_unknown")


def test_a_record_that_cannot_be_written_keeps_what_was_read() -> None:
    """Its VM ends as without a hold; those that are held stay, and orphan cleanup knows them."""
    stack = Stack()
    vm = stack.fails(1)
    stack.cycle()
    stack.ledger = NoRecord(store=stack.store)
    stack.restart()
    other = stack.fails(2, "large")
    cycle = stack.cycle(timedelta(minutes=20))
    assert stack.fleet.ended == [other.instance_id]
    assert cycle.held is not None
    assert set(cycle.held) == {vm.instance_id}
    assert stack.said("holds_not_recorded")


def test_a_recorded_hold_whose_run_is_not_settled_stays_when_the_decision_changes() -> None:
    """The process dies after the record; then somebody cancels the job, and its run ends without a failure."""
    stack = Stack()
    vm = stack.fails()
    stack.steps = (stack.hold,)
    stack.cycle()
    assert stack.held == [vm.instance_id]
    stack.job_state = JobState.CANCELED
    stack.restart()
    cycle = stack.cycle(SECOND)
    assert cycle.verdicts[job_id(1)].decision.action is Action.END
    assert stack.fleet.ended == []
    assert cycle.is_held(vm.instance_id)


def test_while_holds_cannot_be_read_no_vm_is_surplus() -> None:
    stack = Stack()
    held = stack.fails(1)
    stack.store.intents[a_vm().intent_id] = an_intent(1, class_name=ClassName("default"), spent=True)  # type: ignore[index]  # it has one
    stack.cycle()
    del stack.store.boxes[held.arn]
    stack.store.runs.clear()

    class Dumb(MemoryLedger):
        def holds(self) -> Holds:
            raise RetryError("throttled")

    stack.ledger = Dumb(store=stack.store)
    stack.restart()
    for second in (1, 12, 24):
        stack.cycle(timedelta(seconds=second))
    assert stack.fleet.ended == []


def test_holds_that_cannot_be_read_for_long_are_one_line_and_then_errors() -> None:
    stack = Stack()
    stack.fails(1)
    stack.cycle()

    class Dumb(MemoryLedger):
        asked = 0

        def holds(self) -> Holds:
            Dumb.asked += 1
            raise RetryError(f"throttled, request {Dumb.asked % 2}")

    stack.ledger = Dumb(store=stack.store)
    stack.restart()
    for second in range(1, 5):
        stack.cycle(timedelta(seconds=second))
    assert stack.telemetry.counts[Metric.ERRORS] == 3
    assert stack.telemetry.messages("INFO").count("holds_unknown") <= 2


def test_a_mailbox_that_does_not_answer_is_told_again() -> None:
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    answers = MemoryMailbox(store=stack.store)

    class Deaf(MemoryMailbox):
        def hold(self, arn: InstanceArn, seconds: int) -> bool:
            raise RetryError("throttled")

    stack.mailbox = Deaf(store=stack.store)
    stack.restart()
    assert stack.cycle(SECOND).busy
    stack.mailbox = answers
    stack.restart()
    assert not stack.cycle(2 * SECOND).resting - {vm.instance_id}
    assert stack.told(vm) is not None


def test_a_vm_whose_credential_is_not_revoked_is_not_told() -> None:
    """The mailbox itself says no, whatever a tracker believes."""
    stack = Stack()
    vm = stack.fails()
    stack.cycle()
    stack.store.boxes[vm.arn].revoked = False
    stack.cycle(SECOND)
    assert stack.told(vm) is None
    assert stack.said("hold_not_sent")


def test_a_change_of_the_setting_to_zero_holds_no_other_vm_and_lets_a_held_one_be() -> None:
    stack = Stack()
    vm = stack.fails(1)
    stack.cycle()
    stack.policy = replace(stack.policy, hold_on_failure=timedelta())
    stack.restart()
    other = stack.fails(2, "large")
    stack.cycle(timedelta(minutes=10))
    assert stack.fleet.ended == [other.instance_id]
    stack.cycle(HALF_AN_HOUR)
    assert vm.instance_id in stack.fleet.ended


def test_nothing_is_read_where_nothing_may_be_held() -> None:
    stack = Stack()

    class Counting(MemoryLedger):
        def holds(self) -> Holds:
            raise AssertionError("a read that nobody needs")

    stack.ledger = Counting(store=stack.store)
    stack.restart()
    cycle = stack.cycle()
    assert cycle.held == {}
