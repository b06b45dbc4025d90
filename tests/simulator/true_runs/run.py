"""One true run: twenty jobs, a hostile proxy in front of every service, and deaths at random milliseconds."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from tests.simulator.buildkite import JobState, Limits, Step
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.demo.judgement import settled
from tests.simulator.demo.pipeline import Cancel, Demo, Ran
from tests.simulator.true_runs.faults import FaultPlan
from tests.simulator.true_runs.judgement import Bounds, problems
from tests.simulator.true_runs.kills import Killer, kills
from tests.simulator.true_runs.patience import Patience
from tests.simulator.true_runs.proxy import Proxies
from tests.simulator.world import FUNCTIONS, Plan, World

PATIENCE_SECONDS = 240.0
BOUNDS = Bounds(instances=12, attempts=6)
SHARE = {"buildkite": 0.06, "buildkite agents": 0.06, "aws": 0.04, "ec2": 0.06, "vm": 0.05}
PARAMETERS = {
    "MaxInstances": str(BOUNDS.instances),
    "MaxLaunchAttempts": str(BOUNDS.attempts),
    "LaunchDeadlineSeconds": "600",  # nothing here may end a job but what happens to its VMs
    "SweepGraceSeconds": "20",
    "UnassignedTimeoutSeconds": "30",
    "JobGraceSeconds": "5",
}
BUILDKITE = BuildkiteSettings(limits=Limits(agent_lost_after=timedelta(seconds=20)), heartbeat_interval_seconds=5)
"""A lost agent is missed soon, because otherwise the run would wait three minutes for it."""

KINDS: tuple[tuple[Step, Demo], ...] = (
    (Step(label="Says hello", command="echo hello"), Demo()),
    (Step(label="Works for two seconds", command="for n in 1 2 3 4; do echo $n; sleep 0.5; done"), Demo()),
    (Step(label="Fails with exit 3", command="exit 3"), Demo(expect=Ran(exit_status=3))),
    (Step(label="Is cancelled while its VM boots", command="sleep 60"), Demo(cancel=Cancel.BOOTING)),
    (Step(label="Is cancelled while it runs", command="sleep 60"), Demo(cancel=Cancel.RUNNING)),
    (Step(label="Writes a long log", command="seq 1 5000"), Demo()),
    (Step(label="Works for five seconds", command="sleep 5", priority=3), Demo()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one run."""

    seed: int
    jobs: int
    vms: int
    kills: int
    faults: int
    requests: int
    seconds: float
    problems: tuple[str, ...]
    lines: tuple[str, ...] = field(repr=False)


def play(seed: int, *, jobs: int = 20, deaths: int = 8, functions: Path = FUNCTIONS) -> Result:
    """Play the run of that seed, by those functions."""
    began = time.monotonic()
    lines: list[str] = []
    proxies = Proxies(FaultPlan(seed=seed, share=SHARE))
    plan = Plan(
        parameters=PARAMETERS,
        buildkite=BUILDKITE,
        schedule_seed=seed,
        pending=(timedelta(seconds=1), timedelta(seconds=3)),
        between=proxies.open,
        functions=functions,
    )
    world = World(plan, on_line=lambda function, line: lines.append(f"{function} {line}"))
    try:
        with world:
            world.start()
            strangers = frozenset({a_stranger(world)})
            expected = _begin(world, seed, jobs)
            killer = Killer(world, kills(seed, deaths))
            killer.start()
            world.on_leaving(killer.close)
            over = _until_settled(world, expected, strangers)
            found = [] if over else [f"not over after {PATIENCE_SECONDS:.0f} s"]
            found += problems(world, expected, bounds=BOUNDS, lines=lines, killed=killer.vms, strangers=strangers)
            vms = len(world.ec2.instances()) - len(strangers)
    finally:
        proxies.close()
    found += [f"still running: {process}" for process in world.processes_left()]
    exchanges = proxies.exchanges()
    return Result(
        seed=seed,
        jobs=jobs,
        vms=vms,
        kills=len(killer.done),
        faults=sum(exchange.fault is not None for exchange in exchanges),
        requests=len(exchanges),
        seconds=time.monotonic() - began,
        problems=tuple(found),
        lines=tuple(lines),
    )


def a_stranger(world: World) -> str:
    """A VM of somebody else, which nothing of ours may touch."""
    (subnet, *_) = world.deployed.environments["tracker"]["SUBNET_IDS"].split(",")
    sleeps = b"#!/bin/sh\nexec sleep 3600\n"
    return world.ec2.launch_orphan(tags={DEPLOYMENT_TAG: "another"}, subnet_id=subnet, user_data=sleeps).instance_id


def _begin(world: World, seed: int, jobs: int) -> Mapping[str, Demo]:
    """Two builds of mixed jobs; what each must come to, by job id."""
    chance = random.Random(f"{seed} jobs")
    chosen = [*KINDS, *chance.choices(KINDS, k=jobs)][:jobs]
    chance.shuffle(chosen)
    expected: dict[str, Demo] = {}
    for part in (chosen[::2], chosen[1::2]):
        if part:
            build = world.buildkite.create_build("true-run", steps=[step for step, _ in part])
            expected |= {job_id: demo for job_id, (_, demo) in zip(build.job_ids, part, strict=True)}
    return expected


def _until_settled(world: World, expected: Mapping[str, Demo], strangers: frozenset[str]) -> bool:
    """Press Cancel where it is due, until nothing happens any more; whether that came in time."""
    to_cancel = {job_id: demo.cancel for job_id, demo in expected.items() if demo.cancel is not None}
    patience = Patience(PATIENCE_SECONDS)
    while patience.lasts():
        bound = set(world.assignments().values())
        for job_id, when in tuple(to_cancel.items()):
            running = world.buildkite.job(job_id).state is JobState.RUNNING
            if running or (when is Cancel.BOOTING and job_id in bound):
                world.buildkite.cancel_job(job_id)
                del to_cancel[job_id]
        if settled(world, strangers=strangers):
            return True
        time.sleep(0.3)
    return False
