"""A load: the jobs of a day, and what of it is a guess."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadJob:
    """One job.

    Attributes:
        at: seconds from the start until it is scheduled.
        seconds: how long its command runs.
        agents: its agent query rules, such as `class=large`.
        cancel_at: seconds from the start until a user cancels it; None for never.
    """

    at: float
    seconds: float
    queue: str | None = None
    agents: tuple[str, ...] = ()
    priority: int | None = None
    pipeline: str = "pipeline"
    cancel_at: float | None = None

    @property
    def row(self) -> list[object]:
        """As the simulator reads it."""
        return [self.at, self.seconds, self.queue, list(self.agents), self.priority, self.pipeline, self.cancel_at]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The jobs of a day.

    Attributes:
        said: what the load is, for the report.
        guesses: what of it nobody measured.
        hours: how long jobs come.
        problems: what could not be read; the rest is played.
    """

    said: str
    jobs: tuple[LoadJob, ...]
    hours: float
    guesses: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())
