"""Unnamed jobs: counts how often in a row Buildkite's complete answers did not say where a run's job stands.

Buildkite leaves jobs of deleted builds out of its answers for ever, and may name states that are new to this version.
One such answer proves nothing: Buildkite may show a change late. A failed or partial answer counts as no answer. The
counts live in one process; a tracker that starts anew counts anew, which takes less than a minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.ports import Telemetry
from agent_stack.tracker.job_states import JobAnswers

FORGOTTEN_ANSWERS = 5
FORGOTTEN_AFTER = timedelta(seconds=20)
"""How many answers in a row, and over how long, make a job forgotten."""

LONGEST_GAP = timedelta(seconds=60)
"""Between two answers of one row. After a longer one another tracker may have seen the job, and the row begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Answers in a row that do not name one job."""

    count: int
    first_at: datetime
    last_at: datetime

    @property
    def is_long(self) -> bool:
        return self.count >= FORGOTTEN_ANSWERS and self.last_at - self.first_at >= FORGOTTEN_AFTER


@dataclass(slots=True, kw_only=True)
class UnnamedJobs:
    """The counts of one process, of active runs only."""

    telemetry: Telemetry
    _rows: dict[JobId, _Row] = field(default_factory=dict, init=False, repr=False)

    def record(self, runs: Sequence[Run], answers: JobAnswers, now: datetime) -> frozenset[JobId]:
        """Counts these answers; returns the jobs of these runs that are forgotten. Each is logged once."""
        rows: dict[JobId, _Row] = {}
        for run in runs:
            row = self._rows.get(run.job_id)
            if answers.is_unnamed(run.job_id):
                rows[run.job_id] = self._longer(row, now)
                if rows[run.job_id].is_long and not (row is not None and row.is_long):
                    self.telemetry.info(
                        "job_forgotten",
                        job_id=run.job_id,
                        instance_id=run.binding.instance_id if run.binding else None,
                        run_state=run.state,
                        job_state=answers.states.get(run.job_id),
                        count=rows[run.job_id].count,
                    )
            elif row is not None and run.job_id not in answers.answered:
                rows[run.job_id] = row  # an answer that failed proves nothing, in either direction
        self._rows = rows
        return frozenset(job_id for job_id, row in rows.items() if row.is_long and answers.is_unnamed(job_id))

    @staticmethod
    def _longer(row: _Row | None, now: datetime) -> _Row:
        if row is None or not timedelta() <= now - row.last_at <= LONGEST_GAP:
            return _Row(count=1, first_at=now, last_at=now)
        return _Row(count=row.count + 1, first_at=row.first_at, last_at=now)
