"""Whether a true run went as it should, by what the servers saw: nothing doubled, nothing lost, nothing left."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.adapters.ec2.requests import INTENT_TAG
from tests.simulator.buildkite import JobState, JobView, Operation
from tests.simulator.buildkite.access_log import AccessRecord
from tests.simulator.cloud import Instance
from tests.simulator.demo.judgement import OVER, unsettled
from tests.simulator.demo.pipeline import Demo, Ran
from tests.simulator.world import World

TOLD_AT_MOST = 20
OK = 300
TRACEBACK = "Traceback (most recent call last)"
SHELL_ERRORS = ("unbound variable", "syntax error", "command not found")
"""What bash says when a program of ours is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What no fault and no death may exceed."""

    instances: int
    attempts: int


def problems(
    world: World,
    expected: Mapping[str, Demo],
    *,
    bounds: Bounds,
    lines: Sequence[str],
    killed: Collection[str] = (),
    strangers: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """Everything that is not as it should be.

    Args:
        expected: by job id.
        lines: what the functions wrote.
        killed: instances that died by our hand; a job that an agent had on one may end as lost.
        strangers: instances that are none of ours; they stay.
    """
    log = [record for record in world.buildkite.access_log() if record.status < OK]
    assignments = world.assignments()
    for violation in world.buildkite.violations():
        yield f"Buildkite: {violation.rule}: {violation.detail}"
    for job in world.buildkite.jobs():
        vms = [instance_id for instance_id, job_id in assignments.items() if job_id == job.id]
        mine = [record for record in log if job.id in record.job_ids]
        for problem in problems_of_job(job, expected[job.id], mine, vms=vms, killed=killed, attempts=bounds.attempts):
            yield f"{job.label}: {problem}"
    yield from unsettled(world, strangers=strangers)
    ending = world.plan.shutting_down
    yield from problems_of_vms(world.ec2.instances(), most=bounds.instances, strangers=strangers, ending=ending)
    yield from _in_logs(world, lines)


def problems_of_job(
    job: JobView,
    demo: Demo,
    log: Sequence[AccessRecord],
    *,
    vms: Collection[str],
    killed: Collection[str],
    attempts: int,
) -> Iterator[str]:
    """What is not as it should be with one job.

    Args:
        log: the requests about it that Buildkite granted.
        vms: those that its mailboxes were of.
    """
    acquired = sum(record.operation == Operation.AGENT_ACQUIRE_JOB for record in log)
    finished = sum(record.operation == Operation.FINISH_JOB for record in log)
    if acquired > 1:
        yield f"acquired {acquired} times"
    if finished > 1 or (finished and acquired):
        yield f"finished {finished} times by the stack, after {acquired} acquisitions"
    if len(vms) > attempts:
        yield f"had {len(vms)} VMs, at most {attempts} may be"
    if job.reserved_by is not None and job.state in OVER:
        yield "is over and still reserved"
    told = Counter(notification.detail for notification in job.notifications)
    for detail, count in told.items():
        if count > 1:
            yield f"its page was told {count} times: {detail}"
    if told.total() > TOLD_AT_MOST:
        yield f"its page was told {told.total()} lines"
    if not vms:
        yield "no VM was ever bound to it"
    yield from _end(job, demo, acquired=acquired, vms=vms, killed=killed, attempts=attempts)


def _end(
    job: JobView, demo: Demo, *, acquired: int, vms: Collection[str], killed: Collection[str], attempts: int
) -> Iterator[str]:
    """How it ended, and whether that may be."""
    if demo.cancel is not None:
        if job.state is not JobState.CANCELED:
            yield f"is {job.state} with exit {job.exit_status} ({_reason(job)}), not canceled"
        return
    wanted = demo.expect if isinstance(demo.expect, Ran) else Ran()
    if job.state is JobState.FINISHED and job.exit_status == wanted.exit_status and acquired == 1:
        return
    if job.stack_finish is not None and len(vms) >= attempts:
        return  # the limit that an operator set, and the reason is on its page
    host = job.agent_name.rpartition("i-")[2] if job.agent_name else ""
    if acquired == 1 and f"i-{host}" in killed:
        return  # Buildkite lost the agent, or the agent was stopped under its job
    yield f"is {job.state} with exit {job.exit_status} ({_reason(job)}), not {wanted.exit_status}; {len(vms)} VMs"


def _reason(job: JobView) -> str | None:
    return job.stack_finish.detail if job.stack_finish else job.end_detail or job.signal_reason


def problems_of_vms(
    instances: Sequence[Instance], *, most: int, strangers: Collection[str], ending: timedelta
) -> Iterator[str]:
    """What is not as it should be with the VMs, by EC2's own record.

    Args:
        ending: how long an instance is shutting down, in which it takes no room any more.
    """
    for instance in instances:
        if instance.instance_id in strangers and instance.state != "running":
            yield f"{instance.instance_id} is none of ours and is {instance.state}"
    ours = [instance for instance in instances if INTENT_TAG in instance.tags]
    moments: list[tuple[datetime, int]] = []
    for instance in ours:
        moments.append((instance.launched_at, 1))
        if instance.terminated_at is not None:
            moments.append((instance.terminated_at - ending, -1))
    up = 0
    for _, change in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        up += change
        if up > most:
            yield f"{up} VMs at once, at most {most} may be"
            return


def _in_logs(world: World, logged: Sequence[str]) -> Iterator[str]:
    """No program of ours may fail in a way that nobody thought of."""
    for line in logged:
        if TRACEBACK in line:
            yield f"a function's log: {line[-600:]}"
    for instance in world.ec2.instances():
        try:
            console = world.machines.vm(instance.instance_id).console()
        except KeyError:  # it never ran
            continue
        lines = console.splitlines()
        for number, line in enumerate(lines):
            if TRACEBACK in line or any(error in line for error in SHELL_ERRORS):
                yield f"the console of {instance.instance_id}: {' | '.join(lines[number : number + 12])}"
