"""Send notifications: what goes out when, and what a build page that does not answer may cost."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from agent_stack.domain.errors import AgentStackError, GiveUpError, NotAskedError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.ports import Notification
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.send_notifications import (
    BUDGET,
    EXPIRES,
    HOLD_OFF,
    MAX_UNSENT,
    SendNotifications,
)
from tests.simulator.clock import VirtualClock
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import job_id

SECOND = timedelta(seconds=1)


class Pages:
    """Build pages that take their time, and fail as a test says."""

    def __init__(self) -> None:
        self.clock, self.telemetry = VirtualClock(), RecordedTelemetry()
        self.takes = timedelta()
        self.jobs: Iterator[int] = itertools.count(1)
        self.fails: AgentStackError | None = None
        self.requests: list[tuple[QueueKey, list[str]]] = []
        self.step = SendNotifications(stacks=self, clock=self.clock, telemetry=self.telemetry)  # type: ignore[arg-type]

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        self.clock.sleep(self.takes)
        self.requests.append((queue, [one.text for one in notifications]))
        return {one.job_id: self.fails for one in notifications} if self.fails else {}

    def cycle(self, *texts: str, queue: str = "default") -> None:
        now = self.clock.now()
        self.step(
            TrackerCycle(
                now=now,
                notifications=tuple(
                    (QueueKey(queue), Notification(job_id=job_id(next(self.jobs)), text=text, at=now)) for text in texts
                ),
            )
        )

    @property
    def texts(self) -> list[str]:
        return [text for _, texts in self.requests for text in texts]


def test_each_one_is_sent_once_in_its_order_in_one_request_a_queue() -> None:
    pages = Pages()
    pages.cycle("first", "second")
    pages.cycle("third", queue="other")
    pages.cycle()
    assert pages.requests == [(QueueKey("default"), ["first", "second"]), (QueueKey("other"), ["third"])]


def test_a_cycle_spends_a_bounded_time_and_the_next_ones_send_the_rest() -> None:
    pages = Pages()
    pages.takes = 0.4 * SECOND
    pages.jobs = itertools.repeat(1)
    texts = [str(number) for number in range(5)]  # of one job, so that each is a request
    pages.cycle(*texts)
    assert pages.clock.monotonic() <= BUDGET + pages.takes
    assert len(pages.requests) == 3
    pages.cycle()
    assert pages.texts == texts


def test_what_the_client_had_no_time_for_is_sent_later_and_in_its_order() -> None:
    pages = Pages()
    pages.fails = NotAskedError("no time left")
    pages.takes = 2 * BUDGET
    pages.cycle("first", "second")
    assert pages.telemetry.messages("WARNING") == []
    pages.fails = None
    pages.cycle("third")
    assert pages.texts == ["first", "second", "first", "second", "third"]


def test_an_endpoint_that_fails_has_one_try_and_is_left_alone_for_a_while() -> None:
    for error in (RetryError("429"), UnknownOutcomeError("no answer")):
        pages = Pages()
        pages.fails = error
        pages.cycle("lost")
        for _ in range(HOLD_OFF // SECOND - 1):
            pages.clock.sleep(SECOND)
            pages.cycle("kept")
        assert pages.texts == ["lost"]
        pages.fails = None
        pages.clock.sleep(SECOND)
        pages.cycle()
        assert pages.texts == ["lost"] + ["kept"] * (HOLD_OFF // SECOND - 1)


def test_a_notification_that_is_refused_holds_up_no_other() -> None:
    pages = Pages()
    pages.fails = GiveUpError("too many for this job")
    pages.cycle("refused")
    pages.cycle("next")
    assert pages.texts == ["refused", "next"]


def test_what_is_kept_is_bounded_in_number_and_in_age() -> None:
    pages = Pages()
    pages.fails = RetryError("429")
    pages.cycle("lost")
    pages.cycle(*(str(number) for number in range(MAX_UNSENT + 5)))
    assert pages.telemetry.messages("WARNING")[-1] == "notifications_dropped"
    assert len(pages.step._unsent) == MAX_UNSENT
    pages.clock.sleep(EXPIRES)
    pages.fails = None
    pages.cycle("young")
    assert pages.texts == ["lost", "young"]


def test_a_queue_that_cannot_be_asked_yet_is_asked_once_a_cycle_and_holds_up_no_other() -> None:
    class OneQueueUnknown(Pages):
        def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
            self.fails = NotAskedError("the dialect is not known yet") if queue == "unknown" else None
            return Pages.notify(self, queue, notifications)

    pages = OneQueueUnknown()
    pages.takes = 0.001 * SECOND
    pages.cycle("waits", queue="unknown")
    pages.cycle("is sent", queue="known")
    assert pages.requests == [
        (QueueKey("unknown"), ["waits"]),
        (QueueKey("unknown"), ["waits"]),
        (QueueKey("known"), ["is sent"]),
    ]
    told = [fields["queue"] for _, message, fields in pages.telemetry.records if message == "notifications_sent"]
    assert told == ["known"]
