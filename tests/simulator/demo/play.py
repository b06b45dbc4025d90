"""The person at the build page: pushes the build, presses Cancel, releases what is blocked, sees when all is over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.simulator.buildkite import FAILED_UNRUN, OVER, Buildkite, JobState, JobView
from tests.simulator.demo.model import Cancel, Demo, DemoStep

MOMENT = timedelta(seconds=1)
"""Before a blocked step is released, so that it is seen to be blocked."""


@dataclass(slots=True, kw_only=True)
class Play:
    """One pipeline in one world.

    Args:
        bound: ids of jobs that a VM was ever bound to.
        standby_ready: whether a VM waits for the jobs that are to start on one.
    """

    buildkite: Buildkite
    steps: Sequence[DemoStep]
    env: Mapping[str, str] = field(default_factory=dict)
    bound: Callable[[], frozenset[str]] = frozenset
    standby_ready: Callable[[], bool] = lambda: True
    _parts: dict[str, DemoStep] = field(default_factory=dict)
    _later: list[DemoStep] = field(default_factory=list)
    _cancelled: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Push the build; jobs that are to start on a standby VM come in one of their own."""
        self._later = [step for step in self.steps if step.demo.standby]
        self._push([step for step in self.steps if not step.demo.standby])

    def _push(self, steps: Sequence[DemoStep]) -> None:
        if steps:
            build = self.buildkite.create_build("demo", steps=[step.step for step in steps], env=self.env)
            self._parts |= dict(zip(build.job_ids, steps, strict=True))

    def act(self, now: datetime) -> tuple[JobView, ...]:
        """Do what is due; the jobs as they were before."""
        if self._later and self.standby_ready():
            steps, self._later = self._later, []
            self._push(steps)
        jobs = self.buildkite.jobs()
        early = {job.id for job in jobs if self._wants(job, Cancel.BOOTING)}
        bound = self.bound() if early else frozenset()
        for job in jobs:
            late = self._wants(job, Cancel.RUNNING) and job.state is JobState.RUNNING
            told = self.demo(job).expect == "unmatched" and job.notifications and job.state is JobState.SCHEDULED
            if late or told or (job.id in early and job.id in bound):
                self._cancelled.add(job.id)
                self.buildkite.cancel_job(job.id)
            blocked_at = job.entered(JobState.BLOCKED)
            if job.state is JobState.BLOCKED and blocked_at is not None and now - blocked_at >= MOMENT:
                self.buildkite.release(job.id, self._parts[job.id].fields if job.id in self._parts else None)
        return jobs

    def demo(self, job: JobView) -> Demo:
        """What must come of a job; of a retry, what must come of the job that it repeats."""
        origin = job
        while origin.id not in self._parts and origin.retry_of is not None:
            origin = self.buildkite.job(origin.retry_of)
        return self._parts[origin.id].demo if origin.id in self._parts else Demo()

    @property
    def expected(self) -> dict[str, Demo]:
        """What must come of each job, by its id."""
        return {job.id: self.demo(job) for job in self.buildkite.jobs()}

    @property
    def over(self) -> bool:
        """Whether no job can change any more."""
        return not self._later and all(is_over(job) for job in self.buildkite.jobs())

    def _wants(self, job: JobView, when: Cancel) -> bool:
        return job.id not in self._cancelled and self.demo(job).cancel is when


def is_over(job: JobView) -> bool:
    """Whether it is done, or waits for something that failed."""
    return job.state in OVER or job.state in FAILED_UNRUN


def with_environment(steps: Sequence[DemoStep], change: Callable[[DemoStep], Mapping[str, str]]) -> list[DemoStep]:
    """The same steps with further variables, such as those by which a virtual VM knows what a job does."""
    return [replace(one, step=replace(one.step, env={**one.step.env, **change(one)})) for one in steps]
