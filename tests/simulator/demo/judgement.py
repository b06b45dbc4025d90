"""Whether everything went as it should, by the simulated server's access log and not by what we meant to do."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from agent_stack.adapters.ec2.requests import HOLD_TAG
from tests.simulator.buildkite import FAILED_UNRUN, JobState, JobView, Operation, StepKind
from tests.simulator.buildkite.access_log import AccessRecord, ActorKind
from tests.simulator.cloud import Instance
from tests.simulator.demo.model import Cancel, Demo, Ran
from tests.simulator.vm.agent_log import command_output
from tests.simulator.world import World

FROM_REGISTER_TO_DISCONNECT = (
    Operation.AGENT_REGISTER,
    Operation.AGENT_CONNECT,
    Operation.AGENT_ACQUIRE_JOB,
    Operation.AGENT_START_JOB,
    Operation.AGENT_FINISH_JOB,
    Operation.AGENT_DISCONNECT,
)
OVER = FAILED_UNRUN | {
    *(JobState.FINISHED, JobState.CANCELED, JobState.EXPIRED, JobState.TIMED_OUT, JobState.SKIPPED, JobState.BROKEN)
}
"""Those of a job that waits for something that failed included: nothing happens with it any more."""


def settled(world: World, *, strangers: frozenset[str] = frozenset()) -> bool:
    """Nothing will happen any more: every job is over, every VM gone, every run closed."""
    return next(unsettled(world, strangers=strangers), None) is None


def unsettled(world: World, *, strangers: frozenset[str] = frozenset()) -> Iterator[str]:
    """What is not over yet.

    Args:
        strangers: instances that are none of ours.
    """
    for job in world.buildkite.jobs():
        if job.state not in OVER:
            yield f"{job.label}: still {job.state}"
    for instance in world.ec2.instances():
        if instance.state != "terminated" and instance.instance_id not in strangers:
            yield f"{instance.instance_id}: still {instance.state}"
    for kind in ("run", "intent"):
        for item in world.ledger_items(kind):
            yield f"{kind} {item['sk']['S']}: still in the ledger"


def standing_by(world: World) -> frozenset[str]:
    """VMs that wait for a job still, as they should."""
    taken = world.assignments()
    return frozenset(
        one.instance_id for one in world.ec2.instances() if HOLD_TAG in one.tags and one.instance_id not in taken
    )


def is_prepared(world: World) -> bool:
    """Whether one of them waits in its loop."""
    return any(
        one.state == "running"
        and one.instance_id in standing_by(world)
        and "stands by" in world.machines.said(one.instance_id)
        for one in world.ec2.instances()
    )


def problems(world: World, expected: Mapping[str, Demo], *, strangers: frozenset[str] = frozenset()) -> list[str]:
    """Everything that is not as it should be; empty when all is well.

    Args:
        expected: by job id.
    """
    log = world.buildkite.access_log()
    found = [f"Buildkite: {violation.rule}: {violation.detail}" for violation in world.buildkite.violations()]
    for job in world.buildkite.jobs():
        demo = expected.get(job.id, Demo())
        mine = [record for record in log if job.id in record.job_ids]
        found += [f"{job.label}: {problem}" for problem in _start(job, demo, world.vms_of(job.id))]
        found += [f"{job.label}: {problem}" for problem in _of_job(world, job, demo, mine, world.vms_of(job.id))]
    found += list(not_run(world.buildkite.jobs(), expected))
    found += list(unsettled(world, strangers=strangers))
    return found


def not_run(jobs: Sequence[JobView], expected: Mapping[str, Demo]) -> Iterator[str]:
    """Jobs that never began because of others, in one line: it is the others that must be looked at."""
    waited = [job.label for job in jobs if job.state in FAILED_UNRUN and job.kind is StepKind.COMMAND]
    meant = {job.label for job in jobs if expected.get(job.id, Demo()).expect == "not_run"}
    if surprised := [label for label in waited if label not in meant]:
        yield f"did not run, because a step that they wait for failed: {', '.join(surprised)}"


def _start(job: JobView, demo: Demo, vms: Sequence[Instance]) -> Iterator[str]:
    if demo.standby and not any(HOLD_TAG in vm.tags and vm.launched_at < job.scheduled_at for vm in vms):
        yield "it did not start on a VM that stood by"


def _of_job(
    world: World, job: JobView, demo: Demo, log: Sequence[AccessRecord], vms: Sequence[Instance]
) -> Iterator[str]:
    if job.kind is not StepKind.COMMAND or job.state in {JobState.SKIPPED, *FAILED_UNRUN}:
        if vms:
            yield f"a VM was started for it, though no agent may have it: {vms[0].instance_id}"
        return
    yield from _agent(world, job, demo, log, vms)
    yield from _end(job, demo, vms)


def _agent(
    world: World, job: JobView, demo: Demo, log: Sequence[AccessRecord], vms: Sequence[Instance]
) -> Iterator[str]:
    """Its VM and the agent there, and what its page was told."""
    if demo.cancel is not Cancel.BOOTING and demo.expect != "unmatched":
        yield from _agents_requests(world, job, log)
    elif _registrations(log):
        yield "an agent registered, though it never should have run"
    if demo.expect == "unmatched":
        yield from _unmatched(job, vms)
    elif not vms:
        yield "no VM was ever bound to it"
    elif demo.cancel is Cancel.BOOTING and not job.notifications:
        yield "its build page got no notification of its end"
    elif is_silent(job, log, vms):
        yield "its build page got no notification, though the tracker looked while its VM booted"


def is_silent(job: JobView, log: Sequence[AccessRecord], vms: Sequence[Instance]) -> bool:
    """Whether its page got no notification although the tracker asked for its state while its VM booted.

    A boot takes seconds here, and the tracker's schedule and its filter of events may leave such a one out.
    """
    running = job.entered(JobState.RUNNING) or job.timeline[-1][1]
    looks = [one.at for one in log if one.operation == Operation.GET_JOB_STATES and one.status < 300]
    return not job.notifications and any(vms[-1].running_at <= at <= running for at in looks)


def _end(job: JobView, demo: Demo, vms: Sequence[Instance]) -> Iterator[str]:
    if demo.cancel is Cancel.BOOTING:
        yield from _cancelled_early(job, vms)
    elif demo.cancel is Cancel.RUNNING:
        if job.state is not JobState.CANCELED:
            yield f"is {job.state}, not canceled"
    elif demo.expect == "not_run":
        yield f"is {job.state}, though a step that it waits for should have failed"
    elif isinstance(demo.expect, Ran):
        yield from _ended(job, demo.expect)
    elif demo.expect is None and job.retried_by is None and not job.soft_failed:
        yield from _ended(job, Ran())


def _agents_requests(world: World, job: JobView, log: Sequence[AccessRecord]) -> Iterator[str]:
    """Register … acquire … finish … disconnect: once each, in that order, by an agent the boot program started."""
    of_agent = [record for record in log if record.operation in FROM_REGISTER_TO_DISCONNECT and record.status < 300]
    agents = [agent for agent in world.buildkite.agents() if agent.for_job_id == job.id]
    if len(agents) != 1:
        yield f"{len(agents)} agents registered for it, not one"
        return
    everything = [*of_agent, *_of_session(world, agents[0].id)]
    order = [record.operation for record in sorted(everything, key=lambda record: record.at)]
    if order != list(FROM_REGISTER_TO_DISCONNECT):
        yield f"its agent asked {', '.join(str(operation) for operation in order)}"
    counts = Counter(record.operation for record in log if record.status < 300)
    if counts[Operation.AGENT_ACQUIRE_JOB] != 1:
        yield f"it was acquired {counts[Operation.AGENT_ACQUIRE_JOB]} times"
    instance_id = "i-" + agents[0].name.rpartition("i-")[2]
    if world.assignments().get(instance_id) != job.id:
        yield f"its agent {agents[0].name} does not come from a VM that it was bound to"
    elif not any("agent-stack-agent" in line for line in world.machines.vm(instance_id).effects()):
        yield f"no boot program on {instance_id} started its agent"


def _of_session(world: World, agent_id: str) -> Iterator[AccessRecord]:
    """The agent's connect, which names no job."""
    for record in world.buildkite.access_log():
        if record.operation == Operation.AGENT_CONNECT and record.actor.id == agent_id:
            yield record


def _registrations(log: Sequence[AccessRecord]) -> list[AccessRecord]:
    return [
        record
        for record in log
        if record.operation == Operation.AGENT_REGISTER or record.actor.kind is ActorKind.ACQUISITION_TOKEN
    ]


def _unmatched(job: JobView, vms: Sequence[Instance]) -> Iterator[str]:
    """It waits, and its page says once what it asks for. The demo presses Cancel when it was told."""
    if vms:
        yield f"a VM was started for it: {vms[0].instance_id}"
    if len(job.notifications) != 1:
        yield f"its build page got {len(job.notifications)} notifications, not one"
    if job.state is not JobState.CANCELED:
        yield f"is {job.state}, not canceled"


def _cancelled_early(job: JobView, vms: Sequence[Instance]) -> Iterator[str]:
    if job.state is not JobState.CANCELED:
        yield f"is {job.state}, not canceled"
    for instance in vms:
        if instance.reason != "Client.UserInitiatedShutdown":
            yield f"its VM was not terminated by the tracker but by {instance.reason}"


def _ended(job: JobView, expected: Ran) -> Iterator[str]:
    if job.state is not JobState.FINISHED or job.exit_status != expected.exit_status:
        yield f"is {job.state} with exit {job.exit_status}, not {expected.exit_status}{_why(job)}"
    written = len(command_output(job.log).splitlines())
    if expected.log_lines is not None and written != expected.log_lines:
        yield f"its command wrote {written} lines, not {expected.log_lines}"


def _why(job: JobView) -> str:
    """What is known of a failure: the stack's words, the service's, or the last line of the log."""
    if job.stack_finish is not None:
        return f": {job.stack_finish.detail.splitlines()[0]}"
    if job.end_detail:
        return f": {job.end_detail}"
    lines = [line for line in command_output(job.log).splitlines() if line.strip()]
    return f"; its log ends with: {lines[-1].strip()}" if lines else ""
