"""`python -m tests.simulator.demo [pipeline.yml]`: the demo. Exit 1 if anything is not as it should be."""

import argparse
import json
import queue
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from tests.simulator.buildkite import JobState
from tests.simulator.demo.judgement import is_prepared, problems, settled, standing_by, unsettled
from tests.simulator.demo.pipeline import Cancel, Demo, DemoStep, PipelineError, read_pipeline
from tests.simulator.demo.show import Show
from tests.simulator.lambda_host import THROTTLED, Completed
from tests.simulator.world import Plan, World, log_record, system_now

PIPELINE = Path(__file__).resolve().parents[3] / "scripts" / "demo-pipeline.yml"
PATIENCE_SECONDS = 130.0  # a job that no class fits is told after half a minute, by a tracker that runs each minute
SHAPE = {
    "instance_types": ["m7i.large", "m7a.large"],
    "image": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
    "root_device": "/dev/xvda",
    "volume_gib": 40,
}
CLASSES = json.dumps(
    {"classes": {"default": SHAPE, "hot": {**SHAPE, "standby": {"hot": 1}}}, "default_class": "default"}
)
BREAKS: Mapping[str, Mapping[str, str | None]] = {
    "token": {"token": None},
    "buildkite": {"endpoint": "http://127.0.0.1:9/v3"},
    "classes": {"classes": '{"classes": {"default": {"instance_types": []}}, "default_class": "default"}'},
}
"""What an operator may get wrong, to see how that looks."""

FATAL = frozenset({"cycle_failed", "stack_not_registered", "queue_not_listed"})
"""Nothing is broken here on purpose, so the first of these ends the demo."""


class StoppedError(Exception):
    """The functions cannot work; says why in one line."""


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("pipeline", nargs="?", type=Path, default=PIPELINE, help="a pipeline file; see the default")
    parser.add_argument("--break", dest="broken", choices=sorted(BREAKS), help="set one thing up wrongly")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        steps = read_pipeline(arguments.pipeline)
        return _run(steps, Plan(**{"classes": CLASSES, **BREAKS.get(arguments.broken, {})}))  # type: ignore[arg-type]  # the plan's own fields
    except (PipelineError, StoppedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Nothing is left running.\n")
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(steps: tuple[DemoStep, ...], plan: Plan) -> int:
    news: queue.Queue[str] = queue.Queue()

    def on_line(function: str, line: str) -> None:
        record = log_record(line)
        if record is not None and record["level"] == "ERROR" and record["message"] in FATAL:
            news.put(f"{function}: {record.get('error', record['message'])}")

    def on_completed(function: str, completed: Completed) -> None:
        if completed.error not in {None, THROTTLED}:
            news.put(f"{function}: {completed.error}")

    began = time.monotonic()
    sys.stdout.write("Setting up: Buildkite, DynamoDB and SSM, EC2, and the stack of template.yaml …\n")
    sys.stdout.flush()
    world = World(plan, on_line=on_line, on_completed=on_completed)
    with world:
        started_at = system_now()
        show = Show(started_at)
        world.buildkite.on_event(show.buildkite)
        world.ec2.on_event(show.ec2)
        world.start()
        expected = _push(world, [step for step in steps if not step.demo.standby])
        _watch(world, expected, [step for step in steps if step.demo.standby], news)
        ended_at = system_now()
        jobs = world.buildkite.jobs()
        show.starts(jobs, {job_id for job_id, demo in expected.items() if demo.standby})
        show.table(jobs, {job.id: world.vms_of(job.id) for job in jobs}, ended_at)
        idle = standing_by(world)
        found = problems(world, expected, strangers=idle)
        launches = sum(call.action == "CreateFleet" for call in world.ec2.calls())
        count = len(world.ec2.instances())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is short, and must not be cut off
    found += [f"still running: {process}" for process in world.processes_left()]
    for problem in found:
        sys.stdout.write(f"FAIL  {problem}\n")
    if not found:
        sys.stdout.write(
            f"PASS  {len(expected)} jobs, {count} VMs, {launches} CreateFleet, "
            f"{len(idle)} instances standing by and 0 processes left, {time.monotonic() - began:.0f} s.\n"
        )
    return 1 if found else 0


def _push(world: World, steps: Sequence[DemoStep]) -> dict[str, Demo]:
    """A build of these steps; what must come of each job."""
    build = world.buildkite.create_build("demo", steps=[step.step for step in steps])
    return {job_id: step.demo for job_id, step in zip(build.job_ids, steps, strict=True)}


def _watch(world: World, expected: dict[str, Demo], later: Sequence[DemoStep], news: "queue.Queue[str]") -> None:
    """Press Cancel where the pipeline says so, until nothing happens any more.

    For a job that no class fits that is when its page says so.

    Args:
        later: steps that come once a VM stands by; their jobs are added to `expected`.

    Raises:
        StoppedError: a function failed.
    """
    retry_until = time.monotonic() + PATIENCE_SECONDS
    to_cancel = {job_id: demo.cancel for job_id, demo in expected.items() if demo.cancel is not None}
    while time.monotonic() < retry_until:
        if not news.empty():
            raise StoppedError(news.get())
        if later and is_prepared(world):
            expected |= _push(world, later)
            later = ()
        bound = set(world.assignments().values()) if Cancel.BOOTING in to_cancel.values() else set()
        for job_id, demo in expected.items():
            job = world.buildkite.job(job_id)
            if demo.expect == "unmatched" and job.notifications and job.state is JobState.SCHEDULED:
                world.buildkite.cancel_job(job_id)
        for job_id, when in tuple(to_cancel.items()):
            running = world.buildkite.job(job_id).state is JobState.RUNNING
            if (when is Cancel.BOOTING and job_id in bound) or (when is Cancel.RUNNING and running):
                world.buildkite.cancel_job(job_id)
                del to_cancel[job_id]
        if not later and settled(world, strangers=standing_by(world)):
            return
        time.sleep(0.2)
    raise StoppedError("Not over in time: " + "; ".join(unsettled(world, strangers=standing_by(world))))


if __name__ == "__main__":
    sys.exit(main())
