"""What time does to jobs by itself: expire when nobody comes, time out when slow."""

from datetime import datetime, timedelta

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.states import ACQUIRABLE, JobState


class JobDeadlines:
    """Keeps the agenda of every job in step with its state."""

    def __init__(self, *, jobs: Jobs, agenda: Agenda, expires_after: timedelta) -> None:
        self._jobs = jobs
        self._agenda = agenda
        self._expires_after = expires_after
        jobs.after_each_move(self._follow)

    def _follow(self, job: Job, before: JobState, at: datetime) -> None:
        if job.state is JobState.SCHEDULED and before not in ACQUIRABLE - {job.state}:
            self._at(job, "expires", at + self._expires_after, JobState.EXPIRED)
        elif job.state not in ACQUIRABLE:
            self._agenda.drop(self._name(job, "expires"))
        if job.state is JobState.RUNNING and job.step.timeout is not None:
            self._at(job, "times out", at + job.step.timeout, JobState.TIMING_OUT)
        elif job.state is not JobState.RUNNING:
            self._agenda.drop(self._name(job, "times out"))

    def _at(self, job: Job, what: str, due: datetime, state: JobState) -> None:
        self._agenda.set(self._name(job, what), due, lambda moment: self._jobs.move(job, state, moment))

    @staticmethod
    def _name(job: Job, what: str) -> str:
        return f"job {job.id} {what}"
