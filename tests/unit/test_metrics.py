"""The measuring ends of both chains, and the hooks of the steps before them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.metrics import DispatcherMetrics
from agent_stack.dispatcher.poll import FULL_PAGE, MAX_PAGES, Poll
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import Level
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.decisions import Action, Decision
from agent_stack.domain.identifiers import ClassName, QueueKey, StackKey
from agent_stack.domain.jobs import Queue, ScheduledPage
from agent_stack.domain.measures import Activity, Function, Metric, Step
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import (
    BootStage,
    CapacityType,
    CredentialHolder,
    JobState,
    Moment,
    Outcome,
    RunState,
    VmState,
)
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.metrics import OVERDUE, TrackerMetrics, steps
from agent_stack.tracker.vcpu_meter import VcpuMeter
from tests.simulator.catalog import NoShapes
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import a_capacity
from tests.unit.values import a_job, a_policy, a_run, a_vm

SECOND = timedelta(seconds=1)
BOOK = read_classes(
    '{"classes": {"default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"}}, '
    '"default_class": "default"}',
    name="/classes",
    deployment_tags=(),
    shapes=NoShapes(),
)


SPOT_RUN = a_run(1).bound(a_vm(1, capacity_type=CapacityType.SPOT), now=EPOCH)


def moments(**seconds: float) -> dict[Moment, object]:
    return {Moment(name): EPOCH + timedelta(seconds=at) for name, at in seconds.items()}


def a_started_run(number: int = 1, **seconds: float) -> Run:
    bound = a_run(number).bound(a_vm(number), now=EPOCH)
    return replace(bound, state=RunState.RUNNING, timeline=moments(**seconds))  # type: ignore[arg-type]  # moments are datetimes


def test_the_steps_of_a_wait_add_up_to_the_whole() -> None:
    run = a_started_run(scheduled=0, reserved=2, launched=3, bound=5, vm_running=14, agent_started=30, job_running=31)
    assert {step: taken.total_seconds() for step, taken in steps(run).items()} == {
        Step.RESERVED: 2,
        Step.LAUNCHED: 1,
        Step.VM_RUNNING: 11,
        Step.AGENT_STARTED: 16,
        Step.JOB_RUNNING: 1,
    }


def test_a_moment_that_was_never_learnt_leaves_its_time_to_the_next_step() -> None:
    run = a_started_run(scheduled=0, reserved=2, launched=3, job_running=31)
    assert steps(run)[Step.JOB_RUNNING].total_seconds() == 28
    assert sum(steps(run).values(), timedelta()) == 31 * SECOND


def test_a_vm_that_was_there_before_its_job_took_no_time() -> None:
    run = a_started_run(scheduled=0, reserved=2, launched=-60, vm_running=-50, agent_started=6, job_running=7)
    assert steps(run)[Step.LAUNCHED] == steps(run)[Step.VM_RUNNING] == timedelta()
    assert sum(steps(run).values(), timedelta()) == 7 * SECOND


def measured_queues(
    cycle: DispatcherCycle, *, memory: LaunchMemory | None = None, took: timedelta = timedelta()
) -> RecordedTelemetry:
    telemetry, clock = RecordedTelemetry(), VirtualClock()
    capacity = a_capacity(memory)
    capacity.under(cycle.fence)
    clock.sleep(cycle.now + took - clock.now())
    stage = DispatcherMetrics(
        capacity=capacity,
        policy=a_policy(),
        clock=clock,
        telemetry=telemetry,
    )
    begun = replace(cycle, began=clock.monotonic() - took)
    assert stage(begun) is begun
    return telemetry


def test_waiting_is_what_has_no_place_or_no_vm_and_may_have_one() -> None:
    paused = QueueKey("paused")
    cycle = DispatcherCycle(
        now=EPOCH + 100 * SECOND,
        fence=1,
        paused=frozenset({paused}),
        listed=(a_job(1), a_job(2), a_job(9, scheduled_at=EPOCH - timedelta(days=30))),  # the last fits no class
        fitting=(a_job(1), a_job(2)),
        active=(
            a_run(3),
            a_run(4).bound(a_vm(4), now=EPOCH),
            a_run(5).failing("dry"),
            replace(a_run(6), queue_key=paused),
        ),
    )
    peaks = measured_queues(cycle, took=SECOND / 2).peaks
    assert peaks[Metric.JOBS_WAITING] == 3
    assert peaks[Metric.OLDEST_WAITING_SECONDS] == 102
    assert peaks[Metric.CYCLE_SECONDS] == 0.5


def test_an_idle_tick_measures_nothing_but_that_it_was() -> None:
    telemetry = measured_queues(DispatcherCycle(now=EPOCH, fence=1))
    assert telemetry.measured[0] == (Metric.CYCLES_COMPLETED, Function.DISPATCHER, 1)
    assert not any(telemetry.peaks.values())


def test_what_rests_counts_only_as_long_as_it_rests() -> None:
    def breaker(until: timedelta) -> Breaker:
        return Breaker(until=EPOCH + until, since=EPOCH, failures=1, message="InvalidAMIID.NotFound")

    memory = LaunchMemory(
        unavailable_pools={"on-demand:a:b": EPOCH + SECOND, "on-demand:c:d": EPOCH - SECOND},
        breakers={ClassName("x"): breaker(SECOND), ClassName("y"): breaker(-SECOND)},
        instances=Level(tokens=250, at=EPOCH),
    )
    peaks = measured_queues(DispatcherCycle(now=EPOCH, fence=1), memory=memory).peaks
    assert (peaks[Metric.POOLS_UNAVAILABLE], peaks[Metric.BREAKERS_OPEN]) == (1, 1)
    assert peaks[Metric.EC2_BUDGET_USED_PERCENT] == 75


def a_verdict(run: Run, decision: Decision) -> Verdict:
    situation = Situation(
        run=run,
        vm=None,
        described=True,
        job_state=JobState.RUNNING,
        mailbox_status=None,
        boot_timeout=timedelta(minutes=5),
        policy=a_policy(),
        now=EPOCH,
    )
    return Verdict(situation=situation, decision=decision)


def measured_runs(cycle: TrackerCycle) -> RecordedTelemetry:
    telemetry = RecordedTelemetry()
    stage = TrackerMetrics(policy=a_policy(), clock=VirtualClock(), telemetry=telemetry)
    assert stage(cycle) is cycle
    return telemetry


def test_a_job_that_got_its_agent_is_measured_once_and_told_in_one_line() -> None:
    run = a_started_run(scheduled=0, reserved=2, launched=3, vm_running=14, agent_started=30, job_running=31)
    cycle = TrackerCycle(now=EPOCH, verdicts={run.job_id: a_verdict(run, Decision(action=Action.RUN))})
    telemetry = measured_runs(cycle)
    assert [value for metric, _, value in telemetry.measured if metric is Metric.WAIT_SECONDS] == [31]
    assert len([one for one in telemetry.measured if one[0] is Metric.STEP_SECONDS]) == len(Step)
    ((_, message, fields),) = telemetry.records
    assert (message, fields["job_id"], fields["wait_seconds"], fields["vm_running_seconds"]) == (
        "job_started",
        run.job_id,
        31,
        11,
    )
    kept = TrackerCycle(now=EPOCH, verdicts={run.job_id: a_verdict(run, Decision(action=Action.KEEP))})
    assert measured_runs(kept).records == []


@pytest.mark.parametrize(
    ("run", "action", "counts"),
    [
        (a_run(1).ended(Outcome.LOST, now=EPOCH), Action.END, {Metric.RUNS_ENDED: 1}),
        (a_run(1).ended(Outcome.FAILED, now=EPOCH), Action.FINISH, {Metric.RUNS_ENDED: 1, Metric.JOBS_FAILED: 1}),
        (
            a_run(1, class_name=ClassName("")).ended(Outcome.FAILED, now=EPOCH),
            Action.FINISH,
            {Metric.RUNS_ENDED: 1},
        ),
        (a_run(1), Action.REQUEUE, {Metric.JOBS_REQUEUED: 1}),
        (a_run(1).bound(a_vm(1), now=EPOCH), Action.REQUEUE, {}),
    ],
    ids=["lost", "given up", "asked for what nobody offers", "handed back", "somebody else wrote first"],
)
def test_ends_are_counted_as_they_were_recorded(run: Run, action: Action, counts: dict[Metric, int]) -> None:
    cycle = TrackerCycle(now=EPOCH, verdicts={run.job_id: a_verdict(run, Decision(action=action))})
    assert measured_runs(cycle).counts == {Metric.CYCLES_COMPLETED: 1, **counts}


@pytest.mark.parametrize(
    ("run", "counted"),
    [
        (SPOT_RUN.running(now=EPOCH, observed_moments={}).ended(Outcome.LOST, now=EPOCH), 1),
        (SPOT_RUN.running(now=EPOCH, observed_moments={}).ended(Outcome.FINISHED, now=EPOCH), 1),
        (SPOT_RUN.running(now=EPOCH, observed_moments={}), 0),
        (SPOT_RUN.ended(Outcome.FAILED, now=EPOCH), 0),
        (SPOT_RUN.with_facts(credential_holder=CredentialHolder.TRACKER).ended(Outcome.CANCELLED, now=EPOCH), 0),
    ],
    ids=["lost", "the agent finished it in its grace", "still there", "no agent", "cancelled before an agent"],
)
@pytest.mark.parametrize("said", ["notice", "ended after it", "by EC2 alone"])
def test_a_spot_interruption_under_an_agent_is_counted_once_at_the_end(run: Run, counted: int, said: str) -> None:
    reason = "Server.SpotInstanceTermination" if said == "by EC2 alone" else ""
    stage = BootStage.SPOT_NOTICE if said == "notice" else BootStage.AGENT_EXITED
    detail = "255 (spot notice) cancelled" if said == "ended after it" else ""
    verdict = a_verdict(run, Decision(action=Action.END))
    situation = replace(
        verdict.situation,
        vm=a_vm(1, state=VmState.TERMINATED, capacity_type=CapacityType.SPOT, reason=reason),
        mailbox_status=MailboxStatus(credential_holder=CredentialHolder.VM, stage=stage, detail=detail),
    )
    cycle = TrackerCycle(now=EPOCH, verdicts={run.job_id: replace(verdict, situation=situation)})
    assert measured_runs(cycle).counts.get(Metric.SPOT_INTERRUPTIONS, 0) == counted


@pytest.mark.parametrize(
    ("detail", "there", "missing", "age"),
    [
        ("(mirrors 2/2 90 s) ", 2, 0, [90.0]),
        ("(mirrors 1/3 90 s) a: its seed is refused", 1, 2, [90.0]),
        ("(mirrors 0/1 0 s) a: there is no seed", 0, 1, []),
        ("", None, None, []),
        ("(mirrors 99999999999/1 0 s) ", None, None, []),
    ],
)
def test_mirrors_are_counted_when_the_job_starts(
    detail: str, there: int | None, missing: int | None, age: list[float]
) -> None:
    verdict = a_verdict(a_started_run(1, scheduled=0), Decision(action=Action.RUN))
    said = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_STARTED, detail=detail)
    situation = replace(verdict.situation, mailbox_status=said)
    cycle = TrackerCycle(now=EPOCH, verdicts={verdict.run.job_id: replace(verdict, situation=situation)})
    telemetry = measured_runs(cycle)
    assert (telemetry.counts.get(Metric.MIRROR_HITS), telemetry.counts.get(Metric.MIRROR_MISSES)) == (there, missing)
    assert [value for metric, _, value in telemetry.measured if metric is Metric.MIRROR_AGE_SECONDS] == age


def test_vms_are_counted_by_what_they_do() -> None:
    booting = a_run(1).bound(a_vm(1), now=EPOCH)
    working = a_started_run(2, scheduled=0)
    idle = a_vm(5, hold=timedelta(hours=4))
    vms = [a_vm(1), a_vm(2), a_vm(3), a_vm(4, state=VmState.SHUTTING_DOWN), idle]
    cycle = TrackerCycle(
        now=EPOCH,
        described=True,
        vms={vm.instance_id: vm for vm in vms},
        standby={
            idle.instance_id: StandbyVm.of(idle, class_name=ClassName("small"), hold=timedelta(hours=4), shape="")
        },
        situations=tuple(a_verdict(run, Decision(action=Action.KEEP)).situation for run in (booting, working)),
    )
    telemetry = measured_runs(cycle)
    assert [(of, value) for metric, of, value in telemetry.measured if metric is Metric.VMS] == [
        (activity, 1) for activity in Activity
    ]
    assert telemetry.peaks[Metric.MAXIMUM_USED_PERCENT] == 4
    assert measured_runs(replace(cycle, described=False)).peaks.get(Metric.MAXIMUM_USED_PERCENT) is None


def test_a_vm_is_past_its_lifetime_only_when_it_resists() -> None:
    lifetime = a_policy().max_lifetime
    vms = [a_vm(1), a_vm(2, launched_at=EPOCH - SECOND)]
    cycle = TrackerCycle(now=EPOCH + lifetime + OVERDUE, described=True, vms={vm.instance_id: vm for vm in vms})
    assert measured_runs(cycle).peaks[Metric.VMS_PAST_LIFETIME] == 1


def a_look(seconds: float, *vms: Vm, fence: int = 1) -> TrackerCycle:
    return TrackerCycle(
        now=EPOCH + seconds * SECOND,
        began=seconds * SECOND,
        fence=fence,
        described=True,
        vms={vm.instance_id: vm for vm in vms},
    )


def test_vms_that_are_up_use_vcpu_seconds_from_look_to_look() -> None:
    two, young = a_vm(1, vcpus=2), a_vm(2, vcpus=8, launched_at=EPOCH + 12 * SECOND)
    ended = a_vm(3, vcpus=100, state=VmState.TERMINATED)
    meter = VcpuMeter()
    assert meter.read(a_look(10, two)) == 0  # nobody knows when another process has looked
    assert meter.read(a_look(15, two, young, ended)) == 2 * 5 + 8 * 3


def test_what_another_lease_holder_counted_is_not_counted_again() -> None:
    meter, vm = VcpuMeter(), a_vm(1, vcpus=2)
    meter.read(a_look(10, vm, fence=1))
    assert meter.read(a_look(70, vm, fence=3)) == 0
    assert meter.read(a_look(71, vm, fence=3)) == 2


def test_a_process_that_takes_the_next_lease_too_counts_the_time_between_up_to_two_minutes() -> None:
    """So a VM that is held, or that nothing ends, costs while the tracker comes once a minute only."""
    meter, vm = VcpuMeter(), a_vm(1, vcpus=2)
    meter.read(a_look(10, vm, fence=1))
    assert meter.read(a_look(68, vm, fence=2)) == 2 * 58
    assert meter.read(a_look(187, vm, fence=3)) == 2 * 119, "a schedule fires anywhere in its minute"
    assert meter.read(a_look(3_600, vm, fence=4)) == 2 * 120, "nobody knows what happened in so long a time"
    assert meter.read(a_look(3_610, vm, fence=3)) == 0, "an older lease is no successor"


def test_parts_of_a_vcpu_second_are_not_lost() -> None:
    meter, vm = VcpuMeter(), a_vm(1, vcpus=1)
    assert sum(meter.read(a_look(number * 0.4, vm)) for number in range(101)) == 40


def test_a_clock_that_is_set_does_not_change_what_is_counted() -> None:
    meter, vm = VcpuMeter(), a_vm(1, vcpus=2)
    meter.read(a_look(10, vm))
    assert meter.read(replace(a_look(11, vm), now=EPOCH + timedelta(days=1))) == 2
    assert meter.read(replace(a_look(12, vm), now=EPOCH - timedelta(days=1))) == 0


# --- hooks ---


class _Listing:
    def __init__(self, page: Callable[[int], ScheduledPage]) -> None:
        self._page = page
        self.asked = 0

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        self.asked += 1
        return self._page(self.asked)


@pytest.mark.parametrize(
    ("pageable", "jobs", "known", "clogged"),
    [
        (False, FULL_PAGE, True, 1),
        (False, FULL_PAGE, False, 0),
        (False, FULL_PAGE - 1, True, 0),
        (True, 10, True, 1),
        (True, 10, False, 0),
    ],
    ids=["one page, full", "one page, some may start", "one page, room left", "ten pages", "ten pages, some may start"],
)
def test_a_last_page_full_of_jobs_that_will_not_start_is_said(
    pageable: bool,  # noqa: FBT001  (a case)
    jobs: int,
    known: bool,  # noqa: FBT001  (a case)
    clogged: int,
) -> None:
    listing = _Listing(
        lambda page: ScheduledPage(
            jobs=tuple(a_job(page * FULL_PAGE + number) for number in range(jobs)),
            paused=False,
            next_cursor=str(page) if pageable else None,
            pageable=pageable,
        )
    )
    telemetry = RecordedTelemetry()
    poll = Poll(
        stacks=listing,  # type: ignore[arg-type]  # as much of it as the step asks
        queues=(Queue(key=QueueKey("default"), stack_key=StackKey("stack-default")),),
        policy=a_policy(max_instances=1_000_000),
        clock=VirtualClock(),
        telemetry=telemetry,
    )
    runs = [a_run(page * FULL_PAGE + number) for page in range(1, MAX_PAGES + 1) for number in range(jobs)]
    poll(DispatcherCycle(now=EPOCH, fence=1, book=BOOK, active=tuple(runs) if known else ()))
    assert telemetry.counts.get(Metric.QUEUES_CLOGGED, 0) == clogged
    assert telemetry.messages("WARNING") == ["queue_clogged"] * clogged
