"""The build page at one moment, as plain values: what the live view, the web page and its picture show."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulator.buildkite import FAILED_UNRUN, OVER, Buildkite, JobState, JobView, StepKind
from tests.simulator.buildkite.states import ACQUIRABLE
from tests.simulator.cloud import Ec2, Instance

LOG_LINES = 100
"""Of each job, the last ones: a page that is sent each half second has no room for 20,000."""

_MARKS = re.compile(r"\x1b_bk;t=\d+\x07|\x1b\[[0-9;?]*[A-Za-z]|\r|[\x00-\x08\x0b-\x1f]")
_ROOT_OF_A_VM = re.compile(r"/\S*?/i-[0-9a-f]{8,17}(?=/)")
"""A directory of this machine stands for a VM's root."""

_WAITING = {
    JobState.WAITING: "waits for other steps",
    JobState.LIMITED: "waits for its concurrency group",
    JobState.LIMITING: "waits for its concurrency group",
    JobState.BLOCKED: "blocked",
}


@dataclass(slots=True, kw_only=True)
class Camera:
    """Looks at one world.

    Args:
        assignments: ids of jobs by the instance that was bound to them.
        notes: what of the pipeline is not played.
    """

    buildkite: Buildkite
    ec2: Ec2
    assignments: Callable[[], Mapping[str, str]]
    now: Callable[[], datetime]
    name: str
    notes: Sequence[str] = ()
    verdict: Sequence[str] = ()
    """PASS, or what is not as it should be; empty while the demo goes on."""
    started_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """The time line begins now."""
        self.started_at = self.now()

    def state(self) -> dict[str, Any]:
        """Everything that is shown, with seconds since the beginning."""
        now = self.now()
        vms = {one.instance_id: one for one in self.ec2.instances()}
        bound: dict[str, list[Instance]] = {}
        owners = dict(self.assignments())
        for instance_id, job_id in owners.items():
            if instance_id in vms:
                bound.setdefault(job_id, []).append(vms[instance_id])
        jobs = in_order(self.buildkite.jobs())
        labels = {job.id: job.label for job in jobs}
        return {
            "name": self.name,
            "notes": list(self.notes),
            "verdict": list(self.verdict),
            "elapsed": self._after(now),
            "outcome": outcome(jobs),
            "jobs": [self._job(job, sorted(bound.get(job.id, []), key=lambda vm: vm.launched_at), now) for job in jobs],
            "vms": [self._vm(vm, labels.get(owners.get(vm.instance_id, ""))) for vm in vms.values()],
        }

    def _after(self, at: datetime) -> float:
        return round((at - self.started_at).total_seconds(), 1)

    def _job(self, job: JobView, vms: Sequence[Instance], now: datetime) -> dict[str, Any]:
        vm = vms[-1] if vms else None
        kind, said = standing(job, vm)
        told = [{"at": self._after(one.at), "text": one.detail} for one in job.notifications]
        if job.stack_finish is not None:
            told.append({"at": self._after(job.stack_finish.at), "text": job.stack_finish.detail})
        lines = _ROOT_OF_A_VM.sub("", _MARKS.sub("", job.log.replace("\r\n", "\n"))).splitlines()
        return {
            "id": job.id,
            "label": job.label,
            "group": job.group or "",
            "step": job.kind.value,
            "command": job.command if job.kind is StepKind.COMMAND else "",
            "queue": job.queue_key,
            "rules": list(job.agent_query_rules),
            "kind": kind,
            "said": said,
            "agent": job.agent_name or "",
            "retry": job.retry_of is not None,
            "vms": [self._vm(one, None) for one in vms],
            "told": told,
            "log": "\n".join(lines[-LOG_LINES:]),
            "left_out": max(0, len(lines) - LOG_LINES),
            "phases": self._phases(job, vm, now) if job.kind is StepKind.COMMAND else [],
            "seconds": self._seconds(job, now),
        }

    @staticmethod
    def _seconds(job: JobView, now: datetime) -> float | None:
        """How long its command runs, or ran."""
        running = job.entered(JobState.RUNNING)
        if running is None:
            return None
        return round(((job.timeline[-1][1] if job.state in OVER else now) - running).total_seconds(), 1)

    def _phases(self, job: JobView, vm: Instance | None, now: datetime) -> list[dict[str, Any]]:
        """The stretches of its time line, each with its name, its beginning and its end."""
        runnable = job.runnable_at
        if runnable is None:
            return []
        over = job.timeline[-1][1] if job.state in OVER else now
        marks = [("waiting", runnable)]
        if vm is not None:
            marks += [("starting", max(vm.launched_at, runnable)), ("booting", max(vm.running_at, runnable))]
        running = job.entered(JobState.RUNNING)
        if running is not None:
            marks.append(("running", running))
        marks.append(("ending", over))
        ends = (vm.terminated_at or now) if vm is not None else over
        made = []
        for (name, begin), end in zip(marks, [*(at for _, at in marks[1:]), max(ends, over)], strict=True):
            begin, end = min(begin, over) if name != "ending" else begin, min(end, over) if name != "ending" else end  # noqa: PLW2901
            if end > begin:
                made.append({"name": name, "from": self._after(begin), "to": self._after(end)})
        return made

    def _vm(self, vm: Instance, label: str | None) -> dict[str, Any]:
        return {
            "id": vm.instance_id,
            "type": vm.instance_type,
            "zone": vm.zone,
            "capacity": vm.capacity_type,
            "state": vm.state,
            "reason": vm.reason,
            "at": self._after(vm.launched_at),
            "job": label,
        }


def in_order(jobs: Sequence[JobView]) -> list[JobView]:
    """In the order of the pipeline; a retry stands behind the job that it repeats."""
    by_id = {job.id: job for job in jobs}
    made = []
    for job in jobs:
        again: JobView | None = job if job.retry_of is None else None
        while again is not None:
            made.append(again)
            again = by_id.get(again.retried_by or "")
    return made


def standing(job: JobView, vm: Instance | None) -> tuple[str, str]:
    """Where a job stands: a kind that has a colour, and the words."""
    if job.state is JobState.FINISHED:
        return _finished(job)
    if job.state in OVER or job.state in FAILED_UNRUN:
        return _never_finished(job)
    if job.state in _WAITING:
        return ("blocked" if job.state is JobState.BLOCKED else "held"), _WAITING[job.state]
    if job.state not in ACQUIRABLE:
        return "running", job.state.value.replace("_", " ")
    if vm is None:
        return "waiting", "waits for a VM"
    return ("starting", "VM starts") if vm.state == "pending" else ("booting", "VM boots")


def _finished(job: JobView) -> tuple[str, str]:
    if job.kind is not StepKind.COMMAND:
        return "passed", "released" if job.kind is StepKind.BLOCK else "passed"
    if job.exit_status == 0:
        return "passed", "passed"
    if job.retried_by is not None:
        return "retried", f"exit {job.exit_status}, retried"
    return ("soft", f"exit {job.exit_status}, soft fail") if job.soft_failed else ("failed", f"exit {job.exit_status}")


def _never_finished(job: JobView) -> tuple[str, str]:
    if job.state is JobState.SKIPPED:
        return "skipped", f"skipped: {job.skip}"
    if job.state in FAILED_UNRUN:
        return "skipped", "not run: a step that it waits for failed"
    return "cancelled", job.state.replace("_", " ")


def outcome(jobs: Sequence[JobView]) -> str:
    """What the build is: running, blocked, failing, then passed or failed."""
    judged = [job for job in jobs if job.retried_by is None]
    kinds = {standing(job, None)[0] for job in judged}
    bad = bool(kinds & {"failed", "cancelled"})
    if all(job.state in OVER or job.state in FAILED_UNRUN for job in judged):
        return "failed" if bad else "passed" if judged else "running"
    if bad:
        return "failing"
    moving = kinds & {"waiting", "starting", "booting", "running"}
    return "blocked" if "blocked" in kinds and not moving else "running"
