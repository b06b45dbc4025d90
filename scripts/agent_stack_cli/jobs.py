"""`agent-stack job`: the history of one job, from the ledger, both functions' logs, EC2 and the VM's mailbox."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BootStage, Moment, RunState
from agent_stack.domain.waiting import Waiting, waiting_notice
from agent_stack_cli import lines, vms
from agent_stack_cli.errors import CliError
from agent_stack_cli.job_summary import summary
from agent_stack_cli.origins import is_of_build, pipeline_of
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
BUILD = re.compile(r"^/(?P<organisation>[^/]+)/(?P<pipeline>[^/]+)/builds/(?P<build>[0-9]{1,18})(?![0-9])", re.ASCII)
AFTERWARDS = timedelta(minutes=10)
"""How long after a job's end the tracker may still write about it."""

LOOK_BACK = timedelta(days=1)
"""How far logs are read for a job without a record."""

STEPS: Mapping[Moment, str] = {
    Moment.SCHEDULED: "the job was scheduled at Buildkite",
    Moment.RUNNABLE: "the job could start",
    Moment.RECORDED: "the dispatcher recorded it",
    Moment.RESERVED: "the dispatcher reserved it",
    Moment.LAUNCHED: "EC2 launched the VM",
    Moment.BOUND: "the dispatcher gave it the VM",
    Moment.VM_RUNNING: "EC2 showed the VM running",
    Moment.AGENT_STARTED: "the VM started its agent",
    Moment.JOB_RUNNING: "the agent had the job",
    Moment.ENDED: "the stack was done with it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of the time line, and the seconds since the step before; None for the first."""

    at: datetime
    step: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run of the job."""

    state: str
    outcome: str
    queue: str
    vm_class: str
    pipeline: str
    build: int | None
    attempt: int
    reason: str
    timeline: tuple[StepView, ...]
    tried: tuple[str, ...]
    notifications: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmView:
    """The job's VM. `state` is EC2's, `stage` the VM's own word of its boot."""

    instance_id: str
    state: str
    instance_type: str
    zone: str
    capacity_type: str
    stage: str
    detail: str
    logs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that is known of a job.

    Attributes:
        waits: why it has no VM, as its build page says it; empty when it does not wait or nothing is known.
        decisions: what both functions logged about it, in order.
    """

    job_id: str
    stack: str
    summary: str
    waits: str
    runs: tuple[RunView, ...]
    vm: VmView | None
    decisions: tuple[lines.Line, ...]
    logs: Mapping[str, str]
    next: str


def job_ids(stack: Stack, named: str) -> list[JobId]:
    """The jobs behind a job id, the URL of a job, or the URL of a build.

    Raises:
        CliError: it is neither, or no job of that build is recorded.
    """
    found = JOB_ID.findall(named)
    if found:
        return [JobId(found[-1].lower())]
    try:
        build = BUILD.match(urlsplit(named).path)
    except ValueError:  # a bracket that is not closed
        build = None
    if build is None:
        raise CliError(
            f"{named!r} is neither a job id nor the URL of a build",
            next="copy the URL of the job's page: "
            + stack.agent_stack("job", "https://buildkite.com/ORG/PIPELINE/builds/1#JOB"),
        )
    records = Records(stack=stack)
    wanted = (build["pipeline"], int(build["build"]))
    of_build = [run.job_id for run in (*records.active(), *records.ended()) if is_of_build(run, *wanted)]
    if not of_build:
        raise CliError(
            f"no job of build {wanted[1]} of {wanted[0]} is recorded in {stack.name}",
            next="name the job: click it on the build page and copy the URL; it ends with #JOB_ID",
        )
    return list(dict.fromkeys(of_build))


def one_job(stack: Stack, named: str) -> JobId:
    """The one job behind that name.

    Raises:
        CliError: there are several; see `job_ids` for the others.
    """
    found = job_ids(stack, named)
    if len(found) > 1:
        listed = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")  # noqa: PLR2004  (a line holds five)
        raise CliError(f"that build has {len(found)} jobs: {listed}", next=stack.agent_stack("job", found[0]))
    return found[0]


def latest_vm(stack: Stack, job_id: JobId) -> str:
    """The id of the VM that the job has or had last.

    Raises:
        CliError: it never had one.
    """
    for run in reversed(Records(stack=stack).of_job(job_id)):
        if run.binding is not None:
            return run.binding.instance_id
        if run.tried:
            return run.tried[-1].instance_id
    raise CliError(f"job {job_id} has had no VM", next=stack.agent_stack("job", job_id))


def read(stack: Stack, job_id: JobId) -> Story:
    """The story of one job."""
    now = stack.session.now()
    records = Records(stack=stack)
    runs = records.of_job(job_id)
    began = min((at for run in runs for at in run.timeline.values()), default=now - LOOK_BACK)
    ended = max((run.state_entered_at for run in runs), default=now) if _over(runs) else now
    vm = next((run.binding for run in reversed(runs) if run.binding is not None), None)
    words = [job_id, *({vm.instance_id} if vm is not None else ())]
    decisions = tuple(lines.mentioning(stack, words, since=began - timedelta(seconds=5), until=ended + AFTERWARDS))
    waits = "" if _over(runs) or vm is not None else _waits(stack, job_id, records, now)
    machine = None if vm is None else _vm(stack, records, next(r for r in reversed(runs) if r.binding is not None))
    said, next_step = summary(stack, job_id, runs, waits, decisions)
    links = {function: lines.link(stack, stack.log_group(function)) for function in ("dispatcher", "tracker")}
    if machine is not None:
        links["VM"] = machine.logs
    return Story(
        job_id=job_id,
        stack=stack.name,
        summary=said,
        waits=waits,
        runs=tuple(_run(run) for run in runs),
        vm=machine,
        decisions=decisions,
        logs=links,
        next=next_step,
    )


def _over(runs: list[Run]) -> bool:
    return bool(runs) and runs[-1].state is RunState.ENDED


def _waits(stack: Stack, job_id: JobId, records: Records, now: datetime) -> str:
    listed = records.waiting()
    found: Waiting | None = next(
        (job for job in (() if listed is None else listed.current(now)) if job.job_id == job_id), None
    )
    return "" if found is None else waiting_notice(found, stack.policy).text


def _run(run: Run) -> RunView:
    return RunView(
        state=run.state,
        outcome=run.outcome or "",
        queue=run.queue_key,
        vm_class=run.class_name,
        pipeline=pipeline_of(run),
        build=run.origin.build_number,
        attempt=run.attempt,
        reason=run.failure_reason or "",
        timeline=tuple(_timeline(run)),
        tried=tuple(
            f"{a.instance_id} ({a.instance_type}, {a.capacity_type}, {a.zone}) for {a.seconds} s: {a.words}"
            for a in run.tried
        ),
        notifications=tuple(sorted(run.notices_sent)),
    )


def _timeline(run: Run) -> Iterator[StepView]:
    before: datetime | None = None
    for moment, at in sorted(run.timeline.items(), key=lambda item: (item[1], list(Moment).index(item[0]))):
        seconds = None if before is None else (at - before).total_seconds()
        yield StepView(at=at, step=STEPS[moment], seconds=seconds)
        before = at


def _vm(stack: Stack, records: Records, run: Run) -> VmView | None:
    binding = run.binding
    if binding is None:
        return None
    machine, mailbox = vms.by_id(stack, binding.instance_id), records.mailbox(binding.arn)
    stage = mailbox.stage if mailbox is not None else None
    return VmView(
        instance_id=binding.instance_id,
        state="not shown by EC2 any more" if machine is None else machine.state,
        instance_type=binding.instance_type,
        zone=binding.zone,
        capacity_type=binding.capacity_type,
        stage="" if stage in (None, BootStage.UNRECOGNISED) else str(stage).replace("_", " "),
        detail="" if mailbox is None else mailbox.detail,
        logs=lines.link(stack, stack.log_group("vms"), binding.instance_id),
    )
