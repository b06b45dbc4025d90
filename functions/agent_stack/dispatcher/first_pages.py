"""First pages: lists the queues while the ledger is read, because neither needs the other's answer.

A job may be listed and its run end before the ledger is read. Then the dispatcher records the job once more, and
Buildkite refuses its reservation if the job is over.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import Queue, ScheduledPage
from agent_stack.ports import StacksApi, Workers

ANSWER_TIMEOUT = timedelta(seconds=30)
"""More than a request and its repeats take. A shorter time would leave threads behind that nobody waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPages:
    """Sends one request for each queue beside the cycle, in cycles that read the ledger."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    in_flight: InFlightLaunches
    workers: Workers

    def start(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """The cycle with the requests sent; unless launches are in flight, which may hold all threads for seconds."""
        if self.in_flight.intents:
            return cycle
        pages = {
            queue.key: self.workers.submit(partial(self.stacks.list_scheduled, queue.key)) for queue in self.queues
        }
        return replace(cycle, first_pages=pages)

    def of(self, cycle: DispatcherCycle, queue: QueueKey) -> ScheduledPage:
        """The first page of that queue, as listed in this cycle.

        Raises:
            AgentStackError: it could not be listed.
        """
        task = cycle.first_pages.get(queue)
        if task is None:
            return self.stacks.list_scheduled(queue)
        self.workers.wait([task], ANSWER_TIMEOUT)
        if not task.done():
            raise RetryError(f"queue {queue}: no answer within {ANSWER_TIMEOUT.total_seconds():.0f} s")
        return task.result()
