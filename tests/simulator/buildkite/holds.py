"""What keeps a job from being runnable: other steps, a concurrency group, a person, the time."""

from collections.abc import Sequence
from datetime import datetime

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.states import ACQUIRABLE, HELD, OVER, WITH_AN_AGENT, JobState
from tests.simulator.buildkite.steps import Step

_OCCUPYING = ACQUIRABLE | WITH_AN_AGENT
"""States in which a job takes a place of its concurrency group."""


class Holds:
    """Holds jobs back and lets them go. A held job is not listed, and its `scheduled_at` does not move."""

    def __init__(self, *, jobs: Jobs, agenda: Agenda) -> None:
        self._jobs = jobs
        self._agenda = agenda
        jobs.after_each_move(self._follow)

    def first_state(self, step: Step) -> JobState:
        """The state in which a job of that step is created."""
        if step.held is not None:
            return step.held
        if step.waits_for or step.runnable_after is not None:
            return JobState.WAITING
        return JobState.LIMITED if self._is_full(step) else JobState.SCHEDULED

    def release(self, job: Job, at: datetime) -> None:
        """Let a held job go; its concurrency group may hold it on."""
        if job.state not in HELD:
            return
        if job.state is JobState.BLOCKED:
            self._jobs.move(job, JobState.UNBLOCKED, at)
        if self._is_full(job.step):
            if job.state is not JobState.LIMITED:
                self._jobs.move(job, JobState.LIMITING, at)
                self._jobs.move(job, JobState.LIMITED, at)
            return
        self._jobs.move(job, JobState.SCHEDULED, at)

    def _follow(self, job: Job, before: JobState, at: datetime) -> None:
        after = job.step.runnable_after
        if job.state is before and job.state in HELD and after is not None:  # it was just created
            self._agenda.set(self._name(job), job.created_at + after, lambda due: self.release(job, due))
        elif job.state not in HELD:
            self._agenda.drop(self._name(job))
        if job.state in OVER and before not in OVER:
            self._next_of_group(job, at)
            if job.step.key is not None and any(step.waits_for for step in job.build.steps):
                self._next_of_build(job, at)

    def _is_full(self, step: Step) -> bool:
        group = step.concurrency_group
        if group is None:
            return False
        places = sum(job.step.concurrency_group == group and job.state in _OCCUPYING for job in self._jobs.all)
        return places >= step.concurrency

    def _next_of_group(self, ended: Job, at: datetime) -> None:
        group = ended.step.concurrency_group
        if group is None:
            return
        for job in self._jobs.all:
            if job.state is JobState.LIMITED and job.step.concurrency_group == group:
                self.release(job, at)

    def _next_of_build(self, ended: Job, at: datetime) -> None:
        passed = ended.state is JobState.FINISHED and ended.outcome is not None and ended.outcome.exit_status == 0
        siblings = [job for job in self._jobs.all if job.build is ended.build]
        for job in siblings:
            if job.state is not JobState.WAITING or ended.step.key not in job.step.waits_for:
                continue
            if not passed:
                if not _is_retried(ended):
                    self._jobs.move(job, JobState.WAITING_FAILED, at)
            elif _all_passed(job.step.waits_for, siblings):
                self.release(job, at)

    @staticmethod
    def _name(job: Job) -> str:
        return f"job {job.id} is released"


def _is_retried(job: Job) -> bool:
    exit_status = job.outcome.exit_status if job.outcome else None
    finished = job.state is JobState.FINISHED
    return finished and job.retry_count < job.step.retry_automatic_limit and job.step.retries(exit_status)


def _all_passed(keys: Sequence[str], siblings: Sequence[Job]) -> bool:
    passed = {
        job.step.key
        for job in siblings
        if job.state is JobState.FINISHED and job.outcome is not None and job.outcome.exit_status == 0
    }
    return passed.issuperset(keys)
