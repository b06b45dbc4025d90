"""Metrics: measures how long each started job waited and in which step, how runs ended, and which VMs are up.

This is the last step of the chain. A cycle that reaches it is the tracker's heartbeat.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.decisions import Action
from agent_stack.domain.measures import Activity, Function, Metric, Step
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import UP, CredentialHolder, Moment, Outcome, RunState
from agent_stack.ports import Clock, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.vcpu_meter import VcpuMeter

OVERDUE = timedelta(minutes=2)
"""The VM's own timer and orphan cleanup both end a VM at its lifetime. A VM that is up this long after it has survived
both."""


COLD_STARTS = 20
"""Waits of jobs with a VM of their own, against which the standby VMs' are compared."""


def steps(run: Run) -> dict[Step, timedelta]:
    """How long each step of this run's job took. The time of an unknown moment counts for the next known step."""
    taken: dict[Step, timedelta] = {}
    before = run.timeline.get(Moment.RUNNABLE, run.timeline.get(Moment.SCHEDULED))
    for step in Step:
        moment = run.timeline.get(Moment(step))
        if moment is None:
            continue
        if before is not None:
            taken[step] = max(moment - before, timedelta())  # a VM that is older than its job took no time
        before = moment if before is None else max(before, moment)
    return taken


def _had_an_agent(run: Run) -> bool:
    """Whether an agent on its VM had the job. Not by its time line: a short job may end between two looks."""
    with_an_agent = {Outcome.FINISHED, Outcome.CANCELLED, Outcome.LOST}
    return run.outcome in with_an_agent and run.credential_holder is CredentialHolder.VM


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerMetrics:
    """Writes metrics; reads from no other system and changes nothing."""

    policy: Policy
    clock: Clock
    telemetry: Telemetry
    _cold_waits: deque[float] = field(default_factory=lambda: deque(maxlen=COLD_STARTS), init=False, repr=False)
    """How long the latest jobs waited that got a VM of their own, in seconds."""
    meter: VcpuMeter = field(default_factory=VcpuMeter)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Returns the cycle unchanged."""
        measure = self.telemetry
        measure.count(Metric.CYCLES_COMPLETED, of=Function.TRACKER)
        measure.peak(Metric.CYCLE_SECONDS, (self.clock.monotonic() - cycle.began).total_seconds(), of=Function.TRACKER)
        for verdict in cycle.verdicts.values():
            self._measure_run(verdict)
        if cycle.described:
            self._measure_vms(cycle)
        return cycle

    def _measure_run(self, verdict: Verdict) -> None:
        """Measures recorded changes only. When another tracker wrote the run first, that tracker measures it."""
        run = verdict.run
        match run.state:
            case RunState.RUNNING:
                if verdict.decision.action is Action.RUN:
                    self._measure_wait(run)
                    self._measure_mirrors(verdict.situation)
            case RunState.RESERVED:
                if verdict.decision.action is Action.REQUEUE:
                    self.telemetry.count(Metric.JOBS_REQUEUED)
            case RunState.BOOTING:
                pass
            case RunState.ENDED:
                if run.outcome is not None:
                    self.telemetry.count(Metric.RUNS_ENDED, of=run.outcome)
                if verdict.situation.spot_interrupted and _had_an_agent(run):
                    self.telemetry.count(Metric.SPOT_INTERRUPTIONS)
                if run.outcome is Outcome.FAILED and run.class_name:  # a run without a class matched none
                    self.telemetry.count(Metric.JOBS_FAILED)

    def _measure_wait(self, run: Run) -> None:
        taken = steps(run)
        wait = sum(taken.values(), timedelta()).total_seconds()
        for step, duration in taken.items():
            self.telemetry.seconds(Metric.STEP_SECONDS, duration.total_seconds(), of=step)
        self.telemetry.seconds(Metric.WAIT_SECONDS, wait)
        if run.binding is None or not run.binding.standby:
            self._cold_waits.append(wait)
        elif self._cold_waits:  # without a cold start to compare with, nothing is known
            saved = sum(self._cold_waits) / len(self._cold_waits) - wait
            self.telemetry.seconds(Metric.STANDBY_SAVED_SECONDS, max(0.0, saved))
        self.telemetry.info(
            "job_started",
            job_id=run.job_id,
            instance_id=run.binding.instance_id if run.binding else None,
            class_name=run.class_name,
            instance_type=run.binding.instance_type if run.binding else None,
            zone=run.binding.zone if run.binding else None,
            capacity_type=run.binding.capacity_type if run.binding else None,
            standby=run.binding.standby if run.binding else None,
            attempt=run.attempt,
            wait_seconds=round(wait, 1),
            **{f"{step}_seconds": round(duration.total_seconds(), 1) for step, duration in taken.items()},
        )

    def _measure_mirrors(self, s: Situation) -> None:
        mirrors = s.mailbox_status.mirrors if s.mailbox_status is not None else None
        if mirrors is None:
            return
        self.telemetry.count(Metric.MIRROR_HITS, mirrors.there)
        self.telemetry.count(Metric.MIRROR_MISSES, mirrors.missing)
        if mirrors.age is not None:
            self.telemetry.seconds(Metric.MIRROR_AGE_SECONDS, mirrors.age.total_seconds())
        if mirrors.missing:
            self.telemetry.warning("mirrors_missing", job_id=s.run.job_id, trouble=mirrors.trouble)

    def _measure_vms(self, cycle: TrackerCycle) -> None:
        """Counts the VMs that EC2 shows as up, by the state of their runs."""
        activities = {
            s.run.binding.instance_id: Activity.WORKING if s.run.state is RunState.RUNNING else Activity.BOOTING
            for s in cycle.situations
            if s.run.binding is not None
        }
        up = [vm for vm in cycle.vms.values() if vm.state in UP]
        idle = {vm.instance_id: Activity.STANDBY for vm in up if cycle.stands_by(vm)}
        counts = Counter({**idle, **activities}.get(vm.instance_id, Activity.UNBOUND) for vm in up)
        for activity in Activity:
            self.telemetry.level(Metric.VMS, counts[activity], of=activity)
        self.telemetry.peak(Metric.MAXIMUM_USED_PERCENT, 100 * len(up) / self.policy.max_instances)
        births = cycle.births()
        self.telemetry.count(Metric.VCPU_SECONDS, self.meter.read(cycle))
        oldest: datetime = cycle.now - self.policy.max_lifetime - OVERDUE
        self.telemetry.peak(Metric.VMS_PAST_LIFETIME, sum(births[vm.instance_id] < oldest for vm in up))
