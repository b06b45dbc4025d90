"""Outages: what fails several times in a row. It is a few lines, not one in each cycle, and the alarm still rings."""

from collections.abc import Collection
from dataclasses import dataclass, field

from agent_stack.domain.measures import Metric
from agent_stack.ports import Field, Telemetry

MAX_LINES = 5
"""Different texts of one outage that are logged. Texts may alternate, or have a number of their own each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """What failed the last time, of a few subjects such as queues. That it lasts is told by that, not by its text."""

    _texts: dict[str, set[str]] = field(default_factory=dict, init=False, repr=False)

    def passing(self, subject: str, log: Telemetry, message: str, *, error: str, **fields: Field) -> None:
        """A failure that nobody has to act on: INFO. From the second time in a row on it counts as an error."""
        lasts = subject in self._texts
        if self._is_news(subject, error):
            log.info(message, error=error, **fields)
        if lasts:
            log.count(Metric.ERRORS)

    def serious(self, subject: str, log: Telemetry, message: str, *, error: str, **fields: Field) -> None:
        """A failure that is an error the first time already."""
        if self._is_news(subject, error):
            log.error(message, error=error, **fields)
        else:
            log.count(Metric.ERRORS)  # no line, but the alarm goes on while it lasts

    def is_over(self, subject: str) -> bool:
        """The subject does not fail any more: whether it did before."""
        return self._texts.pop(subject, None) is not None

    def keep(self, subjects: Collection[str]) -> None:
        """Forgets all other subjects, which nobody asks about any more."""
        for subject in self._texts.keys() - set(subjects):
            del self._texts[subject]

    def _is_news(self, subject: str, text: str) -> bool:
        """Whether that text is to be logged: the first few of an outage, each once."""
        known = self._texts.setdefault(subject, set())
        if text in known or len(known) >= MAX_LINES:
            return False
        known.add(text)
        return True
