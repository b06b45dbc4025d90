"""Notify waiting: claims the wait reasons that the build pages of waiting jobs get now, each reason once.

The dispatcher publishes the reasons as a list; only the tracker sends notifications. A conditional write claims each
notification before it is sent. So only one of two trackers sends it, and a crash in between loses one notification.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.domain.waiting import MAX_NOTICES_PER_CYCLE, Waiting, WaitReason, waiting_notice
from agent_stack.ports import Ledger, Notification, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

READ_INTERVAL = timedelta(seconds=5)
"""A listed job has waited for half a minute already, and a read in every cycle would cost more than it helps."""


@dataclass(slots=True, kw_only=True)
class NotifyWaiting:
    """Claims a bounded number in each cycle; the next cycles claim the rest."""

    ledger: Ledger
    policy: Policy
    telemetry: Telemetry
    _read_at: datetime | None = field(default=None, init=False)
    _claimed: frozenset[tuple[JobId, WaitReason]] = field(default=frozenset(), init=False)
    """Reasons of listed jobs that are claimed already, so that no further write is needed."""

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Adds to `notifications`."""
        if not has_passed(READ_INTERVAL, self._read_at, cycle.now):
            return cycle
        self._read_at = cycle.now
        listed = self.ledger.waiting()
        jobs = [] if listed is None else [job for job in listed.current(cycle.now) if self._is_told(job)]
        with_vm = {s.run.job_id for s in cycle.situations if s.run.binding is not None}
        self._claimed &= {(job.job_id, job.reason) for job in jobs}
        unclaimed = [job for job in jobs if (job.job_id, job.reason) not in self._claimed and job.job_id not in with_vm]
        batch = unclaimed[:MAX_NOTICES_PER_CYCLE]
        if not batch:
            return cycle
        claims = self.ledger.claim_notices(batch)
        undecided = {(job.job_id, job.reason) for job in claims.undecided}
        self._claimed |= {(job.job_id, job.reason) for job in batch} - undecided
        if len(unclaimed) > len(batch):
            self._read_at = None  # the next cycle sends more
        texts = ((job, waiting_notice(job, self.policy).text) for job in claims.claimed)
        notices = [(job.queue_key, Notification(job_id=job.job_id, text=text, at=cycle.now)) for job, text in texts]
        return replace(cycle, notifications=(*cycle.notifications, *notices))

    def _is_told(self, waiting: Waiting) -> bool:
        return waiting_notice(waiting, self.policy).shown_at(self.policy.notification_level)
