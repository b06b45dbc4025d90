"""Whether the operator lets VMs start, and how fresh that answer is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import MAX_AGE, MAX_AGE_UNREADABLE, LaunchPermission
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.ports import JobTokens
from tests.simulator.clock import EPOCH, VirtualClock
from tests.unit.dispatcher.parts import SMALL, a_book
from tests.unit.dispatcher.test_bind import Desk, Mint
from tests.unit.values import a_vm

QUEUE, OTHER = QueueKey("default"), QueueKey("other")
SECOND = timedelta(seconds=1)


class Desired:
    """What an operator wants, and how often it is read."""

    def __init__(self, *paused: str) -> None:
        self.pauses = Pauses(paused={name: OperatorPause(since=EPOCH) for name in paused})
        self.reads = 0
        self.fails = False
        self.takes = timedelta()
        self.clock = VirtualClock()
        self.permission = LaunchPermission(read=self.read, clock=self.clock)

    def read(self) -> Pauses:
        self.reads += 1
        self.clock.sleep(self.takes)
        if self.fails:
            raise RetryError("no answer")
        return self.pauses


class Corrected:
    """A machine whose clock is set back by an hour after its first reading."""

    def __init__(self, true: VirtualClock) -> None:
        self._true, self._readings = true, 0

    def now(self) -> datetime:
        self._readings += 1
        return self._true.now() - (timedelta(hours=1) if self._readings > 1 else timedelta())

    def monotonic(self) -> timedelta:
        return self._true.monotonic()

    def sleep(self, duration: timedelta) -> None:
        self._true.sleep(duration)


def test_what_the_lease_showed_just_now_is_not_read_again() -> None:
    desired = Desired("*")
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    desired.clock.sleep(MAX_AGE - SECOND)
    assert desired.permission.allows([QUEUE])
    assert desired.reads == 0


def test_what_is_older_is_read_again_and_then_known() -> None:
    desired = Desired("*")
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    desired.clock.sleep(MAX_AGE)
    assert not desired.permission.allows([QUEUE])
    assert not desired.permission.allows([OTHER])
    assert desired.reads == 1
    assert desired.permission.pauses == desired.pauses


def test_a_machines_clock_that_goes_back_hides_no_pause() -> None:
    desired = Desired("*")
    desired.permission = LaunchPermission(read=desired.read, clock=Corrected(desired.clock))
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    desired.clock.sleep(MAX_AGE)
    assert not desired.permission.allows([QUEUE])


def test_knowledge_never_becomes_older() -> None:
    """A renewal whose answer comes late does not undo what was read after it."""
    desired = Desired()
    desired.permission.observe(Pauses(paused={"*": OperatorPause(since=EPOCH)}), desired.clock.monotonic() + SECOND)
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    assert desired.permission.pauses.of(QUEUE) is not None


def test_one_paused_queue_stops_a_launch_for_several_and_another_alone_goes_on() -> None:
    desired = Desired("default")
    assert not desired.permission.allows([QUEUE, OTHER])
    assert desired.permission.allows([OTHER])


def test_without_an_answer_the_last_word_holds_for_seconds_and_then_nothing_starts() -> None:
    desired = Desired()
    desired.fails = True
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    desired.clock.sleep(MAX_AGE_UNREADABLE - SECOND)
    assert desired.permission.allows([QUEUE])
    desired.clock.sleep(SECOND)
    assert not desired.permission.allows([QUEUE])
    assert timedelta() < MAX_AGE < MAX_AGE_UNREADABLE < timedelta(seconds=5), "what is promised"


def test_a_slow_read_that_fails_does_not_make_old_knowledge_young() -> None:
    desired = Desired()
    desired.fails, desired.takes = True, 30 * SECOND
    desired.permission.observe(Pauses(), desired.clock.monotonic())
    desired.clock.sleep(3 * SECOND)
    assert not desired.permission.allows([QUEUE])


def test_a_slow_answer_is_as_old_as_its_question() -> None:
    """The ledger may have read its item at the beginning of those seconds, before the operator's pause."""
    desired = Desired()
    desired.takes = MAX_AGE_UNREADABLE
    assert not desired.permission.allows([QUEUE])
    desired.takes = MAX_AGE_UNREADABLE - SECOND
    assert desired.permission.allows([QUEUE])


def permitted(desk: Desk, desired: Desired) -> Desk:
    """That desk, which asks for permission."""
    desk.bind = replace(desk.bind, permission=desired.permission)
    return desk


def test_a_pause_that_comes_while_buildkite_issues_tokens_stops_the_write() -> None:
    class SlowMint(Mint):
        def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
            desired.clock.sleep(10 * SECOND)
            desired.pauses = Pauses(paused={"default": OperatorPause(since=EPOCH)})
            return super().issue_tokens(queue, job_ids, lifetime)

    desired = Desired()
    desk = permitted(Desk(SlowMint()), desired)
    stopped, goes_on = desk.ready(1), desk.ready(2, queue=OTHER)
    assert set(desk.pairs([stopped, goes_on], {SMALL: (a_vm(1), a_vm(2))})) == {goes_on.job_id}
    assert "jobs_not_bound" not in desk.telemetry.messages()


def test_a_vm_is_bound_to_no_run_of_a_queue_that_was_paused_meanwhile() -> None:
    desired = Desired("default")
    desk = permitted(Desk(), desired)
    stopped, goes_on = desk.ready(1), desk.ready(2, queue=OTHER)
    bound = desk.pairs([stopped, goes_on], {SMALL: (a_vm(1), a_vm(2))})
    assert set(bound) == {goes_on.job_id}
    assert [queue for queue, _, _ in desk.mint.asked] == [OTHER]
    before = desired.reads
    desk.bind(DispatcherCycle(now=EPOCH, fence=1, book=a_book()))
    assert desired.reads == before, "a cycle without pairs reads nothing"
