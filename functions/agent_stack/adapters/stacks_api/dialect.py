"""The two dialects of the Stacks API: which paths and bodies are sent. Answers are read alike in both.

`preview` is the API as its specification describes it; `current` is the API as it is served today.
"""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote


class Dialect(StrEnum):
    """One way of speaking the API."""

    CURRENT = "current"
    PREVIEW = "preview"


def segment(value: str) -> str:
    """One path segment, percent-encoded; a dot too, so that no value can climb the path."""
    return quote(value, safe="").replace(".", "%2E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The paths of one stack key. Relative to the base URL."""

    stack_key: str

    @property
    def stack(self) -> str:
        """What every path of the stack begins with."""
        return f"/stacks/{segment(self.stack_key)}"

    def listing(self, dialect: Dialect) -> str:
        """GET scheduled jobs."""
        return f"{self.stack}/{'scheduled-jobs' if dialect is Dialect.CURRENT else 'scheduled_jobs'}"

    def reserving(self, dialect: Dialect) -> str:
        """PUT a batch of reservations."""
        return f"{self.listing(dialect)}/{'batch-reserve' if dialect is Dialect.CURRENT else 'batch_reserve'}"

    def job(self, job_id: str) -> str:
        """GET one job."""
        return f"{self.stack}/jobs/{segment(job_id)}"

    def finishing(self, job_id: str) -> str:
        """POST the finish of one job."""
        return f"{self.job(job_id)}/finish"

    def notifying_one(self, job_id: str) -> str:
        """POST one notification; preview dialect."""
        return f"{self.job(job_id)}/stack_notifications"

    @property
    def notifying(self) -> str:
        """POST a batch of notifications; current dialect."""
        return f"{self.stack}/notifications"

    @property
    def states(self) -> str:
        """POST a question for job states."""
        return f"{self.stack}/jobs/get-states"

    @property
    def tokens(self) -> str:
        """POST for job acquisition tokens; current dialect."""
        return f"{self.stack}/job-acquisition-tokens"

    @property
    def deregistering(self) -> str:
        """POST to withdraw the stack."""
        return f"{self.stack}/deregister"
