"""Claim: settle who owns the job before anything is destroyed.

Takes the baton where that was decided, then reads the jobs' states once more for every run about to lose its
VM or its job, and decides again. Between the first look and the baton an agent may have taken the job; after
both are known, nothing can change any more: with the baton here no agent of ours can come, and without it the
state read last says whether one came.
"""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import Action, decide, ends_the_vm
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CredentialHolder, RunState
from agent_stack.ports import Ledger, Mailbox, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.job_states import job_states

FAILURES_PER_CYCLE = 3
"""Batons that cannot be taken before the others are left for the next cycle: the table is not to be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Takes batons and confirms destructive decisions about runs whose agent may just be coming up."""

    mailbox: Mailbox
    ledger: Ledger
    stacks: StacksApi
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Rewrites the `verdicts` concerned."""
        verdicts = dict(cycle.verdicts)
        held: list[Run] = []
        failures = 0
        for verdict in cycle.verdicts.values():
            if verdict.decision.action is Action.REVOKE and failures < FAILURES_PER_CYCLE:
                credential_holder = self._take(verdict.run)
                if credential_holder is not None:
                    held.append(verdict.run.with_facts(credential_holder=credential_holder))
                failures += credential_holder is None
        known = {run.job_id: run for run in self.ledger.update(held)}
        doubtful = [
            replace(verdict.situation, run=known.get(job_id, verdict.run))
            for job_id, verdict in verdicts.items()
            if verdict.run.state is RunState.BOOTING and (job_id in known or ends_the_vm(verdict.decision.action))
        ]
        states = job_states([s.run for s in doubtful], self.stacks, self.telemetry)
        for situation in doubtful:
            again = replace(situation, job_state=states.get(situation.run.job_id))
            verdicts[again.run.job_id] = Verdict(situation=again, decision=decide(again))
        return replace(cycle, verdicts=verdicts)

    def _take(self, run: Run) -> CredentialHolder | None:
        """Who holds the baton now; None when that could not be learnt."""
        if run.binding is None:
            return None
        try:
            taken = self.mailbox.revoke_credential(run.binding.arn)
        except AgentStackError as error:
            self.telemetry.warning("baton_unknown", job_id=run.job_id, error=str(error))
            return None
        holder = CredentialHolder.TRACKER if taken else CredentialHolder.VM
        self.telemetry.info("baton_settled", job_id=run.job_id, instance_id=run.binding.instance_id, holder=holder)
        return holder
