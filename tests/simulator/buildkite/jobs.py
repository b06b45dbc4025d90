"""All jobs: their transitions, what hangs on a transition, and the list of scheduled ones."""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

from tests.simulator.buildkite.events import EventBus, JobStateChanged
from tests.simulator.buildkite.job import Job, Outcome
from tests.simulator.buildkite.states import OVER, TRANSITIONS, WITH_AN_AGENT, JobState

Consequence = Callable[[Job, JobState, datetime], None]
"""Called after a transition with the job, the state it left, and when."""

Position = tuple[datetime, int]
"""Where a job stands among the scheduled ones of its queue: scheduled_at, then order of creation."""


class ImpossibleTransition(ValueError):
    """The state asked for cannot follow the job's state: a mistake of whoever drives the model."""


class Jobs:
    """Every job of the organisation by id, and the scheduled ones in listing order."""

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._by_id: dict[str, Job] = {}
        self._gone: dict[str, Job] = {}
        self._scheduled: defaultdict[str, list[tuple[datetime, int, str]]] = defaultdict(list)
        self._consequences: list[Consequence] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, job_id: str) -> Job:
        return self._gone[job_id] if job_id in self._gone else self._by_id[job_id]

    def find(self, job_id: str) -> Job | None:
        """The job with that id, if there is one and its build was not deleted."""
        return self._by_id.get(job_id)

    @property
    def all(self) -> Sequence[Job]:
        """Every job in the order of creation, those of deleted builds too."""
        every = (*self._by_id.values(), *self._gone.values())
        return tuple(sorted(every, key=lambda job: job.sequence)) if self._gone else every

    def after_each_move(self, consequence: Consequence) -> None:
        """Call `consequence` after every later transition, in the order of these registrations."""
        self._consequences.append(consequence)

    def add(self, job: Job, at: datetime) -> None:
        """Take in a new job in the state it has."""
        self._by_id[job.id] = job
        self._enter(job, None, at)

    def delete(self, job: Job, at: datetime) -> None:
        """Forget a job for ever: what it was doing ends, and no id leads to it any more."""
        if job.state not in OVER:
            if job.state in WITH_AN_AGENT and job.state is not JobState.CANCELING:
                self.move(job, JobState.CANCELING, at)
            self.move(job, JobState.CANCELED, at)
        job.deleted = True
        self._gone[job.id] = self._by_id.pop(job.id)

    def move(self, job: Job, state: JobState, at: datetime, *, outcome: Outcome | None = None) -> None:
        """Bring a job into another state.

        Raises:
            ImpossibleTransition: The job's state does not lead there.
        """
        before = job.state
        if state not in TRANSITIONS[before]:
            raise ImpossibleTransition(f"a job cannot go from {before} to {state}")
        if before is JobState.SCHEDULED:
            self._unlist(job)
        job.state = state
        if outcome is not None:
            job.outcome = outcome
        self._enter(job, before, at)

    def cancel(self, job: Job, at: datetime) -> None:
        """Do what the Cancel button does: at once without an agent, else by way of the agent.

        A job that is over, or being cancelled already, stays as it is.
        """
        if job.state in OVER or job.state is JobState.CANCELING:
            return
        self.move(job, JobState.CANCELING if job.state in WITH_AN_AGENT else JobState.CANCELED, at)

    def end_with_agent(self, job: Job, outcome: Outcome, at: datetime) -> None:
        """End a job its agent has finished or was lost with; a cancellation under way completes."""
        ends = {JobState.CANCELING: JobState.CANCELED, JobState.TIMING_OUT: JobState.TIMED_OUT}
        self.move(job, ends.get(job.state, JobState.FINISHED), at, outcome=outcome)

    def scheduled(self, queue_key: str, *, after: Position | None, limit: int) -> tuple[Sequence[Job], bool]:
        """One page of scheduled jobs, oldest first, and whether more stand behind it."""
        rows = self._scheduled[queue_key]
        # A key that sorts behind every row of that position: "~" is above any character of an id.
        start = bisect_right(rows, (*after, "~")) if after is not None else 0
        page = [self._by_id[job_id] for _, _, job_id in rows[start : start + limit]]
        return page, start + limit < len(rows)

    def _enter(self, job: Job, before: JobState | None, at: datetime) -> None:
        if job.state is JobState.SCHEDULED:
            # A job that comes back, or was held back, keeps its age, so it may appear behind a cursor.
            job.runnable_at = job.runnable_at or at
            insort(self._scheduled[job.queue_key], (job.scheduled_at, job.sequence, job.id))
        if job.state in OVER:
            job.finished_at = at
        job.timeline.append((job.state, at))
        self._events.publish(
            JobStateChanged(
                at=at,
                job_id=job.id,
                label=job.step.shown_label,
                before=before,
                after=job.state,
                exit_status=job.outcome.exit_status if job.outcome else None,
            )
        )
        for consequence in self._consequences:
            consequence(job, before or job.state, at)

    def _unlist(self, job: Job) -> None:
        rows = self._scheduled[job.queue_key]
        del rows[bisect_left(rows, (job.scheduled_at, job.sequence, job.id))]
