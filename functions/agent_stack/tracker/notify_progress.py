"""Tell: put the news of this cycle on the build pages, each once.

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
from agent_stack.tracker.build_page import send_notifications
from agent_stack.tracker.cycle import TrackerCycle, Verdict

MAX_NOTICES_OF_RUNS = 15
"""Told to one job of all its attempts and runs. With what it is told while it waits that is 20, of the 50 that
Buildkite's stricter dialect allows."""

"""What is decided then is written anyway, with what was learnt where that matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyProgress:
    """Sends each run's untold notices, all of a queue in one request; writes down what was learnt of its boot."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`."""
        news = {job_id: self._unsent(verdict) for job_id, verdict in cycle.verdicts.items()}
        remembered = self.ledger.update(
            [
                cycle.verdicts[job_id].run.with_facts(
                    notices_sent=cycle.verdicts[job_id].run.notices_sent | {notice.key for notice in notices_sent},
                    moments=_learnt(cycle.verdicts[job_id]),
                )
                for job_id, notices_sent in news.items()
                if notices_sent or _learnt(cycle.verdicts[job_id])
            ]
        )
        send_notifications(
            [
                (run.queue_key, Notification(job_id=run.job_id, text=notice.text, at=cycle.now))
                for run in remembered
                for notice in news[run.job_id]
            ],
            self.stacks,
            self.telemetry,
        )
        return replace(cycle, verdicts=cycle.with_runs(remembered))

    def _unsent(self, verdict: Verdict) -> list[Notice]:
        room = MAX_NOTICES_OF_RUNS - verdict.run.notices_sent_in_all
        wanted = [
            notice
            for notice in verdict.decision.notices
            if notice.key not in verdict.run.notices_sent and notice.shown_at(self.policy.notification_level)
        ]
        return wanted[: max(0, room)]


def _learnt(verdict: Verdict) -> Mapping[Moment, datetime]:
    """What this look adds to the time line of a boot."""
    booting = verdict.run.state is RunState.BOOTING and _is_still_booting(verdict.decision.action)
    return verdict.situation.observed_moments if booting else {}


def _is_still_booting(action: Action) -> bool:
    match action:
        case Action.RUN | Action.REQUEUE | Action.FINISH | Action.END:
            return False
        case Action.KEEP | Action.RECORD_JOB_OVER | Action.EXTEND | Action.REISSUE | Action.REVOKE | Action.TERMINATE:
            return True
