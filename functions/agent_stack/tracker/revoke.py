"""Revoke: decides who owns the job before the tracker destroys a VM or fails a job.

First it revokes the credentials where `decide` asked for it. Then it reads the job states again for every run that
would lose its VM or its job, and decides again. An agent may have taken the job between the first read and the
revocation. After both are known, nothing can change: with a revoked credential no agent of this VM can acquire the job;
without it, the last job state shows whether an agent has the job.
"""

from dataclasses import dataclass, field, replace

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action, decide, ends_the_vm
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CredentialHolder, RunState
from agent_stack.outages import Outages
from agent_stack.ports import Ledger, Mailbox, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.job_states import job_states

FAILURES_PER_CYCLE = 3
"""After this many failed revocations the others wait for the next cycle, because the table is probably unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Revokes credentials, and confirms destructive decisions about runs whose agent may be starting."""

    mailbox: Mailbox
    ledger: Ledger
    stacks: StacksApi
    telemetry: Telemetry
    outages: Outages = field(default_factory=Outages)
    mailbox_outages: Outages = field(default_factory=Outages)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Replaces the `verdicts` of these runs."""
        verdicts = dict(cycle.verdicts)
        held: list[Run] = []
        failures = 0
        to_revoke = [job_id for job_id, v in verdicts.items() if v.decision.action is Action.REVOKE]
        self.mailbox_outages.keep(to_revoke)
        for run in (verdicts[job_id].run for job_id in to_revoke):
            if failures < FAILURES_PER_CYCLE:
                credential_holder = self._revoke(run)
                if credential_holder is not None:
                    held.append(run.with_facts(credential_holder=credential_holder))
                failures += credential_holder is None
        known = {run.job_id: run for run in written(self.ledger.update, held, self.telemetry)}
        to_confirm = [
            replace(verdict.situation, run=known.get(job_id, verdict.run))
            for job_id, verdict in verdicts.items()
            if verdict.run.state is RunState.BOOTING and (job_id in known or ends_the_vm(verdict.decision.action))
        ]
        answers = job_states([s.run for s in to_confirm], self.stacks, self.telemetry, self.outages)
        for situation in to_confirm:
            job_id = situation.run.job_id
            forgotten = situation.forgotten and answers.is_unnamed(job_id)
            again = replace(situation, job_state=answers.states.get(job_id), forgotten=forgotten)
            verdicts[again.run.job_id] = Verdict(situation=again, decision=decide(again))
        return replace(cycle, verdicts=verdicts)

    def _revoke(self, run: Run) -> CredentialHolder | None:
        """Who holds the credential now; None when the mailbox could not be reached."""
        if run.binding is None:
            return None
        try:
            revoked = self.mailbox.revoke_credential(run.binding.arn)
        except AgentStackError as error:
            self.mailbox_outages.passing(
                run.job_id, self.telemetry, "credential_holder_unknown", job_id=run.job_id, error=str(error)
            )
            return None
        holder = CredentialHolder.TRACKER if revoked else CredentialHolder.VM
        self.telemetry.info("credential_settled", job_id=run.job_id, instance_id=run.binding.instance_id, holder=holder)
        return holder
