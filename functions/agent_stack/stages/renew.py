"""Renew: a fresh job token for each VM that was still booting when its reservation was extended.

A job token never outlives the reservation it was issued under, so a VM that boots for longer than one reservation
would find a dead one. A token that the VM has taken already is left alone: it registers with it at once.
"""

from collections import defaultdict
from dataclasses import dataclass

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceArn, JobId, QueueKey
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import Baton, RunState
from agent_stack.ports import Mailbox, StacksApi, Telemetry
from agent_stack.stages.ticks import TrackerTick


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Issues tokens queue by queue and swaps them in, each on the condition that the old one is still there."""

    stacks: StacksApi
    mailbox: Mailbox
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Changes nothing of the tick."""
        by_queue: dict[QueueKey, dict[JobId, InstanceArn]] = defaultdict(dict)
        for run in tick.extended:
            if run.state is RunState.BOOTING and run.baton is Baton.IN_BOX and run.binding is not None:
                by_queue[run.queue_key][run.job_id] = run.binding.arn
        for queue, boxes in by_queue.items():
            answer = self.stacks.issue_tokens(queue, list(boxes), self.policy.reservation)
            for error in answer.errors:
                self.telemetry.warning("tokens_not_renewed", queue=queue, error=str(error))
            for job_id, token in answer.tokens.items():
                self._swap(job_id, boxes[job_id], token)
        return tick

    def _swap(self, job_id: JobId, arn: InstanceArn, token: str) -> None:
        try:
            if self.mailbox.renew(arn, token):
                self.telemetry.info("token_renewed", job_id=job_id)
        except AgentStackError as error:
            self.telemetry.warning("token_not_renewed", job_id=job_id, error=str(error))
