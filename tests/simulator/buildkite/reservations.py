"""Reservations: which stack holds which job, and until when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.jobs import Jobs
from tests.simulator.buildkite.states import JobState


@dataclass(slots=True, kw_only=True, eq=False)
class Reservation:
    """One stack's hold on one job. Extending keeps its id; a later reservation has another."""

    id: str
    job_id: str
    stack_key: str
    expires_at: datetime


class Reservations:
    """Reservations by job. One ends when its time is over or when its job leaves `reserved`."""

    def __init__(self, *, jobs: Jobs, agenda: Agenda) -> None:
        self._jobs = jobs
        self._agenda = agenda
        self._by_job: dict[str, Reservation] = {}
        self._count = 0
        jobs.after_each_move(self._forget_when_left)

    def of(self, job_id: str) -> Reservation | None:
        """The live reservation of a job, if it has one."""
        return self._by_job.get(job_id)

    def reserve(self, job: Job, stack_key: str, lasting: timedelta, at: datetime) -> bool:
        """Reserve a scheduled job, or extend this stack's own reservation.

        Returns:
            Whether the stack holds the job now. Another stack's hold, and any other state, refuse.
        """
        held = self._by_job.get(job.id)
        if held is not None:
            if held.stack_key != stack_key:
                return False
            held.expires_at = at + lasting
        elif job.state is JobState.SCHEDULED:
            self._count += 1
            held = Reservation(
                id=f"reservation-{self._count}",
                job_id=job.id,
                stack_key=stack_key,
                expires_at=at + lasting,
            )
            self._jobs.move(job, JobState.RESERVED, at)
            self._by_job[job.id] = held
        else:
            return False
        self._agenda.set(self._deadline(job), held.expires_at, lambda due: self._expire(job, due))
        return True

    def _expire(self, job: Job, due: datetime) -> None:
        self._jobs.move(job, JobState.SCHEDULED, due)

    def _forget_when_left(self, job: Job, before: JobState, at: datetime) -> None:
        if before is JobState.RESERVED and self._by_job.pop(job.id, None) is not None:
            self._agenda.drop(self._deadline(job))

    @staticmethod
    def _deadline(job: Job) -> str:
        return f"reservation of {job.id} expires"
