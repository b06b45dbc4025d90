"""The queues are listed while the ledger is read, and what is listed means the same as if it had been listed later."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.first_pages import FirstPages
from agent_stack.dispatcher.poll import Poll
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.jobs import Job, Queue, ScheduledPage
from agent_stack.domain.runs import Run
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import AtOnce, ByHand, an_intent
from tests.unit.dispatcher.ward import Ward
from tests.unit.values import a_job, a_policy, a_run

QUEUES = (QueueKey("a"), QueueKey("b"))


@dataclass
class Stacks:
    """Buildkite, which notes what is listed."""

    journal: list[str] = field(default_factory=list)
    fails: frozenset[QueueKey] = frozenset()

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        self.journal.append(f"list {queue}" + (f" from {cursor}" if cursor else ""))
        if queue in self.fails:
            raise RetryError("no answer")
        jobs = (replace(a_job(QUEUES.index(queue)), queue_key=queue),)
        return ScheduledPage(jobs=jobs, paused=False, next_cursor=None)


def first_pages(ward: Ward, stacks: Stacks, workers: Any) -> FirstPages:  # noqa: ANN401  (either kind)
    queues = tuple(Queue(key=queue, stack_key=StackKey("")) for queue in QUEUES)
    return FirstPages(stacks=stacks, queues=queues, in_flight=ward.in_flight, workers=workers)  # type: ignore[arg-type]  # the one method it needs


def polled(pages: FirstPages, stacks: Stacks, cycle: DispatcherCycle) -> Sequence[Job]:
    poll = Poll(
        stacks=stacks,  # type: ignore[arg-type]  # the one method it needs
        queues=pages.queues,
        policy=a_policy(),
        clock=VirtualClock(),
        telemetry=RecordedTelemetry(),
        first_pages=pages,
    )
    return poll(cycle).listed


def test_queues_are_listed_beside_the_look_at_the_ledger_and_once() -> None:
    ward, stacks, workers = Ward(), Stacks(), ByHand()
    pages = first_pages(ward, stacks, workers)
    ward.recover = replace(ward.recover, first_pages=pages)
    cycle = ward.cycle()
    assert "active_runs" in ward.journal
    assert stacks.journal == []  # nobody waited for them
    workers.perform()
    assert [job.queue_key for job in polled(pages, stacks, cycle)] == list(QUEUES)
    assert stacks.journal == ["list a", "list b"]


def test_a_cycle_that_does_not_read_the_ledger_lists_no_queue_ahead() -> None:
    ward, stacks, workers = Ward(), Stacks(), ByHand()
    ward.recover = replace(ward.recover, first_pages=first_pages(ward, stacks, workers))
    ward.empty_ledger.mark_empty(1, EPOCH)
    assert not ward.cycle().first_pages
    assert not workers.submitted


def test_a_launch_in_flight_may_hold_the_threads_so_the_cycle_lists_by_itself() -> None:
    ward, stacks, workers = Ward(by_hand=True), Stacks(), ByHand()
    pages = first_pages(ward, stacks, workers)
    ward.in_flight.begin(an_intent(1))
    cycle = pages.start(DispatcherCycle(now=EPOCH, fence=1))
    assert not workers.submitted
    assert len(polled(pages, stacks, cycle)) == 2


def test_a_queue_that_cannot_be_listed_costs_no_other_queue_its_jobs() -> None:
    ward, stacks = Ward(), Stacks(fails=frozenset({QUEUES[0]}))
    pages = first_pages(ward, stacks, AtOnce())
    jobs = polled(pages, stacks, pages.start(DispatcherCycle(now=EPOCH, fence=1)))
    assert [job.queue_key for job in jobs] == [QUEUES[1]]


def test_a_page_that_never_comes_counts_as_a_queue_that_was_not_listed() -> None:
    ward, stacks, workers = Ward(), Stacks(), ByHand()
    pages = first_pages(ward, stacks, workers)
    cycle = pages.start(DispatcherCycle(now=EPOCH, fence=1))
    with pytest.raises(RetryError, match="queue a: no answer within 30 s"):
        pages.of(cycle, QUEUES[0])


def test_a_job_whose_run_the_ledger_shows_is_not_listed_again() -> None:
    ward, stacks = Ward(), Stacks()
    pages = first_pages(ward, stacks, AtOnce())
    cycle = pages.start(DispatcherCycle(now=EPOCH, fence=1, active=(known_run(),)))
    assert [job.queue_key for job in polled(pages, stacks, cycle)] == [QUEUES[1]]


def known_run() -> Run:
    """Of the first queue's job; written between the look at the queue and the look at the ledger."""
    ledger = MemoryLedger(store=Store())
    (run,) = ledger.record([replace(a_run(0), job_id=a_job(0).job_id)])
    return run
