"""Scripted faults: what the next requests of an action meet."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from tests.simulator.cloud.errors import Ec2Error, refused
from tests.simulator.cloud.refusals import Override, Refusal, Refusals


class Faults:
    """Faults by action, used up in the order in which they were scripted; and refusals, as long as they last."""

    def __init__(self, *, now: Callable[[], datetime], refusals: Sequence[Refusal] = (), seed: int = 0) -> None:
        self._now = now
        self._refusals = Refusals(refusals, now=now(), seed=seed)
        self._errors: dict[str, deque[Ec2Error]] = {}
        self._lost: dict[str, int] = {}
        self._silent = 0
        self._partial: deque[str] = deque()
        self.on_hit: Callable[[str], None] = lambda _: None
        """Told what each fault is as it happens: an error's code, `answer lost` or `launches nothing`."""

    def fail(self, action: str, code: str, *, message: str = "scripted", status: int = 400, times: int = 1) -> None:
        """Answer the next requests with that error; nothing happens."""
        self._errors.setdefault(action, deque()).extend([Ec2Error(code, message, status=status)] * times)

    def lose_answer(self, action: str, *, times: int = 1) -> None:
        """Do what the next requests ask for, and lose the answers."""
        self._lost[action] = self._lost.get(action, 0) + times

    def launch_and_say_nothing(self, *, times: int = 1) -> None:
        """Let the next fleets launch, and name neither instances nor errors in their answers."""
        self._silent += times

    def says_nothing(self, action: str) -> bool:
        """Whether this request's answer names nothing."""
        silent = action == "CreateFleet" and self._silent > 0
        if silent:
            self._silent -= 1
            self.on_hit("says nothing")
        return silent

    def errors_in_answer(self, code: str, *, times: int = 1) -> None:
        """Let the next fleets launch nothing and say so inside a successful answer."""
        self._partial.extend([code] * times)

    def refuse(self, refusal: Refusal) -> None:
        """Refuse that from now on, for as long as it says."""
        self._refusals.add(refusal, self._now())

    def stop_refusing(self, refusal: Refusal) -> None:
        """Refuse that no longer."""
        self._refusals.remove(refusal)

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._refusals.clear()
        self._errors.clear()
        self._lost.clear()
        self._silent = 0
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

    def check(self, action: str, overrides: Sequence[Override] = ()) -> None:
        """Let a request pass.

        Raises:
            Ec2Error: it is refused as a whole.
        """
        for refusal in self._refusals.of(action, overrides, self._now(), whole=True):
            self.on_hit(refusal.code)
            raise refused(refusal.code, refusal.message)

    def refusals(self, action: str, overrides: Sequence[Override]) -> tuple[Refusal, ...]:
        """What this request meets inside its good answer."""
        met = self._refusals.of(action, overrides, self._now())
        for refusal in met:
            self.on_hit(refusal.code)
        return met
