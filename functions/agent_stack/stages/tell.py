"""Tell: put the news of this tick on the build pages, each once.

What is told is remembered before it is sent. A crash between the two loses one line of news; the other order
would repeat it at every crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent_stack.domain.decisions import Action
from agent_stack.domain.notices import Notice
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import Moment, RunState
from agent_stack.ports import Ledger, Notification, StacksApi, Telemetry
from agent_stack.stages.build_page import tell_pages
from agent_stack.stages.ticks import TrackerTick, Verdict

MAX_NOTICES_OF_RUNS = 15
"""Told to one job of all its attempts and runs. With what it is told while it waits that is 20, of the 50 that
Buildkite's stricter dialect allows."""

MOVED_ON = frozenset({Action.RUN, Action.HAND_BACK, Action.FINISH, Action.END})
"""What is decided then is written anyway, with what was learnt where that matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Sends each run's untold notices, all of a queue in one request; writes down what was learnt of its boot."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Updates the runs in `verdicts`."""
        news = {job_id: self._untold(verdict) for job_id, verdict in tick.verdicts.items()}
        remembered = self.ledger.update(
            [
                tick.verdicts[job_id].run.noted(
                    told=tick.verdicts[job_id].run.told | {notice.key for notice in told},
                    moments=_learnt(tick.verdicts[job_id]),
                )
                for job_id, told in news.items()
                if told or _learnt(tick.verdicts[job_id])
            ]
        )
        tell_pages(
            [
                (run.queue_key, Notification(job_id=run.job_id, text=notice.text, at=tick.now))
                for run in remembered
                for notice in news[run.job_id]
            ],
            self.stacks,
            self.telemetry,
        )
        return replace(tick, verdicts=tick.with_runs(remembered))

    def _untold(self, verdict: Verdict) -> list[Notice]:
        room = MAX_NOTICES_OF_RUNS - verdict.run.told_so_far
        wanted = [
            notice
            for notice in verdict.decision.notices
            if notice.key not in verdict.run.told and notice.shown_at(self.policy.notification_level)
        ]
        return wanted[: max(0, room)]


def _learnt(verdict: Verdict) -> Mapping[Moment, datetime]:
    """What this look adds to the time line of a boot."""
    booting = verdict.run.state is RunState.BOOTING and verdict.decision.action not in MOVED_ON
    return verdict.situation.learnt if booting else {}
