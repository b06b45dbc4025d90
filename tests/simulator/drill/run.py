"""The drill itself: each version takes over from the other while VMs boot, and while jobs run."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from tests.simulator.buildkite import JobState, Limits, Step
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.demo.judgement import settled, unsettled
from tests.simulator.demo.pipeline import Cancel, Demo, Ran
from tests.simulator.drill.versions import Deployment, DrillError, Version, deployment_over
from tests.simulator.true_runs.judgement import Bounds, problems
from tests.simulator.true_runs.patience import Patience
from tests.simulator.world import Plan, World, log_record

PATIENCE_SECONDS = 120.0
BOUNDS = Bounds(instances=20, attempts=4)
UNREAD = ("unreadable", "unrecognised", "not_read")
"""What is in a message when a version cannot read what the other one wrote."""

JOBS: tuple[tuple[Step, Demo], ...] = (
    (Step(label="Says hello", command="echo hello"), Demo()),
    (Step(label="Works for eight seconds", command="sleep 8"), Demo()),
    (Step(label="Works for ten seconds", command="sleep 10"), Demo()),
    (Step(label="Fails with exit 3", command="sleep 4; exit 3"), Demo(expect=Ran(exit_status=3))),
    (Step(label="Is cancelled while its VM boots", command="sleep 60"), Demo(cancel=Cancel.BOOTING)),
    (Step(label="Is cancelled while it runs", command="sleep 60"), Demo(cancel=Cancel.RUNNING)),
    (Step(label="Loses its VM while that boots", command="sleep 3"), Demo()),
)


@dataclass(slots=True)
class Drill:
    """One drill: its world, what its jobs must come to, and what was logged."""

    old: Version
    new: Version
    say: Callable[[str], None]
    expected: dict[str, Demo] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)

    def play(self) -> list[str]:
        """Play it; everything that is not as it should be."""
        plan = Plan(
            parameters={
                "MaxInstances": str(BOUNDS.instances),
                "MaxLaunchAttempts": str(BOUNDS.attempts),
                "LaunchDeadlineSeconds": "600",
                "SweepGraceSeconds": "20",
            },
            buildkite=BuildkiteSettings(
                limits=Limits(agent_lost_after=timedelta(seconds=20)), heartbeat_interval_seconds=5
            ),
            pending=(timedelta(seconds=2), timedelta(seconds=6)),
            functions=self.old.functions,
            template=self.old.template,
        )
        with World(plan, on_line=lambda function, line: self.lines.append(f"{function} {line}")) as world:
            # Made beforehand: moto takes seconds, in which the jobs would go on to another moment.
            upgrade = deployment_over(world, self.new, number=2)
            rollback = deployment_over(world, self.old, number=3)
            world.start()
            self._part(world, "upgrade while VMs boot", upgrade, when=_boots)
            self._part(world, "rollback while jobs run", rollback, when=_runs)
            self._part(world, "upgrade while jobs run", upgrade.again(number=4), when=_runs)
            self._part(world, "rollback while VMs boot", rollback.again(number=5), when=_boots)
            found = list(problems(world, self.expected, bounds=BOUNDS, lines=self.lines, killed=self.lost))
            found += self._unread()
        found += [f"still running: {process}" for process in world.processes_left()]
        return found

    def _part(
        self, world: World, name: str, deployment: Deployment, *, when: Callable[[World, Mapping[str, Demo]], bool]
    ) -> None:
        """Jobs of one build, in the middle of which a version is deployed."""
        build = world.buildkite.create_build("drill", steps=[step for step, _ in JOBS])
        mine = {job_id: demo for job_id, (_, demo) in zip(build.job_ids, JOBS, strict=True)}
        self.expected |= mine
        _until(lambda: when(world, mine), f"{name}: the moment did not come")
        deployment.take_effect(world)
        states = Counter(str(world.buildkite.job(job_id).state) for job_id in mine)
        self.say(f"{name}: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")
        self._lose_a_vm(world, build.job_ids[-1])
        self._finish(world, mine, name)
        self.say(f"{' ' * len(name)}  all {len(mine)} are over")

    def _lose_a_vm(self, world: World, job_id: str) -> None:
        """The host under the VM of that job fails, while it boots where that can be had."""
        with suppress(IndexError):
            vm = world.vms_of(job_id)[-1].instance_id
            self.lost.add(vm)
            world.ec2.lose_host(vm)

    def _finish(self, world: World, mine: Mapping[str, Demo], name: str) -> None:
        to_cancel = {job_id: demo.cancel for job_id, demo in mine.items() if demo.cancel is not None}

        def over() -> bool:
            for job_id, when in tuple(to_cancel.items()):
                if when is Cancel.BOOTING or world.buildkite.job(job_id).state is JobState.RUNNING:
                    world.buildkite.cancel_job(job_id)
                    del to_cancel[job_id]
            return settled(world)

        try:
            _until(over, f"{name}: not over")
        except DrillError as error:
            raise DrillError(f"{error}: {'; '.join(unsettled(world))}") from None

    def _unread(self) -> list[str]:
        """What one version wrote and the other could not read."""
        records = [(line, log_record(line.partition(" ")[2])) for line in self.lines]
        return [
            f"not read: {line[:300]}"
            for line, record in records
            if record is not None and any(word in str(record["message"]) for word in UNREAD)
        ]


def _boots(world: World, mine: Mapping[str, Demo]) -> bool:
    """At least half of the jobs have a VM, and no job an agent yet."""
    bound = mine.keys() & set(world.assignments().values())
    return 2 * len(bound) >= len(mine)


def _runs(world: World, mine: Mapping[str, Demo]) -> bool:
    """At least two jobs run."""
    return sum(world.buildkite.job(job_id).state is JobState.RUNNING for job_id in mine) >= 2


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    patience = Patience(PATIENCE_SECONDS)
    while not holds():
        if not patience.lasts():
            raise DrillError(f"{otherwise} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)
