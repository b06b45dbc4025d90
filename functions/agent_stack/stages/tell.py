"""Tell: put the news of this tick on the build pages, each once.

What is told is remembered before it is sent. A crash between the two loses one line of news; the other order
would repeat it at every crash.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.notices import Notice
from agent_stack.domain.policy import Policy
from agent_stack.ports import Ledger, Notification, StacksApi, Telemetry
from agent_stack.stages.ticks import TrackerTick, Verdict

MAX_NOTICES_A_RUN = 20
"""Of the 50 notifications Buildkite's stricter dialect allows a job; later runs of the job want some too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Sends each run's untold notices, all of a queue in one request."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Updates the runs in `verdicts`."""
        news = {job_id: self._untold(verdict) for job_id, verdict in tick.verdicts.items()}
        remembered = self.ledger.update(
            [
                tick.verdicts[job_id].run.noted(told=tick.verdicts[job_id].run.told | {notice.key for notice in told})
                for job_id, told in news.items()
                if told
            ]
        )
        by_queue: dict[QueueKey, list[Notification]] = defaultdict(list)
        for run in remembered:
            by_queue[run.queue_key] += [
                Notification(job_id=run.job_id, text=notice.text, at=tick.now) for notice in news[run.job_id]
            ]
        for queue, notifications in by_queue.items():
            self._send(queue, notifications)
        return replace(tick, verdicts=tick.with_runs(remembered))

    def _untold(self, verdict: Verdict) -> list[Notice]:
        room = MAX_NOTICES_A_RUN - len(verdict.run.told)
        wanted = [
            notice
            for notice in verdict.decision.notices
            if notice.key not in verdict.run.told and notice.shown_at(self.policy.notification_level)
        ]
        return wanted[: max(0, room)]

    def _send(self, queue: QueueKey, notifications: list[Notification]) -> None:
        untold = self.stacks.notify(queue, notifications)
        self.telemetry.info("build_pages_told", queue=queue, count=len(notifications) - len(untold))
        for job_id, error in untold.items():
            self.telemetry.warning("build_page_not_told", job_id=job_id, error=str(error))
