"""When a job's wait began, where the listing does not say."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent_stack.dispatcher.runnable_since import MAX_REMEMBERED, RunnableSince
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import Job
from tests.simulator.clock import EPOCH
from tests.unit.values import a_job

QUEUE = QueueKey("default")
OLD = EPOCH - timedelta(minutes=45)
SECOND = timedelta(seconds=1)


def looks(since: RunnableSince, *listings: tuple[float, list[Job], bool]) -> list[list[datetime | None]]:
    """What each listing at that second, complete or not, says of its jobs."""
    return [
        [job.runnable_at for job in since(QUEUE, jobs, complete=complete, now=EPOCH + seconds * SECOND)]
        for seconds, jobs, complete in listings
    ]


def test_a_job_waits_since_the_last_complete_listing_that_did_not_have_it() -> None:
    old = a_job(scheduled_at=OLD)
    *_, first, later = looks(RunnableSince(), (0, [], True), (2, [old], True), (60, [old], True))
    assert first == later == [EPOCH]


def test_a_job_that_was_created_after_that_listing_waits_since_its_creation() -> None:
    young = a_job(scheduled_at=EPOCH + SECOND)
    assert looks(RunnableSince(), (0, [], True), (2, [young], True))[-1] == [EPOCH + SECOND]


def test_what_the_listing_says_wins() -> None:
    told = a_job(scheduled_at=OLD, runnable_at=EPOCH - 5 * SECOND)
    assert looks(RunnableSince(), (0, [told], True)) == [[EPOCH - 5 * SECOND]]


def test_a_time_before_the_creation_or_in_the_future_is_not_believed() -> None:
    early, late = a_job(1, runnable_at=OLD - SECOND, scheduled_at=OLD), a_job(2, runnable_at=EPOCH + 90 * SECOND)
    assert looks(RunnableSince(), (0, [early, late], True)) == [[OLD, EPOCH]]


def test_a_listing_that_is_not_complete_proves_no_absence() -> None:
    old = a_job(scheduled_at=OLD)
    since = RunnableSince()
    assert looks(since, (0, [], False), (2, [old], True)) == [[], [OLD]]
    assert looks(since, (4, [], False), (6, [old], True)) == [[], [OLD]]


def test_a_job_that_was_away_waits_anew() -> None:
    old = a_job(scheduled_at=OLD)
    assert looks(RunnableSince(), (0, [old], True), (2, [], True), (4, [old], True))[-1] == [EPOCH + 2 * SECOND]


def test_more_jobs_than_it_remembers_wait_since_their_creation() -> None:
    crowd = [a_job(number, scheduled_at=OLD) for number in range(MAX_REMEMBERED + 1)]
    since = RunnableSince()
    looks(since, (0, [], True), (2, crowd, True))
    assert looks(since, (4, crowd[:1], True)) == [[OLD]]


@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), st.booleans()), max_size=12))
def test_no_wait_is_longer_than_the_job_is_old_or_shorter_than_it_was_seen(looks: list[tuple[set[int], bool]]) -> None:
    since = RunnableSince()
    seen: dict[int, datetime] = {}
    for seconds, (numbers, complete) in enumerate(looks):
        now = EPOCH + seconds * SECOND
        listed = since(QUEUE, [a_job(n, scheduled_at=OLD) for n in numbers], complete=complete, now=now)
        seen = {n: at for n, at in seen.items() if n in numbers or not complete}
        for number, job in zip(numbers, listed, strict=True):
            first = seen.setdefault(number, now)
            assert OLD <= job.waits_since <= first
