"""Refresh credentials: issues new job tokens for VMs whose agent has not registered yet.

A job token expires with the reservation under which it was issued. A VM that boots for longer would find an expired
token, so the tracker issues a new one with each extension. A token that the VM has taken is not replaced, because its
agent registers at once. Exception: a VM that reports a lost answer when it took the token gets another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CredentialHolder, RunState
from agent_stack.ports import Mailbox, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshCredentials:
    """Issues tokens queue by queue, and replaces each one in its mailbox by a conditional write."""

    stacks: StacksApi
    mailbox: Mailbox
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Returns the cycle unchanged."""
        extended = [
            run
            for run in cycle.extended
            if run.state is RunState.BOOTING and run.credential_holder is CredentialHolder.MAILBOX
        ]
        lost = [v.run for v in cycle.verdicts.values() if v.decision.action is Action.REISSUE]
        self._put(extended, self.mailbox.renew, "token_renewed")
        self._put(lost, self.mailbox.reissue, "token_reissued")
        return cycle

    def _put(self, runs: Sequence[Run], put: Callable[[InstanceArn, str], bool], done: str) -> None:
        boxes = {run.job_id: run.binding.arn for run in runs if run.binding is not None}
        for queue, job_ids in by_queue((run.queue_key, run.job_id) for run in runs if run.job_id in boxes).items():
            answer = self.stacks.issue_tokens(queue, job_ids, self.policy.reservation)
            for error in answer.errors:
                self.telemetry.info("tokens_not_renewed", queue=queue, error=str(error))
            for job_id, token in answer.tokens.items():
                try:
                    if put(boxes[job_id], token):
                        self.telemetry.info(done, job_id=job_id)
                except AgentStackError as error:
                    self.telemetry.info("token_not_renewed", job_id=job_id, error=str(error))
