"""Renew: a fresh job token for each VM that needs one before its agent has registered.

A job token never outlives the reservation it was issued under, so a VM that boots for longer than one reservation
would find a dead one: with each extension it gets another. A token that the VM has taken already is left alone, for it
registers with it at once; but a VM that says that the answer to its taking was lost gets another, too.
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
    """Issues tokens queue by queue and swaps them in, each on its own condition."""

    stacks: StacksApi
    mailbox: Mailbox
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Changes nothing of the cycle."""
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
                self.telemetry.warning("tokens_not_renewed", queue=queue, error=str(error))
            for job_id, token in answer.tokens.items():
                try:
                    if put(boxes[job_id], token):
                        self.telemetry.info(done, job_id=job_id)
                except AgentStackError as error:
                    self.telemetry.warning("token_not_renewed", job_id=job_id, error=str(error))
