"""`python -m tests.simulator.demo [pipeline.yml]`: the demo. Exit 1 if anything is not as it should be."""

import argparse
import queue
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from tests.simulator.demo.judgement import is_prepared, problems, standing_by
from tests.simulator.demo.live import live_view
from tests.simulator.demo.own_parameters import ParametersError
from tests.simulator.demo.pipeline import PipelineError
from tests.simulator.demo.play import Play
from tests.simulator.demo.prepared import BREAKS, DEFAULT_QUEUE, Prepared, prepared
from tests.simulator.demo.show import Show
from tests.simulator.demo.snapshot import Camera
from tests.simulator.demo.watch import StoppedError, watch
from tests.simulator.demo.web import WebPage
from tests.simulator.lambda_host import THROTTLED, Completed
from tests.simulator.world import World, log_record, system_now

FATAL = frozenset({"cycle_failed", "stack_not_registered", "queue_not_listed"})
"""Nothing is broken here on purpose, so the first of these ends the demo."""


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "pipeline", nargs="?", type=Path, help="a pipeline file; scripts/demo-pipeline.yml unless given"
    )
    parser.add_argument("--classes", type=Path, help="a class document in place of the demo's own")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--parameters", type=Path, help="a parameter file of scripts/deploy, as far as it can be played"
    )
    source.add_argument(
        "--migrate", type=Path, help="an Elastic CI Stack's parameters: migrates them, and deploys what comes out"
    )
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
        return _run(prepared(arguments), arguments)
    except (OSError, ParametersError, PipelineError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Nothing is left running.\n")
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(prepared: Prepared, arguments: argparse.Namespace) -> int:
    pipeline = prepared.pipeline
    news: queue.Queue[str] = queue.Queue()

    def on_line(function: str, line: str) -> None:
        record = log_record(line)
        if record is not None and record["level"] == "ERROR" and record["message"] in FATAL:
            news.put(f"{function}: {record.get('error', record['message'])}")

    def on_completed(function: str, completed: Completed) -> None:
        if completed.error not in {None, THROTTLED}:
            news.put(f"{function}: {completed.error}")

    began = time.monotonic()
    _introduce(prepared)
    found: list[str] = []
    with World(prepared.plan, on_line=on_line, on_completed=on_completed) as world:
        add_queues(world, prepared.queues)
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
            name=prepared.name,
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


def _introduce(prepared: Prepared) -> None:
    for line in prepared.said:
        _say(line)
    for note in prepared.pipeline.notes:
        _say(f"{prepared.name}, line {note.line}: {note.what}")
    _say("Setting up: Buildkite, DynamoDB and SSM, EC2, and the stack of template.yaml …")


def add_queues(world: World, keys: Iterable[str]) -> None:
    for key in keys:
        if key != DEFAULT_QUEUE:  # each cluster has it
            world.buildkite.add_queue(key)


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
