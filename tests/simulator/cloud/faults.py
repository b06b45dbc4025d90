"""Scripted faults: what the next requests of an action meet."""

from collections import deque
from collections.abc import Callable

from tests.simulator.cloud.errors import Ec2Error


class Faults:
    """Faults by action, used up in the order in which they were scripted."""

    def __init__(self) -> None:
        self._errors: dict[str, deque[Ec2Error]] = {}
        self._lost: dict[str, int] = {}
        self._partial: deque[str] = deque()
        self.on_hit: Callable[[str], None] = lambda _: None
        """Told what each fault is as it happens: an error's code, `answer lost` or `launches nothing`."""

    def fail(self, action: str, code: str, *, message: str = "scripted", status: int = 400, times: int = 1) -> None:
        """Answer the next requests with that error; nothing happens."""
        self._errors.setdefault(action, deque()).extend([Ec2Error(code, message, status=status)] * times)

    def lose_answer(self, action: str, *, times: int = 1) -> None:
        """Do what the next requests ask for, and lose the answers."""
        self._lost[action] = self._lost.get(action, 0) + times

    def errors_in_answer(self, code: str, *, times: int = 1) -> None:
        """Let the next fleets launch nothing and say so inside a successful answer."""
        self._partial.extend([code] * times)

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._errors.clear()
        self._lost.clear()
        self._partial.clear()

    def error(self, action: str) -> Ec2Error | None:
        """The error of this request, if one was scripted."""
        waiting = self._errors.get(action)
        if not waiting:
            return None
        self.on_hit(waiting[0].code)
        return waiting.popleft()

    def loses_answer(self, action: str) -> bool:
        """Whether this request's answer is lost."""
        left = self._lost.get(action, 0)
        self._lost[action] = max(0, left - 1)
        if left > 0:
            self.on_hit("answer lost")
        return left > 0

    def partial(self) -> str | None:
        """The code that this fleet's answer carries instead of instances, if any."""
        if not self._partial:
            return None
        self.on_hit("launches nothing")
        return self._partial.popleft()
