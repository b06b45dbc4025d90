"""What happens to a world from outside: which jobs come, what people do, and which faults are scripted."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG
from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.cloud import Instance
from tests.simulator.cloud.refusals import Refusal
from tests.simulator.simulation.simulation import Simulation

STORY_SECONDS = 150.0

PIPELINE = (
    Step(key="hello", env={"SIM_SECONDS": "1"}),
    Step(key="tests", env={"SIM_SECONDS": "5"}, priority=5),
    Step(key="failing", env={"SIM_SECONDS": "1", "SIM_EXIT": "3"}),
    Step(key="cancelled-early"),
    Step(key="cancelled-late", env={"SIM_SECONDS": "60"}),
    Step(key="unknown-class", agents=["class=gpu-of-the-future"]),
    Step(key="long", env={"SIM_SECONDS": "20"}),
)
"""The demo's seven jobs, with their times in the environment."""

STACKS_FAULTS = (
    Operation.LIST_SCHEDULED_JOBS,
    Operation.RESERVE_JOBS,
    Operation.GET_JOB_STATES,
    Operation.NOTIFY,
    Operation.FINISH_JOB,
    Operation.ISSUE_ACQUISITION_TOKENS,
    Operation.REGISTER_STACK,
    Operation.AGENT_REGISTER,
)
EC2_FAULTS = ("CreateFleet", "DescribeInstances", "TerminateInstances")


REFUSALS: tuple[Mapping[str, Any], ...] = (
    {"code": "InvalidAMIID.NotFound", "tags": {CLASS_TAG: "spot"}},
    {"code": "UnauthorizedOperation", "where": "request", "tags": {CLASS_TAG: "spot"}},
    {"code": "InvalidParameterValue", "pool": "*:m7i.large:*"},
    {"code": "InvalidParameterValue", "where": "answer", "tags": {CLASS_TAG: "spot"}},
    {"code": "NeverHeardOf"},
    {"code": "NeverHeardOfEither", "where": "request", "chance": 0.5},
    {"code": "InternalError", "where": "request", "pool": "spot:*:*"},
    {"code": "ServiceUnavailable", "where": "request", "chance": 0.7},
    {"code": "InsufficientInstanceCapacity", "where": "request", "pool": "spot:*:*"},
    {"code": "MaxFleetCountExceeded", "where": "request"},
    {"code": "VcpuLimitExceeded", "where": "answer", "chance": 0.5},
    {"code": "RequestLimitExceeded", "rest": "UnfulfillableCapacity", "chance": 0.5},
    {"code": "InsufficientFreeAddressesInSubnet", "subnet": "subnet-a"},
    {"code": "PendingVerification", "where": "request"},
)


def refusals(chance: random.Random) -> tuple[Refusal, ...]:
    """What EC2 refuses in a world, from when and for how long: nothing in half of them."""
    if chance.random() < 0.5:
        return ()
    return tuple(
        Refusal(
            **chance.choice(REFUSALS),
            starts=timedelta(seconds=chance.choice([0, 0, 20, 60])),
            lasts=timedelta(seconds=chance.choice([20, 80, 150])),
        )
        for _ in range(chance.choice([1, 1, 2]))
    )


@dataclass(slots=True, kw_only=True)
class RandomRun:
    """Events to come, numbered in the order in which they were thought of."""

    simulation: Simulation
    without: frozenset[str]
    events: int = 0

    def at(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """Let that happen then, unless there is peace by then or it is to be left out."""
        self.events += 1
        if f"s{self.events}" in self.without:
            return
        self.simulation.kernel.after(
            timedelta(seconds=seconds), name, lambda: action() if self.simulation.faulty else None
        )


def write(simulation: Simulation, chance: random.Random, without: frozenset[str]) -> RandomRun:
    """Write one."""
    story = RandomRun(simulation=simulation, without=without)
    kernel = simulation.kernel
    story.at(chance.uniform(0, 5), "a build is pushed", lambda: push_pipeline(simulation))
    for _ in range(chance.randint(0, 5)):
        step = Step(
            env={"SIM_SECONDS": str(chance.randint(1, 40)), "SIM_EXIT": str(chance.choice([0, 0, 1]))},
            agents=chance.choice([[], [], ["class=spot"], ["class=none"]]),
            priority=chance.randint(-1, 3),
            retry_automatic_limit=chance.choice([0, 0, 1]),
        )
        story.at(chance.uniform(0, 100), "a job is pushed", partial(_push, simulation, step, chance))
    if chance.random() < 0.5:
        simulation.send_hints()
    if chance.random() < 0.2:
        endless = Step(env={"SIM_SECONDS": "5000"})
        story.at(chance.uniform(0, 100), "a job without end is pushed", partial(_push, simulation, endless, chance))
    for _ in range(chance.choice([0, 0, 2])):
        story.at(chance.uniform(10, STORY_SECONDS), "a VM nobody asked for", partial(_stray, simulation))
    if chance.random() < 0.3:
        begin = chance.uniform(0, 60)
        story.at(begin, "the queue is paused", lambda: _pause(simulation))
        kernel.after(timedelta(seconds=begin + chance.uniform(20, 80)), "", lambda: _resume(simulation))
    for _ in range(chance.choice([0, 4, 12])):
        operation = chance.choice(STACKS_FAULTS)
        fault = chance.choice(["fail", "lose_answer", "lose_request", "cut_answer"])
        script = partial(getattr(simulation.buildkite.faults, fault), operation, times=chance.choice([1, 2, 6]))
        story.at(chance.uniform(0, STORY_SECONDS), f"buildkite {fault} {operation}", script)
    for _ in range(chance.choice([0, 3, 8])):
        action = chance.choice(EC2_FAULTS)
        story.at(
            chance.uniform(0, STORY_SECONDS), f"ec2 fails {action}", partial(_ec2_fault, simulation, action, chance)
        )
    for _ in range(chance.choice([0, 1, 3])):
        story.at(chance.uniform(10, STORY_SECONDS), "", lambda: _take_a_vm(simulation, chance))
    return story


def slow_down(story: RandomRun, seed: int) -> None:
    """Let some answers of Buildkite's take seconds: a cycle with several of them outlives its lease."""
    chance = random.Random(f"{seed} slow answers")  # a stream of its own, so that it moves no other draw
    for _ in range(chance.choice([0, 0, 2, 6])):
        operation, seconds, times = chance.choice(STACKS_FAULTS), chance.uniform(1, 12), chance.choice([1, 2, 6])
        script = partial(story.simulation.buildkite.faults.delay_answer, operation, seconds=seconds, times=times)
        story.at(chance.uniform(0, STORY_SECONDS), f"buildkite is slow: {operation}", script)


def push_pipeline(simulation: Simulation) -> None:
    """The demo's pipeline, and its two cancellations."""
    build = simulation.buildkite.create_build(steps=PIPELINE)
    early, late = build.job_id("cancelled-early"), build.job_id("cancelled-late")

    def cancel_early() -> None:
        if early in simulation.store.runs and simulation.store.runs[early].binding is not None:  # type: ignore[index]  # a JobId is text
            cancel(simulation, early)
        elif simulation.faulty:
            simulation.kernel.after(timedelta(seconds=0.5), "", cancel_early)

    def cancel_late() -> None:
        if simulation.buildkite.job(late).state is JobState.RUNNING:
            cancel(simulation, late)
        elif simulation.faulty:
            simulation.kernel.after(timedelta(seconds=1), "", cancel_late)

    simulation.kernel.after(timedelta(seconds=0.5), "", cancel_early)
    simulation.kernel.after(timedelta(seconds=1), "", cancel_late)


def _push(simulation: Simulation, step: Step, chance: random.Random) -> None:
    (job_id,) = simulation.buildkite.create_build(steps=[step]).job_ids
    if chance.random() < 0.2:
        delay = timedelta(seconds=chance.uniform(0, 40))
        simulation.kernel.after(delay, "a job is cancelled", partial(cancel, simulation, job_id))


def cancel(simulation: Simulation, job_id: str) -> None:
    """Somebody presses the job's Cancel button."""
    simulation.coverage.at_job("job cancelled", job_id, simulation.store)
    simulation.buildkite.cancel_job(job_id)


def _stray(simulation: Simulation) -> None:
    """A VM that carries our tag and belongs to nothing, as after a restore of the ledger."""
    simulation.ec2.launch_orphan(tags={DEPLOYMENT_TAG: simulation.settings.deployment}, subnet_id="subnet-a")


def _pause(simulation: Simulation) -> None:
    simulation.buildkite.pause_queue("default")
    simulation.laws.paused_since = simulation.kernel.now()


def _resume(simulation: Simulation) -> None:
    simulation.buildkite.resume_queue("default")
    simulation.laws.paused_since = None


def _ec2_fault(simulation: Simulation, action: str, chance: random.Random) -> None:
    times = chance.choice([1, 2, 6])
    match chance.choice(["throttle", "lose", "server", "partial"]):
        case "throttle":
            simulation.ec2.faults.fail(action, "RequestLimitExceeded", status=503, times=times)
        case "lose":
            simulation.ec2.faults.lose_answer(action, times=times)
        case "server":
            simulation.ec2.faults.fail(action, "InternalError", status=500, times=times)
        case _:
            simulation.ec2.faults.errors_in_answer("InsufficientInstanceCapacity", times=times)


def _take_a_vm(simulation: Simulation, chance: random.Random) -> None:
    """Hardware fails, or spot capacity is taken back."""
    up = [instance for instance in simulation.ec2.instances() if instance.state in {"pending", "running"}]
    if not up:
        return
    take(simulation, chance.choice(up))


def take(simulation: Simulation, victim: Instance) -> None:
    """Take that VM away, by spot's ways or by a failing host."""
    spot = victim.capacity_type == "spot"
    simulation.coverage.at_vm("spot taken back" if spot else "host lost", victim.instance_id, simulation.store)
    if spot:
        simulation.kernel.note(f"{victim.instance_id} spot notice")
        simulation.take_back(victim.instance_id)
    else:
        simulation.kernel.note(f"{victim.instance_id} loses its host")
        simulation.ec2.lose_host(victim.instance_id)
