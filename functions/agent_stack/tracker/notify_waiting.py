"""Explain: tell the jobs that wait for a VM why they do, each reason once.

The dispatcher knows the reasons and leaves them in a list; only the tracker tells build pages. What is told is marked
before it is sent, on a condition of its own: of two trackers one tells, and a crash in between loses one line of news.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.notices import NoticeKind, is_sent_at
from agent_stack.domain.policy import Policy
from agent_stack.domain.waiting import MAX_NOTICES_PER_CYCLE, WaitReason, waiting_notice
from agent_stack.ports import Ledger, Notification, StacksApi, Telemetry
from agent_stack.tracker.build_page import send_notifications
from agent_stack.tracker.cycle import TrackerCycle

LOOK_EVERY = timedelta(seconds=5)
"""Who waited for half a minute can wait for that; a read each second would cost more than it tells."""


@dataclass(slots=True, kw_only=True)
class NotifyWaiting:
    """Tells a bounded number a cycle; the rest comes with the next ones."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry
    _looked_at: datetime | None = field(default=None, init=False)
    _told: frozenset[tuple[JobId, WaitReason]] = field(default=frozenset(), init=False)
    """Known to be told, of the jobs on the list: spares the table the question."""

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Changes nothing of the cycle."""
        if not is_sent_at(NoticeKind.WAITING, self.policy.notification_level):
            return cycle
        if self._looked_at is not None and cycle.now - self._looked_at < LOOK_EVERY:
            return cycle
        self._looked_at = cycle.now
        listed = self.ledger.waiting()
        jobs = () if listed is None else listed.current(cycle.now)
        served = {s.run.job_id for s in cycle.situations if s.run.binding is not None}
        self._told &= {(job.job_id, job.reason) for job in jobs}
        untold = [job for job in jobs if (job.job_id, job.reason) not in self._told and job.job_id not in served]
        fresh = untold[:MAX_NOTICES_PER_CYCLE]
        if not fresh:
            return cycle
        tellable = self.ledger.claim_notices(fresh)
        self._told |= {(job.job_id, job.reason) for job in fresh}
        if len(untold) > len(fresh):
            self._looked_at = None  # there is more to tell in the next cycle
        texts = ((job, waiting_notice(job, self.policy).text) for job in tellable)
        news = [(job.queue_key, Notification(job_id=job.job_id, text=text, at=cycle.now)) for job, text in texts]
        send_notifications(news, self.stacks, self.telemetry)
        return cycle
