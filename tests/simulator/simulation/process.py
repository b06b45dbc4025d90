"""One invocation of a function: production stages over ports that can kill it before and after every effect."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from agent_stack.domain.errors import RetryError, UnknownOutcomeError


class Fate(StrEnum):
    """What happens to a process at one call of a port."""

    GOES_ON = "goes on"
    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"
    DIES_AMID = "dies amid"  # every other one of several writes took effect: they go out in transactions, at once
    REFUSED = "is refused"  # nothing happened; records only, the other worlds have faults of their own
    ANSWER_LOST = "loses the answer"  # it happened


OF_RUNS = frozenset({"record", "update", "end", "bind", "close_mailboxes", "record_holds"})
OF_LAUNCHES = frozenset({"write_intent", "spend_intent", "close_intent", "remember_launches"})
OF_QUEUES = frozenset({"list_waiting", "claim_notices", "record_stack_keys"})
OF_STANDBY = frozenset({"add", "close", "remove"})
WRITES = OF_RUNS | OF_LAUNCHES | OF_QUEUES | OF_STANDBY
"""The methods of the ledger and of its list of standby VMs whose answer can be lost."""


class Died(BaseException):
    """The process is gone. Not an Exception: nothing in it may catch this and go on."""


Judge = Callable[[str], Fate]


class Mortal:
    """A port whose every call asks what becomes of the process."""

    def __init__(self, target: object, name: str, process: "Process") -> None:
        self._target = target
        self._name = name
        self._process = process

    def __getattr__(self, method: str) -> Callable[..., Any]:
        perform = getattr(self._target, method)
        point = f"{self._name}.{method}"

        def call(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401  (any method's)
            size = max((len(argument) for argument in args if isinstance(argument, list | tuple)), default=1)
            half = partial(perform, *map(_every_other, args), **kwargs)
            return self._process.call(point, lambda: perform(*args, **kwargs), size, half)

        call.__name__ = method
        call.__qualname__ = point
        return call


def _every_other(argument: object) -> object:
    return argument[::2] if isinstance(argument, list | tuple) else argument


class Process:
    """What a Lambda execution environment is to one invocation: memory that dies with it."""

    def __init__(
        self,
        name: str,
        *,
        judge: Judge,
        pass_time: Callable[[str, int], None],
        note: Callable[[str], None],
        around: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
        take_in: Callable[[str, Sequence[object]], None] = lambda _point, _answer: None,
        before_task: Callable[[str], timedelta] = lambda _: timedelta(),
        after_task: Callable[[str, object], timedelta] = lambda _point, _answer: timedelta(),
    ) -> None:
        """A process.

        Args:
            pass_time: lets the time of a call pass, by its point and how many things it is about.
            around: what each call's performance is done within.
            take_in: lets the time pass that an answer of several things takes.
            before_task: how long after it was begun a call beside the cycle takes effect.
            after_task: how long after its effect such a call's answer is there.
        """
        self.before_task = before_task
        self.after_task = after_task
        self.name = name
        self.alive = True
        self._judge = judge
        self._pass_time = pass_time
        self._note = note
        self._around = around
        self._take_in = take_in
        self._hurried = False

    def mortal(self, target: Any, name: str) -> Any:  # noqa: ANN401  (any port)
        """The port, as this process reaches it."""
        return Mortal(target, name, self)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Calls in here take no time: it has passed already."""
        self._hurried = True
        try:
            yield
        finally:
            self._hurried = False

    def call(
        self, point: str, perform: Callable[[], object], size: int = 1, half: Callable[[], object] | None = None
    ) -> object:
        """One effect or read.

        Args:
            half: a part of the effect.

        Raises:
            Died: before or after it.
        """
        if not self.alive:
            raise Died
        if not size:
            return perform()  # about nothing: no request is made, and there is nothing to die at
        if not self._hurried:
            self._pass_time(point, size)
        fate = self._judge(point)
        if fate is not Fate.GOES_ON:
            self._note(f"{self.name} {fate} at {point}")
        if fate in {Fate.DIES_BEFORE, Fate.DIES_AMID}:
            self._die(half if fate is Fate.DIES_AMID else None)
        if fate is Fate.REFUSED:
            raise RetryError(f"{point}: throttled")
        with self._around(point):
            answer = perform()
        if isinstance(answer, list | tuple) and not self._hurried:
            self._take_in(point, answer)
        if fate is Fate.DIES_AFTER:
            self._die()
        if fate is Fate.ANSWER_LOST:
            raise UnknownOutcomeError(f"{point}: no answer")
        return answer

    def _die(self, effect: Callable[[], object] | None = None) -> None:
        if effect is not None:
            effect()
        self.alive = False
        raise Died
