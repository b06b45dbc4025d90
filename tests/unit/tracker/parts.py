"""Parts of a tracker that several of its tests need: runs with a decision, and a Buildkite by script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.decisions import Action, Decision
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import JobState, Outcome
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.ports import JobStates, Reserved
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy

NOW = EPOCH + timedelta(seconds=30)


@dataclass(kw_only=True)
class ScriptedStacks:
    """Buildkite as a test wants it; what it was asked for is in `journal`, in order.

    Attributes:
        states: the state of each job.
        refused: jobs that are not, or no longer, to be reserved.
        unanswered: queues of which every question fails.
        half_answered: queues of which a part of every question fails, and the rest is answered.
        unnamed: jobs that no answer names.
        no_answer: how these questions fail.
        finishes: how finishing of a job fails.
    """

    states: Mapping[JobId, JobState] = field(default_factory=dict)
    refused: frozenset[JobId] = frozenset()
    unanswered: frozenset[QueueKey] = frozenset()
    half_answered: frozenset[QueueKey] = frozenset()
    unnamed: frozenset[JobId] = frozenset()
    no_answer: AgentStackError = field(default_factory=lambda: AgentStackError("no answer"))
    finishes: Mapping[JobId, AgentStackError] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    reserved: list[tuple[QueueKey, list[JobId], timedelta]] = field(default_factory=list)
    finished: list[tuple[QueueKey, JobId, int, str]] = field(default_factory=list)

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        self.journal.append("job_states")
        if queue in self.unanswered:
            return JobStates(states={}, errors=(self.no_answer,))
        errors = (self.no_answer,) if queue in self.half_answered else ()
        states = {job_id: self.states[job_id] for job_id in job_ids if job_id in self.states}
        return JobStates(states=states, errors=errors)

    def reserve(self, queue: QueueKey, job_ids: Sequence[JobId], expiry: timedelta) -> Reserved:
        self.journal.append("reserve")
        self.reserved.append((queue, list(job_ids), expiry))
        if queue in self.unanswered:
            return Reserved(reserved=frozenset(), not_reserved=frozenset(), errors=(self.no_answer,))
        asked, errors = frozenset(job_ids) - self.unnamed, (self.no_answer,) if queue in self.half_answered else ()
        return Reserved(reserved=asked - self.refused, not_reserved=asked & self.refused, errors=errors)

    def finish(self, queue: QueueKey, job_id: JobId, *, exit_status: int, detail: str) -> None:
        self.journal.append("finish")
        self.finished.append((queue, job_id, exit_status, detail))
        if job_id in self.finishes:
            raise self.finishes[job_id]


def a_verdict(
    run: Run,
    action: Action,
    *,
    reason: str = "why",
    outcome: Outcome | None = None,
    vm: Vm | None = None,
    mailbox_status: MailboxStatus | None = None,
    job_state: JobState | None = None,
    now: datetime = NOW,
) -> Verdict:
    """What was decided on that run."""
    situation = Situation(
        run=run,
        vm=vm,
        described=True,
        job_state=job_state,
        mailbox_status=mailbox_status,
        boot_timeout=timedelta(minutes=5),
        policy=a_policy(),
        now=now,
    )
    return Verdict(situation=situation, decision=Decision(action=action, reason=reason, outcome=outcome))


def a_cycle(*verdicts: Verdict) -> TrackerCycle:
    return TrackerCycle(now=NOW, verdicts={verdict.run.job_id: verdict for verdict in verdicts})
