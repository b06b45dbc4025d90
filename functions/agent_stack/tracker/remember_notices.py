"""Remember notices: records the new notices of this cycle in their runs, before later steps change or end the runs.

The run records a notice before the tracker sends it (`send_notifications`). A crash between the two loses one
notification; the other order would repeat it after every crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action
from agent_stack.domain.notices import Notice
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import Moment, RunState
from agent_stack.ports import Ledger, Notification, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

MAX_NOTICES_OF_RUNS = 15
"""For one job, over all its attempts and runs. With the wait reasons this makes 20; the stricter version of Buildkite's
API allows 50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberNotices:
    """Records each run's unsent notices and the observed moments of its boot."""

    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`; adds to `notifications`."""
        unsent = {job_id: self._unsent(verdict) for job_id, verdict in cycle.verdicts.items()}
        recorded = written(
            self.ledger.update,
            [
                cycle.verdicts[job_id].run.with_facts(
                    notices_sent=cycle.verdicts[job_id].run.notices_sent | {notice.key for notice in notices_sent},
                    moments=_new_moments(cycle.verdicts[job_id]),
                )
                for job_id, notices_sent in unsent.items()
                if notices_sent or _new_moments(cycle.verdicts[job_id])
            ],
            self.telemetry,
        )
        remembered = tuple(
            (run.queue_key, Notification(job_id=run.job_id, text=notice.text, at=cycle.now))
            for run in recorded
            for notice in unsent[run.job_id]
        )
        return replace(cycle, verdicts=cycle.with_runs(recorded), notifications=(*cycle.notifications, *remembered))

    def _unsent(self, verdict: Verdict) -> list[Notice]:
        room = MAX_NOTICES_OF_RUNS - verdict.run.notices_sent_in_all
        notices = [
            notice
            for notice in verdict.decision.notices
            if notice.key not in verdict.run.notices_sent and notice.shown_at(self.policy.notification_level)
        ]
        return notices[: max(0, room)]


def _new_moments(verdict: Verdict) -> Mapping[Moment, datetime]:
    """The moments that this cycle adds to the time line of a boot."""
    booting = verdict.run.state is RunState.BOOTING and _is_still_booting(verdict.decision.action)
    return verdict.situation.observed_moments if booting else {}


def _is_still_booting(action: Action) -> bool:
    """For the others a later step of the same cycle writes the run, with the observed moments where they matter."""
    match action:
        case Action.RUN | Action.REQUEUE | Action.FINISH | Action.END:
            return False
        case Action.KEEP | Action.RECORD_JOB_OVER | Action.EXTEND | Action.REISSUE | Action.REVOKE | Action.TERMINATE:
            return True
