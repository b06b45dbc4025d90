"""What a person sees: one line for each event as it happens, and a table with time lines at the end."""

import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from tests.simulator.buildkite import (
    AgentDisconnected,
    AgentRegistered,
    Event,
    JobState,
    JobStateChanged,
    JobView,
    NotificationCreated,
    StackRegistered,
    StepKind,
)
from tests.simulator.cloud import Instance, StateChange
from tests.simulator.demo.snapshot import in_order, standing

WIDTH = 44
_PHASES = ("·", "░", "▒", "█", "▏")
LEGEND = "· waiting   ░ VM starting   ▒ VM booting   █ job running   ▏ VM ending"


class Show:
    """Prints to standard output. Safe to use from several threads."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._lock = threading.Lock()

    def line(self, at: datetime, who: str, what: str) -> None:
        """One event."""
        seconds = (at - self._started_at).total_seconds()
        with self._lock:
            sys.stdout.write(f"{seconds:6.1f} s  {who:<31} {what}\n")
            sys.stdout.flush()

    def buildkite(self, event: Event) -> None:
        """What Buildkite tells."""
        match event:
            case JobStateChanged(at=at, label=label, after=after, exit_status=exit_status):
                ended = f" (exit {exit_status})" if after is JobState.FINISHED and exit_status is not None else ""
                self.line(at, _short(label), f"{after}{ended}")
            case NotificationCreated(at=at, label=label, detail=detail):
                self.line(at, _short(label), f"“{detail}”")
            case AgentRegistered(at=at, name=name):
                self.line(at, name, "agent registered")
            case AgentDisconnected(at=at, name=name):
                self.line(at, name, "agent disconnected")
            case StackRegistered(at=at, stack_key=key, new=True):
                self.line(at, key, "stack registered")
            case _:
                pass

    def ec2(self, change: StateChange) -> None:
        """What EC2 tells."""
        instance = change.instance
        why = f" ({instance.reason})" if instance.reason and instance.state == "shutting-down" else ""
        self.line(change.at, instance.instance_id, f"{instance.state}{why}")

    def starts(self, jobs: Sequence[JobView], hot: Collection[str]) -> None:
        """The first job on a VM that stood by, beside the first one on a VM that was launched for it."""
        began = [(job, running) for job in jobs if (running := job.entered(JobState.RUNNING)) is not None]
        for name, stood_by in (("hot start", True), ("cold start", False)):
            job, running = next(((j, at) for j, at in began if (j.id in hot) is stood_by), (None, None))
            if job is not None and running is not None and hot:
                seconds = (running - (job.runnable_at or job.scheduled_at)).total_seconds()
                sys.stdout.write(f"{name:<11}{seconds:5.1f} s from scheduled to running  {job.label}\n")

    def table(self, jobs: tuple[JobView, ...], vms: Mapping[str, list[Instance]], ended_at: datetime) -> None:
        """Each job's time line, instance, notifications and end."""
        span = max((ended_at - self._started_at).total_seconds(), 0.001)
        sys.stdout.write(f"\n{LEGEND}\n")
        for job in in_order(jobs):
            its = vms.get(job.id, [])
            if job.kind is not StepKind.COMMAND or job.runnable_at is None:
                sys.stdout.write(f"\n{_named(job)}: {_end(job)}\n")
                continue
            sys.stdout.write(f"\n{_named(job)}\n")
            bar = self._bar(job, its[-1] if its else None, ended_at, span)
            sys.stdout.write(f"  {bar} {_end(job)}\n")
            for instance in its:
                sys.stdout.write(
                    f"  {instance.instance_id}  {instance.instance_type}  {instance.capacity_type}  {instance.zone}  "
                    f"{self._requested(job, instance.launched_at)}\n"
                )
            for notification in job.notifications:
                sys.stdout.write(f"  {self._after(job, notification.at)} s  {notification.detail}\n")
            if job.stack_finish is not None:
                sys.stdout.write(f"  {self._after(job, job.stack_finish.at)} s  {_indented(job.stack_finish.detail)}\n")
        sys.stdout.write("\n")

    def _requested(self, job: JobView, at: datetime) -> str:
        """When, beside the job. A standby VM was there before its job."""
        waited = (at - (job.runnable_at or job.scheduled_at)).total_seconds()
        return f"requested {waited:.1f} s after its job" if waited >= 0 else f"requested {-waited:.1f} s before its job"

    def _after(self, job: JobView, at: datetime) -> str:
        return f"{(at - (job.runnable_at or job.scheduled_at)).total_seconds():5.1f}"

    def _bar(self, job: JobView, vm: Instance | None, ended_at: datetime, span: float) -> str:
        """One character for each part of the demo's time."""
        over = job.timeline[-1][1]
        running = job.entered(JobState.RUNNING)
        marks: list[tuple[datetime, str]] = [(job.timeline[0][1], _PHASES[0])]
        if vm is not None:
            marks += [(vm.launched_at, _PHASES[1])]
            marks += [(vm.running_at, _PHASES[2])] if vm.running_at < over else []
        if running is not None:
            marks += [(running, _PHASES[3])]
        gone = vm.terminated_at if vm is not None and vm.terminated_at else over
        marks += [(over, _PHASES[4]), (gone, " ")]
        bar = [" "] * WIDTH
        earliest = 0  # a phase that took no time at all is shown all the same
        for at, phase in marks:
            begin = min(WIDTH - 1, max(earliest, int((at - self._started_at).total_seconds() / span * WIDTH)))
            bar[begin:] = [phase] * (WIDTH - begin)
            earliest = begin + 1
        return "".join(bar)


def _indented(text: str) -> str:
    """Its further lines below the first one, so that they are seen to be the job's."""
    return "\n".join(line.rstrip() for line in text.replace("\n", f"\n{' ' * 11}").splitlines())


def _named(job: JobView) -> str:
    again = " (retry)" if job.retry_of is not None else ""
    return f"{job.group}: {job.label}{again}" if job.group else f"{job.label}{again}"


def _short(label: str) -> str:
    return label if len(label) <= 31 else label[:30] + "…"


def _end(job: JobView) -> str:
    """How it ended, and why that fails the build or not."""
    if job.state is JobState.FINISHED and job.kind is StepKind.COMMAND:
        then = ", retried" if job.retried_by is not None else ", a soft failure" if job.soft_failed else ""
        return f"finished, exit {job.exit_status}{then}"
    return standing(job, None)[1]
