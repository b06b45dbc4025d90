"""Changes: finds the first of several equal failures, so that a lasting one is one line and not one in each cycle."""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Changes:
    """The latest failure of each of a few subjects, such as queues."""

    _latest: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def is_new(self, subject: str, failure: str) -> bool:
        """Whether the subject did not fail like this the last time."""
        before, self._latest[subject] = self._latest.get(subject), failure
        return before != failure

    def is_over(self, subject: str) -> bool:
        """The subject does not fail any more: whether it did before."""
        return self._latest.pop(subject, None) is not None
