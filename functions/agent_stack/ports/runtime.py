"""Runtime port: time, ids, worker threads, logs and metrics for one process."""

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
    """Time. The only source of time in the code."""

    def now(self) -> datetime:
        """Returns the current time, timezone-aware, in UTC. It may jump when the machine corrects its clock."""

    def monotonic(self) -> timedelta:
        """Returns the time since some fixed moment of this process; never goes back. For durations.

        Time for which the process was frozen between two invocations counts.
        """

    def sleep(self, duration: timedelta) -> None:
        """Waits for this duration."""


class Task(Protocol[ResultT_co]):
    """Work that a worker thread does."""

    def done(self) -> bool:
        """Whether it has ended, with a result or an error."""

    def result(self) -> ResultT_co:
        """Returns its result, or raises its error. Call it only when the task is done."""


class Workers(Protocol):
    """A few threads that work beside the cycle. Their tasks end with the process."""

    def submit(self, task: Callable[[], ResultT]) -> Task[ResultT]:
        """Starts the task as soon as a thread is free."""

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """Waits until all tasks are done, or until this time is over."""


class Deadline(Protocol):
    """The end of this invocation. No effect may start that could last longer."""

    def left(self) -> timedelta:
        """Returns the remaining time; never negative."""


class Ids(Protocol):
    """Ids and random numbers. The only source of both in the code."""

    def holder(self) -> str:
        """Returns a unique name for this invocation."""

    def intent_id(self) -> IntentId:
        """Returns a new launch id: unique, at most 64 ASCII characters."""

    def fraction(self) -> float:
        """Returns a random number in [0, 1), for jitter."""


class Telemetry(Protocol):
    """Logs and metrics. Callers never pass a credential."""

    def info(self, message: str, **fields: Field) -> None:
        """Logs an event that an operator may search for."""

    def warning(self, message: str, **fields: Field) -> None:
        """Logs a failure after which the function goes on."""

    def error(self, message: str, **fields: Field) -> None:
        """Logs a failure that an operator must know about."""

    def carry(self, **fields: Field) -> None:
        """Adds these fields to every later log line."""

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """Adds to a counter.

        Args:
            of: the value of the metric's dimension, for metrics in `measures.SPLIT`.
        """

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """Sets the current value. The last value of an invocation is written."""

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """Sets the current value. The highest value of an invocation is written."""

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """Records one duration, in seconds."""
