"""Waits until nothing happens any more. A job may take as long as it likes; what stands still is noticed."""

import queue
import time
from pathlib import Path

from tests.simulator.buildkite import JobState, JobView, StepKind
from tests.simulator.demo.judgement import settled, standing_by, unsettled
from tests.simulator.demo.picture import opened, take_picture
from tests.simulator.demo.play import Play, is_over
from tests.simulator.demo.snapshot import Camera
from tests.simulator.world import World, system_now

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 130.0
"""Without any change while no command runs: a tracker that runs each minute tells after half a minute that no class
fits."""

WAITS_SECONDS = 12.0
"""Without any change while all that is left was told by the stack why it waits."""


class StoppedError(Exception):
    """The functions cannot work, or nothing goes on; says why in one line."""


def watch(world: World, play: Play, news: "queue.Queue[str]", *, picture: tuple[Path, Camera] | None = None) -> None:
    """Let the person act until all is over and every VM gone.

    Args:
        news: errors of functions that end the demo.
        picture: where a picture of the build page goes when half of the jobs are over.

    Raises:
        StoppedError: a function failed, or nothing changes any more.
    """
    seen, since = "", time.monotonic()
    while True:
        if not news.empty():
            raise StoppedError(news.get())
        jobs = play.act(system_now())
        if all(map(is_over, jobs)) and play.over and settled(world, strangers=standing_by(world)):
            return
        if picture is not None and 2 * sum(map(is_over, jobs)) > len(jobs):
            path, camera = picture
            take_picture(opened(camera.state()), path)
            picture = None
        now = _seen(world, jobs)
        if now != seen or any(job.state is JobState.RUNNING for job in jobs):
            seen, since = now, time.monotonic()
        if (stalled := time.monotonic() - since) > WAITS_SECONDS:
            idle = standing_by(world)
            if stalled > PATIENCE_SECONDS or _only_waits(world, jobs, idle):
                raise StoppedError("Nothing goes on: " + "; ".join(_why(world, jobs, idle)))
        time.sleep(LOOK_SECONDS)


def _seen(world: World, jobs: tuple[JobView, ...]) -> str:
    told = [(job.id, job.state, len(job.notifications)) for job in jobs]
    return repr((told, [(one.instance_id, one.state) for one in world.ec2.instances()]))


def _only_waits(world: World, jobs: tuple[JobView, ...], idle: frozenset[str]) -> bool:
    """Whether every job that is left is told why it waits, and no VM is on its way that could change that."""
    left = [job for job in jobs if job.kind is StepKind.COMMAND and job.state is JobState.SCHEDULED]
    up = any(one.state != "terminated" and one.instance_id not in idle for one in world.ec2.instances())
    return bool(left) and not up and all(job.notifications for job in left)


def _why(world: World, jobs: tuple[JobView, ...], idle: frozenset[str]) -> list[str]:
    told = {job.label: job.notifications[-1].detail for job in jobs if not is_over(job) and job.notifications}
    still = list(unsettled(world, strangers=idle))
    return [f"{line} ({told[label]})" if (label := line.partition(": still")[0]) in told else line for line in still]
