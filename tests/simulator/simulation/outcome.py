"""What must come of the main job, on the virtual clock: the world in which every stage of both chains is missed.

The twin of tests/scenario/test_end_to_end.py, in which nothing waits for real time. `wrong` says what is not as it
should be; with a stage taken out it must say something.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from agent_stack.domain.measures import Function, Metric
from tests.simulator.buildkite import AGENT_TOKEN, JobState, Step
from tests.simulator.cloud import Instance
from tests.simulator.simulation.invariants import BrokenPromise
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.random_run import push_pipeline
from tests.simulator.simulation.simulation import Simulation

SETTLES_SECONDS = 240.0
"""Two boots and a reservation; a world that needs longer waits until something else makes good what is missing."""

LISTED_SECONDS = 75.0  # who waits for half a minute is on the list, and told of with the next look at it
SLOW_TYPE, SLOW_SECONDS = "t3.nano", 70.0  # longer than a reservation
CLASSES = json.dumps(
    {
        "classes": {
            "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"},
            "slow": {"instance_types": [SLOW_TYPE], "image": "ami-0123456789abcdef0"},
        },
        "default_class": "default",
    }
)
SETTINGS = {
    **QUICK,
    "READ_JOB_ENVIRONMENT": "true",
    "RESERVATION_SECONDS": "40",
    "UNASSIGNED_TIMEOUT_SECONDS": "150",
    "LAUNCH_DEADLINE_SECONDS": "150",
    "SWEEP_GRACE_SECONDS": "90",
    "MAX_INSTANCES": "20",
}
OLDER = {"version": "0.0.0"}
ENDS = {
    "hello": ("finished", 0),
    "tests": ("finished", 0),
    "failing": ("finished", 3),
    "cancelled-early": ("canceled", None),
    "cancelled-late": ("canceled", -1),
    "unknown-class": ("finished", -1),
    "long": ("finished", 0),
    "slow": ("finished", 0),
    "dying": ("finished", 0),
}


def stages() -> tuple[str, ...]:
    """Every stage of both chains, in order, as they are wired."""
    simulation = _world("")
    for function in ("dispatcher", "tracker"):
        simulation.wired(function)
    return tuple(stage for function in ("dispatcher", "tracker") for stage in simulation.stages[function])


def wrong(without: str = "") -> str:
    """What is not as it should be when that stage is taken out; empty when all is well."""
    for look in (_main_job, _waiting_jobs, _failed_boots, _standby_vms):
        try:
            for problem in look(without):
                return problem
        except (BrokenPromise, RuntimeError) as error:
            return str(error)
    return ""


def _world(without: str, classes: str = CLASSES, temper: Temper | None = None, **settings: str) -> Simulation:
    pending_of = {SLOW_TYPE: timedelta(seconds=SLOW_SECONDS)}
    return Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(pending_of=pending_of), temper=temper or Temper()),
        settings={**SETTINGS, **settings},
        classes=classes,
        without=without,
    )


def _main_job(without: str) -> Iterator[str]:
    """The demo's pipeline, a job whose VM boots for longer than a reservation, and one whose first VM is lost."""
    simulation = _world(without)
    _register_as_an_older_version(simulation)
    orphan = simulation.ec2.launch_orphan(tags={DEPLOYMENT_TAG: simulation.settings.deployment}, subnet_id="subnet-a")
    stranger = simulation.ec2.launch_orphan(tags={DEPLOYMENT_TAG: "another"}, subnet_id="subnet-a")
    simulation.run(52)  # the tracker's next look is near: it went home, for nothing lives
    push_pipeline(simulation)
    steps = [
        Step(key="slow", env={"SIM_SECONDS": "1", "AGENT_STACK_EC2_CLASS": "slow"}),
        Step(key="dying", env={"SIM_SECONDS": "1"}),
    ]
    build = simulation.buildkite.create_build(steps=steps)
    slow, dying = build.job_id("slow"), build.job_id("dying")
    _lose_the_first_vm(simulation, dying)
    simulation.run(140)
    _settle(simulation, stranger)

    jobs = {job.key or job.id: job for job in simulation.buildkite.jobs()}
    ends = {key: (str(job.state), job.exit_status) for key, job in jobs.items()}
    for key, end in ENDS.items():
        if ends.get(key) != end:
            yield f"job {key} is {ends.get(key)}, not {end}"
    for key, job in jobs.items():
        if not job.notifications and key != "unknown-class":
            yield f"the build page of {key} got no notification"
    runs = Counter(run.job_id for run in simulation.store.history)
    if runs != Counter(job.id for job in jobs.values()):
        yield f"the history holds {sum(runs.values())} runs, not one for each of {len(jobs)} jobs"
    attempts = {str(run.job_id): run.attempt for run in simulation.store.history}
    if (attempts.get(slow), attempts.get(dying)) != (1, 2):
        yield f"slow and dying got {attempts.get(slow)} and {attempts.get(dying)} VMs, not 1 and 2"
    instances = {instance.instance_id: instance for instance in simulation.ec2.instances()}
    if [i.instance_type for i in instances.values()].count(SLOW_TYPE) != 1:
        yield "not one VM is of the type that a job's environment asked for"
    if [dict(stack.metadata) for stack in simulation.buildkite.stacks()] == [OLDER]:
        yield "the stack is registered as the version before this one left it"
    yield from _of_the_cancelled(simulation, jobs["cancelled-early"].id)
    yield from (f"Buildkite: {v.rule}: {v.detail}" for v in simulation.buildkite.violations())
    yield from _of_orphans(simulation, instances[orphan.instance_id], instances[stranger.instance_id])
    yield from _of_measures(simulation)


def _waiting_jobs(without: str) -> Iterator[str]:
    """More jobs than VMs may live: those that wait must read why."""
    simulation = _world(without, MAX_INSTANCES="1")
    simulation.run(2)
    jobs = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "80"})] * 2).job_ids
    simulation.run(LISTED_SECONDS)
    notices_sent = [n.detail for job in jobs for n in simulation.buildkite.job(job).notifications]
    if sum(text.startswith("Waiting: ") for text in notices_sent) != 1:
        yield f"of two jobs one waits, and was not told why: {notices_sent}"


def _failed_boots(without: str) -> Iterator[str]:
    """A job none of whose VMs boots, where one of them is to stay up for a person."""
    simulation = _world(without, temper=Temper(fails_booting=1.0), HOLD_ON_FAILURE_MINUTES="1")
    simulation.run(2)
    (job_id,) = simulation.buildkite.create_build(steps=[Step()]).job_ids
    simulation.run(SETTLES_SECONDS)
    held = [vm.instance_id for vm in simulation.vms.values() if vm.held_until is not None]
    if len(held) != 1:
        yield f"VMs {held} stayed up after their boot failed, not one"
    if simulation.buildkite.job(job_id).exit_status != -1:
        yield "a job that no VM could run was not finished"
    yield from simulation.laws.unsettled()


def _standby_vms(without: str) -> Iterator[str]:
    """Two idle VMs fill the deployment: one takes a job at once, the other makes room for another class's job."""
    document = json.loads(CLASSES)
    document["classes"]["default"]["standby"] = {"hot": 2}
    document["classes"]["other"] = {"instance_types": ["c7i.large"], "image": "ami-0123456789abcdef0"}
    simulation = _world(without, classes=json.dumps(document), MAX_INSTANCES="2")
    simulation.run(70)
    (job,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "60"})]).job_ids
    simulation.run(5)
    if simulation.buildkite.job(job).state is not JobState.RUNNING:
        yield f"a job for which a VM stands by is {simulation.buildkite.job(job).state} after 5 s"
    other = Step(env={"SIM_SECONDS": "1"}, agents=["class=other"])
    (cold,) = simulation.buildkite.create_build(steps=[other]).job_ids
    simulation.run(40)
    if simulation.buildkite.job(cold).state is not JobState.FINISHED:
        yield f"a job whose room an idle VM had is {simulation.buildkite.job(cold).state} after 40 s"


def _settle(simulation: Simulation, stranger: Instance) -> None:
    """Wait until nothing is left to do.

    Raises:
        BrokenPromise: it never comes to that.
    """
    left: Callable[[], list[str]] = lambda: [p for p in simulation.laws.unsettled() if stranger.instance_id not in p]  # noqa: E731  (asked twice)
    simulation.make_peace()
    retry_until = simulation.kernel.now() + timedelta(seconds=SETTLES_SECONDS)
    while left() and simulation.kernel.now() < retry_until:
        simulation.run(5)
    for problem in left():
        raise BrokenPromise(problem)


def _lose_the_first_vm(simulation: Simulation, job_id: str) -> None:
    """As soon as it has one, and before its agent has the job."""
    run = simulation.store.runs.get(job_id)  # type: ignore[call-overload]  # a JobId is text
    if run is not None and run.binding is not None:
        simulation.ec2.lose_host(run.binding.instance_id)
    elif simulation.buildkite.job(job_id).state in {JobState.SCHEDULED, JobState.RESERVED}:
        simulation.kernel.after(timedelta(seconds=0.5), "", lambda: _lose_the_first_vm(simulation, job_id))


def _register_as_an_older_version(simulation: Simulation) -> None:
    """What a deployment before this one left with Buildkite."""
    stack = {"key": "stack-default", "type": "custom", "queue_key": "default", "metadata": OLDER}
    token = {"Authorization": f"Token {AGENT_TOKEN}"}
    simulation.http.post("/stacks/register", json=stack, headers=token).raise_for_status()


def _of_the_cancelled(simulation: Simulation, job_id: str) -> Iterator[str]:
    """It was cancelled while its VM booted: that is ended at once, and not left to find out by itself."""
    arns = [arn for arn, box in simulation.store.boxes.items() if box.assignment.job_id == job_id]
    vms = [i for i in simulation.ec2.instances() if any(arn.endswith(i.instance_id) for arn in arns)]
    if [vm.reason for vm in vms] != ["Client.UserInitiatedShutdown"]:
        yield f"the VMs of a job that was cancelled while they booted ended by {[vm.reason for vm in vms]}"


def _of_orphans(simulation: Simulation, orphan: Instance, stranger: Instance) -> Iterator[str]:
    if (orphan.state, orphan.reason) != ("terminated", "Client.UserInitiatedShutdown"):
        yield f"the VM nobody asked for is {orphan.state} {orphan.reason}"
    if stranger.reason == "Client.UserInitiatedShutdown":
        yield "the VM of another deployment was terminated"
    swept = {
        fields["instance_id"] for _, message, fields in simulation.telemetry.records if message == "orphan_terminated"
    }
    if swept != {orphan.instance_id}:
        yield "a job's VM was left for the sweep to find"


def _of_measures(simulation: Simulation) -> Iterator[str]:
    measured = {of for metric, of, _ in simulation.telemetry.measured if metric is Metric.CYCLES_COMPLETED}
    for function in Function:
        if function not in measured:
            yield f"the {function} has no heartbeat"
