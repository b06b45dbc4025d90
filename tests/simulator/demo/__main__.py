"""`python -m tests.simulator.demo [pipeline.yml]`: the demo. Exit 1 if anything is not as it should be."""

import argparse
import json
import os
import queue
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from tests.simulator.demo.judgement import is_prepared, problems, standing_by
from tests.simulator.demo.live import live_view
from tests.simulator.demo.pipeline import Pipeline, PipelineError, read_pipeline
from tests.simulator.demo.play import Play
from tests.simulator.demo.pretend import pretended
from tests.simulator.demo.show import Show
from tests.simulator.demo.snapshot import Camera
from tests.simulator.demo.watch import StoppedError, watch
from tests.simulator.demo.web import WebPage
from tests.simulator.lambda_host import THROTTLED, Completed
from tests.simulator.world import Plan, World, log_record, system_now

PIPELINE = Path(__file__).resolve().parents[3] / "scripts" / "demo-pipeline.yml"
SHAPE = {
    "instance_types": ["m7i.large", "m7a.large"],
    "image": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
    "root_device": "/dev/xvda",
    "volume_gib": 40,
}
CLASSES = json.dumps(
    {"classes": {"default": SHAPE, "hot": {**SHAPE, "standby": {"hot": 1}}}, "default_class": "default"}
)
SCHEDULE_SECONDS = 2.5
"""A boot takes five seconds here, and a tracker that looked before the first job drops events for fifteen."""

BREAKS: Mapping[str, Mapping[str, str | None]] = {
    "token": {"token": None},
    "buildkite": {"endpoint": "http://127.0.0.1:9/v3"},
    "classes": {"classes": '{"classes": {"default": {"instance_types": []}}, "default_class": "default"}'},
}
"""What an operator may get wrong, to see how that looks."""

FATAL = frozenset({"cycle_failed", "stack_not_registered", "queue_not_listed"})
"""Nothing is broken here on purpose, so the first of these ends the demo."""


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("pipeline", nargs="?", type=Path, default=PIPELINE, help="a pipeline file; see the default")
    parser.add_argument("--classes", type=Path, help="a class document in place of the demo's own")
    parser.add_argument("--break", dest="broken", choices=sorted(BREAKS), help="set one thing up wrongly")
    parser.add_argument(
        "--web", action="store_true", help="serve the build page, live, to this machine's browsers only"
    )
    parser.add_argument("--port", type=int, default=0, help="of the build page; any free one unless given")
    parser.add_argument(
        "--picture", type=Path, help="a PNG file for a picture of the build page halfway; needs Chromium"
    )
    parser.add_argument("--pretend", action="store_true", help="print each command in place of running it")
    parser.add_argument("--plain", action="store_true", help="a line for each event on a terminal, too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        pipeline = read_pipeline(arguments.pipeline, real_agent=bool(os.environ.get("BUILDKITE_AGENT_BINARY")))
        pipeline = pretended(pipeline) if arguments.pretend else pipeline
        classes = arguments.classes.read_text() if arguments.classes else CLASSES
        queues = tuple(dict.fromkeys(("default", *pipeline.queues)))
        given = {"classes": classes, **BREAKS.get(arguments.broken, {})}
        plan = Plan(schedule_seconds=SCHEDULE_SECONDS, parameters={"Queues": ",".join(queues)}, **given)  # type: ignore[arg-type]  # the plan's own fields
        return _run(pipeline, plan, queues[1:], arguments)
    except (OSError, PipelineError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Nothing is left running.\n")
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(pipeline: Pipeline, plan: Plan, queues: tuple[str, ...], arguments: argparse.Namespace) -> int:
    news: queue.Queue[str] = queue.Queue()

    def on_line(function: str, line: str) -> None:
        record = log_record(line)
        if record is not None and record["level"] == "ERROR" and record["message"] in FATAL:
            news.put(f"{function}: {record.get('error', record['message'])}")

    def on_completed(function: str, completed: Completed) -> None:
        if completed.error not in {None, THROTTLED}:
            news.put(f"{function}: {completed.error}")

    began = time.monotonic()
    for note in pipeline.notes:
        _say(f"{arguments.pipeline.name}, line {note.line}: {note.what}")
    _say("Setting up: Buildkite, DynamoDB and SSM, EC2, and the stack of template.yaml …")
    found: list[str] = []
    with World(plan, on_line=on_line, on_completed=on_completed) as world:
        for key in queues:
            world.buildkite.add_queue(key)
        play = Play(
            buildkite=world.buildkite,
            steps=pipeline.steps,
            env=pipeline.env,
            bound=lambda: frozenset(world.assignments().values()),
            standby_ready=lambda: is_prepared(world),
        )
        camera = Camera(
            buildkite=world.buildkite,
            ec2=world.ec2,
            assignments=world.assignments,
            now=system_now,
            name=arguments.pipeline.name,
            notes=[f"line {note.line}: {note.what}" for note in pipeline.notes],
        )
        show = Show(system_now())
        with _seen(world, show, camera, arguments) as page:
            world.start()
            camera.start()
            play.begin()
            try:
                watch(world, play, news, picture=(arguments.picture, camera) if arguments.picture else None)
            except StoppedError as error:
                found.append(str(error))
        jobs = world.buildkite.jobs()
        show.starts(jobs, {job_id for job_id, demo in play.expected.items() if demo.standby})
        show.table(jobs, {job.id: world.vms_of(job.id) for job in jobs}, system_now())
        idle = standing_by(world)
        found += [problem for problem in problems(world, play.expected, strangers=idle) if problem not in found]
        told = -1
        count, ran = len(world.ec2.instances()), sum(bool(world.vms_of(job.id)) for job in jobs)
        launches = sum(call.action == "CreateFleet" for call in world.ec2.calls())
        camera.verdict = tuple(found) or ("PASS",)
        if page is not None:
            _say(f"The build page stays at {page.url} until you press Ctrl-C.")
            _verdict(found, "")
            page.wait()
            told = len(found)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is short, and must not be cut off
    found += [f"still running: {process}" for process in world.processes_left()]
    if page is not None and told == len(found):
        return 1 if found else 0
    took = f"{time.monotonic() - began:.0f} s"
    _verdict(
        found,
        f"{ran} jobs on VMs of their own, {len(jobs) - ran} without one, {count} VMs, {launches} CreateFleet, "
        f"{len(idle)} instances standing by and 0 processes left, {took}.",
    )
    return 1 if found else 0


@contextmanager
def _seen(world: World, show: Show, camera: Camera, arguments: argparse.Namespace) -> Iterator[WebPage | None]:
    """What a person sees meanwhile: the build page, a live table, or a line for each event."""
    with ExitStack() as stack:
        page = None
        if arguments.web:
            page = WebPage(camera, port=arguments.port)
            world.on_leaving(page.close)
            _say(f"The build page is at {page.url}")
        if sys.stdout.isatty() and not arguments.plain:
            stack.enter_context(live_view(camera))
        else:
            stack.callback(world.buildkite.on_event(show.buildkite))
            world.ec2.on_event(show.ec2)
        yield page


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _verdict(found: list[str], summary: str) -> None:
    for problem in found:
        _say(f"FAIL  {problem}")
    if not found:
        _say(f"PASS  {summary}" if summary else "PASS")


if __name__ == "__main__":
    sys.exit(main())
