"""What the sweep ends, and where it stops."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.identifiers import InstanceArn, InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import JobState, VmState
from agent_stack.domain.vms import Vm
from agent_stack.ports import ClosedMailboxes
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.orphan_cleanup import ALWAYS_ALLOWED, MAX_SHARE, OrphanCleanup
from agent_stack.tracker.surplus_vms import SURPLUS_AFTER, SurplusVms
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, MemoryMailbox, Store
from tests.simulator.memory.store import Box
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, WatchedLedger, an_intent
from tests.unit.values import a_letter, a_policy, a_run, a_vm

LATER = EPOCH + timedelta(minutes=10)
FLEET = 100


@dataclass
class Shown:
    """A fleet as EC2 shows it."""

    vms: dict[InstanceId, Vm]
    ended: list[InstanceId] = field(default_factory=list)
    reads: int = 0
    fails: bool = False
    refuses: bool = False
    before_end: Callable[[Sequence[InstanceId]], None] = lambda _: None

    def look_at_subnets(self) -> None:
        """Nothing here launches."""

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        self.reads += 1
        if self.fails:
            raise RetryError("throttled")
        return [self.vms[instance_id] for instance_id in instance_ids if instance_id in self.vms]

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        self.before_end(instance_ids)
        if self.refuses:
            return dict.fromkeys(instance_ids, RetryError("throttled"))
        self.ended += instance_ids
        return {}


@dataclass
class World:
    """VMs, of which some are bound to runs."""

    fleet: Shown
    store: Store
    telemetry: RecordedTelemetry
    sweep: OrphanCleanup
    cycle: TrackerCycle


def world(*, strays: int, bound: int, state: VmState = VmState.RUNNING, **policy: object) -> World:
    vms = [a_vm(number, state=state) for number in range(strays + bound)]
    fleet = Shown({vm.instance_id: vm for vm in vms})
    store = Store()
    for number, vm in enumerate(vms[strays:]):
        run = a_run(number).bound(vm, now=EPOCH)
        store.runs[run.job_id] = run
    telemetry = RecordedTelemetry()
    sweep = OrphanCleanup(
        fleet=fleet,  # type: ignore[arg-type]  # the two methods that a sweep calls
        ledger=MemoryLedger(store=store),
        surplus_vms=SurplusVms(
            ledger=MemoryLedger(store=store), mailbox=MemoryMailbox(store=store), telemetry=telemetry
        ),
        policy=a_policy(**policy),
        telemetry=telemetry,
    )
    situations = tuple(a_situation(run, fleet) for run in store.runs.values())
    cycle = TrackerCycle(now=LATER, described=True, vms=dict(fleet.vms), situations=situations)
    return World(fleet=fleet, store=store, telemetry=telemetry, sweep=sweep, cycle=cycle)


def a_situation(run: Run, fleet: Shown) -> Situation:
    assert run.binding is not None
    return Situation(
        run=run,
        vm=fleet.vms[run.binding.instance_id],
        described=True,
        job_state=None,
        mailbox_status=None,
        boot_timeout=timedelta(minutes=5),
        policy=a_policy(),
        now=LATER,
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_vm_without_a_run_has_its_whole_grace(*, late: bool) -> None:
    it = world(strays=1, bound=0)
    now = EPOCH + a_policy().orphan_grace + timedelta(seconds=late)
    it.sweep(replace(it.cycle, now=now))
    assert len(it.fleet.ended) == late


def test_a_share_of_the_fleet_may_be_swept() -> None:
    strays = round(MAX_SHARE * FLEET)
    it = world(strays=strays, bound=FLEET - strays)
    it.sweep(it.cycle)
    assert len(it.fleet.ended) == strays
    assert it.telemetry.counts == {"OrphansTerminated": strays}


def test_a_sweep_of_more_than_that_stops_and_says_so_now_and_then() -> None:
    strays = round(MAX_SHARE * FLEET) + 1
    it = world(strays=strays, bound=FLEET - strays)
    for seconds in range(90):
        it.sweep(replace(it.cycle, now=LATER + timedelta(seconds=seconds)))
    assert (it.fleet.ended, it.fleet.reads) == ([], 0)
    assert (it.telemetry.counts, it.telemetry.peaks[Metric.ORPHAN_CLEANUP_LIMITED]) == ({}, strays)
    assert it.telemetry.messages("ERROR") == ["orphan_cleanup_limited"] * 2


def test_a_handful_is_swept_whatever_its_share() -> None:
    it = world(strays=ALWAYS_ALLOWED, bound=0)
    it.sweep(it.cycle)
    assert len(it.fleet.ended) == ALWAYS_ALLOWED


def test_an_emptied_ledger_ends_no_fleet() -> None:
    it = world(strays=0, bound=FLEET)
    it.store.runs.clear()
    it.sweep(replace(it.cycle, situations=()))
    assert it.fleet.ended == []


def test_runs_that_this_version_cannot_read_own_their_vms_still() -> None:
    it = world(strays=0, bound=FLEET)
    it.sweep(replace(it.cycle, situations=()))
    assert it.fleet.ended == []
    assert Metric.ORPHAN_CLEANUP_LIMITED not in it.telemetry.peaks


def test_lifetimes_are_kept_while_the_sweep_stands_still() -> None:
    it = world(strays=FLEET, bound=0)
    old = replace(it.fleet.vms[InstanceId(f"i-{1:017x}")], launched_at=EPOCH - timedelta(days=2))
    it.fleet.vms[old.instance_id] = old
    it.sweep(replace(it.cycle, vms=dict(it.fleet.vms)))
    assert it.fleet.ended == [old.instance_id]


def test_the_brake_counts_every_termination_of_a_tick() -> None:
    it = world(strays=8, bound=FLEET, max_terminations_per_cycle=10)
    it.sweep(replace(it.cycle, terminations=7))
    assert len(it.fleet.ended) == 3


@pytest.mark.parametrize("how", ["not described", "not read again"])
def test_nothing_is_swept_on_an_answer_that_is_not_whole(how: str) -> None:
    it = world(strays=5, bound=FLEET)
    it.fleet.fails = how == "not read again"
    it.sweep(replace(it.cycle, described=how != "not described"))
    assert it.fleet.ended == []


def test_a_vm_that_went_meanwhile_is_left_alone() -> None:
    it = world(strays=2, bound=FLEET)
    gone = InstanceId(f"i-{0:017x}")
    it.fleet.vms[gone] = replace(it.fleet.vms[gone], state=VmState.TERMINATED)
    it.sweep(it.cycle)
    assert it.fleet.ended == [InstanceId(f"i-{1:017x}")]


def test_a_vm_that_was_bound_meanwhile_is_left_alone() -> None:
    it = world(strays=1, bound=FLEET)
    run = a_run(FLEET + 1).bound(it.fleet.vms[InstanceId(f"i-{0:017x}")], now=LATER)
    it.store.runs[run.job_id] = run
    it.sweep(it.cycle)
    assert it.fleet.ended == []


@dataclass(frozen=True, kw_only=True)
class BoundBetween(MemoryLedger):
    """A ledger in which a dispatcher binds a VM after the first look at it."""

    run: Run

    def bound_instances(self) -> frozenset[InstanceId]:
        seen = super().bound_instances()
        self.store.runs[self.run.job_id] = self.run
        return seen


def test_a_vm_that_is_bound_between_the_two_looks_at_the_ledger_is_left_alone() -> None:
    it = world(strays=2, bound=FLEET)
    run = a_run(FLEET + 1).bound(it.fleet.vms[InstanceId(f"i-{0:017x}")], now=LATER)
    replace(it.sweep, ledger=BoundBetween(store=it.store, run=run))(it.cycle)
    assert it.fleet.ended == [InstanceId(f"i-{1:017x}")]


def test_a_bound_vm_that_is_past_its_lifetime_is_ended_too() -> None:
    it = world(strays=0, bound=3)
    old = replace(it.fleet.vms[InstanceId(f"i-{1:017x}")], launched_at=EPOCH - timedelta(days=2))
    it.fleet.vms[old.instance_id] = old
    it.sweep(replace(it.cycle, vms=dict(it.fleet.vms)))
    assert it.fleet.ended == [old.instance_id]


def test_a_stopped_vm_without_a_run_is_not_kept_for_ever() -> None:
    it = world(strays=1, bound=0, state=VmState.STOPPED)
    it.sweep(it.cycle)
    assert len(it.fleet.ended) == 1


# --- VMs whose jobs were cancelled between launch and bind ---


def launched(it: World, *, bound: bool = False) -> World:
    """The same world, with the launch of its VMs in the ledger; with a mailbox for each if they were bound."""
    intent = an_intent(vms=tuple(it.fleet.vms.values()), count=len(it.fleet.vms), spent=True)
    it.store.intents[intent.intent_id] = intent
    if bound:
        for number, vm in enumerate(it.fleet.vms.values()):
            it.store.boxes[vm.arn] = Box(assignment=a_letter(a_run(number), vm), credential=None)
    return it


def swept(it: World, seconds: float) -> list[InstanceId]:
    """What is ended in that time, beginning when the VMs are young."""
    for second in range(round(seconds) + 1):
        it.sweep(replace(it.cycle, now=EPOCH + timedelta(seconds=second)))
    return it.fleet.ended


def test_the_vms_of_cancelled_jobs_end_within_seconds_and_say_nothing_against_the_ledger() -> None:
    it = launched(world(strays=FLEET, bound=0))
    assert swept(it, SURPLUS_AFTER.total_seconds() - 1) == []
    assert len(set(swept(it, SURPLUS_AFTER.total_seconds()))) == FLEET
    assert it.telemetry.messages("ERROR") == it.telemetry.messages("WARNING") == []
    assert not it.telemetry.counts.get(Metric.ORPHANS_TERMINATED)


def test_a_vm_that_a_job_waits_for_is_kept_and_the_oldest_are() -> None:
    it = launched(world(strays=5, bound=0))
    waiting = [replace(a_run(number), class_name=SMALL) for number in range(50, 53)]
    it.cycle = replace(it.cycle, situations=tuple(a_reserved_situation(run) for run in waiting))
    assert set(swept(it, 60)) == {InstanceId(f"i-{number:017x}") for number in (3, 4)}


@pytest.mark.parametrize("kind", ["orphan", "surplus"])
def test_a_vm_cannot_be_bound_any_more_when_ec2_is_asked_to_end_it(kind: str) -> None:
    """Not even by a dispatcher that acts between the tracker's last look at the ledger and EC2's answer."""
    it = world(strays=1, bound=0) if kind == "orphan" else launched(world(strays=1, bound=0))
    ledger = MemoryLedger(store=it.store)
    (waiting,) = ledger.record([a_run(7)])
    vm = it.fleet.vms[InstanceId(f"i-{0:017x}")]
    bound: list[Run] = []

    def bind(_: Sequence[InstanceId]) -> None:
        run = waiting.bound(vm, now=LATER)
        bound.extend(ledger.bind([(run, a_letter(run, vm))]))

    it.fleet.before_end = bind
    it.sweep(it.cycle) if kind == "orphan" else swept(it, 20)
    assert it.fleet.ended
    assert not bound


def test_a_vm_that_is_bound_just_before_its_mailbox_is_closed_is_left_alone() -> None:
    @dataclass(frozen=True, kw_only=True)
    class BoundFirst(MemoryLedger):
        """A dispatcher is faster by a moment."""

        def close_mailboxes(self, arns: Sequence[InstanceArn]) -> ClosedMailboxes:
            run = waiting.bound(vm, now=LATER)
            assert self.bind([(run, a_letter(run, vm))])
            return super().close_mailboxes(arns)

    it = world(strays=2, bound=0)
    (waiting,) = MemoryLedger(store=it.store).record([a_run(7)])
    vm = it.fleet.vms[InstanceId(f"i-{0:017x}")]
    replace(it.sweep, ledger=BoundFirst(store=it.store))(it.cycle)
    assert it.fleet.ended == [InstanceId(f"i-{1:017x}")]


def test_a_vm_whose_mailbox_cannot_be_closed_waits_and_the_others_end() -> None:
    @dataclass(frozen=True, kw_only=True)
    class OneFails(MemoryLedger):
        """The first one."""

        def close_mailboxes(self, arns: Sequence[InstanceArn]) -> ClosedMailboxes:
            return ClosedMailboxes(closed=super().close_mailboxes(arns[1:]).closed, undecided=frozenset(arns[:1]))

    it = world(strays=3, bound=0)
    replace(it.sweep, ledger=OneFails(store=it.store))(it.cycle)
    assert len(it.fleet.ended) == 2


def test_no_orphan_ends_while_no_mailbox_can_be_closed_and_one_past_its_lifetime_does() -> None:
    it = world(strays=3, bound=0)
    old = replace(it.fleet.vms[InstanceId(f"i-{1:017x}")], launched_at=EPOCH - timedelta(days=2))
    it.fleet.vms[old.instance_id] = old
    ledger = WatchedLedger(store=it.store, fails={"close_mailboxes": [RetryError("throttled")]})
    sweep, cycle = replace(it.sweep, ledger=ledger), replace(it.cycle, vms=dict(it.fleet.vms))
    sweep(cycle)
    assert it.fleet.ended == [old.instance_id]
    assert "mailboxes_not_closed" in it.telemetry.messages("INFO")
    assert Metric.ERRORS not in it.telemetry.counts
    ledger.fails["close_mailboxes"] = [RetryError("throttled")]
    sweep(cycle)
    assert it.telemetry.messages("INFO").count("mailboxes_not_closed") == 1
    assert it.telemetry.counts[Metric.ERRORS] == 1, "the alarm rings while it lasts"


def test_a_surplus_vm_that_ec2_did_not_end_is_still_surplus() -> None:
    it = launched(world(strays=1, bound=0))
    it.fleet.refuses = True
    assert swept(it, 20) == []
    it.fleet.refuses = False
    it.sweep(replace(it.cycle, now=EPOCH + timedelta(seconds=21)))
    assert it.fleet.ended


def test_vms_that_have_a_mailbox_are_no_surplus_though_the_ledger_lost_their_runs() -> None:
    it = launched(world(strays=FLEET, bound=0), bound=True)
    assert swept(it, 60) == []
    it.sweep(it.cycle)
    assert it.fleet.ended == []
    assert it.telemetry.messages("ERROR") == ["orphan_cleanup_limited"]


def test_vms_of_no_recorded_launch_have_the_whole_grace() -> None:
    assert swept(world(strays=5, bound=0), 60) == []


def test_old_vms_of_a_recorded_launch_that_never_got_a_job_are_not_limited() -> None:
    it = launched(world(strays=FLEET, bound=0))
    it.sweep(it.cycle)
    assert len(it.fleet.ended) == FLEET
    assert it.telemetry.messages("ERROR") == []


def a_reserved_situation(run: Run) -> Situation:
    return Situation(
        run=run,
        vm=None,
        described=True,
        job_state=JobState.RESERVED,
        mailbox_status=None,
        boot_timeout=timedelta(minutes=5),
        policy=a_policy(),
        now=LATER,
    )
