"""What keeps a job from being runnable: other steps, a concurrency group, a person, the time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.job import Job, Outcome
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.states import ACQUIRABLE, FAILED_UNRUN, HELD, OVER, WITH_AN_AGENT, JobState
from tests.simulator.buildkite.steps import Build, Step, StepKind

_OCCUPYING = ACQUIRABLE | WITH_AN_AGENT
"""States in which a job takes a place of its concurrency group."""

_ENDED = OVER | FAILED_UNRUN


class Holds:
    """Holds jobs back and lets them go. A held job is not listed, and its `scheduled_at` does not move."""

    def __init__(self, *, jobs: Jobs, agenda: Agenda) -> None:
        self._jobs = jobs
        self._agenda = agenda
        jobs.after_each_move(self._follow)

    def first_state(self, step: Step) -> JobState:
        """The state in which a job of that step is created."""
        if step.skip is not None:
            return JobState.SKIPPED
        if step.held is not None:
            return step.held
        if step.waits_for or step.runnable_after is not None or step.kind is not StepKind.COMMAND:
            return JobState.WAITING
        return JobState.LIMITED if self._is_full(step) else JobState.SCHEDULED

    def release(self, job: Job, at: datetime) -> None:
        """Let a held job go; its concurrency group may hold it on."""
        if job.state not in HELD:
            return
        if job.step.kind is StepKind.BLOCK and job.state is JobState.WAITING:
            self._jobs.move(job, JobState.BLOCKED, at)
            return
        if job.state is JobState.BLOCKED:
            self._jobs.move(job, JobState.UNBLOCKED, at)
        if job.step.kind is not StepKind.COMMAND:
            self._jobs.move(job, JobState.FINISHED, at, outcome=Outcome(exit_status=0))
            return
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
        if job.state in _ENDED and before not in _ENDED:
            self._next_of_group(job, at)
            if job.step.names:
                self.settle(job.build, at)

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

    def settle(self, build: Build, at: datetime) -> None:
        """Let those jobs of a build go for which the last one that they waited for has ended, or fail them."""
        if not any(step.waits_for or step.kind is not StepKind.COMMAND for step in build.steps):
            return
        siblings = [job for job in self._jobs.all if job.build is build]
        named: defaultdict[str, list[Job]] = defaultdict(list)
        for job in siblings:
            for name in job.step.names:
                named[name].append(job)
        for job in siblings:
            if job.state is JobState.WAITING and (job.step.waits_for or job.step.kind is not StepKind.COMMAND):
                judged = [_judge(named[name], tolerant=name in job.step.tolerates) for name in job.step.waits_for]
                if False in judged:
                    self._jobs.move(job, JobState.WAITING_FAILED, at)
                elif None not in judged:
                    self.release(job, at)

    @staticmethod
    def _name(job: Job) -> str:
        return f"job {job.id} is released"


def _judge(jobs: Sequence[Job], *, tolerant: bool) -> bool | None:
    """Whether a step lets others go on; None while nobody can know. A job that is retried counts as its retry does."""
    last = [job for job in jobs if job.retried_by is None]
    if any(job.state in _ENDED and not job.passed and not job.is_retried for job in last) and not tolerant:
        return False
    ended = bool(last) and all(job.state in _ENDED and not job.is_retried for job in last)
    return True if ended else None
