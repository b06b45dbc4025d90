"""What a process needs to run: time, identity, threads beside the cycle, logs and metrics."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from agent_stack.domain.identifiers import (
    IntentId,
)
from agent_stack.domain.measures import Metric

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")

Field = str | int | float | bool | None


class Clock(Protocol):
    """Time. The only place it comes from."""

    def now(self) -> datetime:
        """Aware UTC."""

    def sleep(self, duration: timedelta) -> None:
        """Let that much time pass."""


class Task(Protocol[ResultT_co]):
    """Something that a worker does."""

    def done(self) -> bool:
        """Whether it has ended, one way or the other."""

    def result(self) -> ResultT_co:
        """What came of it; raises what it raised. Only once it is done."""


class Workers(Protocol):
    """A few hands beside the cycle. What they hold ends with the process."""

    def submit(self, task: Callable[[], ResultT]) -> Task[ResultT]:
        """Begin it soon."""

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """Until all of them are done, or that time is over."""


class Deadline(Protocol):
    """The end of this invocation. No effect may be begun that could outlast it."""

    def left(self) -> timedelta:
        """How much time is left; never negative."""


class Ids(Protocol):
    """Identity and chance. The only place they come from."""

    def holder(self) -> str:
        """A name for this invocation, which no other has."""

    def intent_id(self) -> IntentId:
        """A new launch id: unique, at most 64 ASCII characters."""

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""


class Telemetry(Protocol):
    """Logs and metrics. Never given a credential."""

    def info(self, message: str, **fields: Field) -> None:
        """Something happened that a person may look for."""

    def warning(self, message: str, **fields: Field) -> None:
        """Something failed, and we go on."""

    def error(self, message: str, **fields: Field) -> None:
        """Something failed that an operator must know of."""

    def carry(self, **fields: Field) -> None:
        """Every line from now on has these fields, too."""

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """Add to a counter.

        Args:
            of: which of the metric's parts, where `measures.SPLIT` names them.
        """

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """How much there is now. The last of an invocation is what is written."""

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """How much there is now. The highest of an invocation is what is written."""

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """One duration."""
