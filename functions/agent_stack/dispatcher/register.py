"""Register: registers each queue's stack key with Buildkite, once in each process. Every other request needs it.

First it asks Buildkite which queue the token is for, because the token of another queue would list no jobs forever.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.classes import is_default_alias
from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.domain.moments import is_due
from agent_stack.outages import Outages
from agent_stack.ports import Ledger, StacksApi, Telemetry
from agent_stack.stack_keys import StackKeys

RETRY_AFTER = timedelta(seconds=10)
"""How long a queue that could not be registered waits beside queues that could."""

KEEP_AGAIN_AFTER = timedelta(minutes=1)
_KEEPING = QueueKey("")


@dataclass(slots=True, kw_only=True)
class Register:
    """Registers the queues that are not registered yet; a queue that fails is tried again in the next cycle."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    stack_keys: StackKeys
    ledger: Ledger
    telemetry: Telemetry
    observe_only: bool = False
    _outages: Outages = field(default_factory=Outages, init=False)
    _retry_at: dict[QueueKey, datetime] = field(default_factory=dict, init=False)
    _kept: bool = field(default=False, init=False)
    _done: set[QueueKey] = field(default_factory=set, init=False)
    _identified: bool = field(default=False, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Returns the cycle unchanged.

        Raises:
            ConfigurationError: a setting is wrong for all queues.
            AgentStackError: no queue could be registered, so there is no work to do.
        """
        if not self._identified:
            self._identify()
        failures: list[AgentStackError] = []
        for queue in self.queues:
            retry_at = self._retry_at.get(queue.key)
            if queue.key in self._done or (self._done and not is_due(retry_at, cycle.now, longest=RETRY_AFTER)):
                continue
            try:
                self.stacks.register(queue.key)
            except AgentStackError as error:
                self._outages.serious(
                    queue.key, self.telemetry, "stack_not_registered", queue=queue.key, error=str(error)
                )
                failures.append(error)
                self._retry_at[queue.key] = cycle.now + RETRY_AFTER
                continue
            self._done.add(queue.key)
            self._outages.is_over(queue.key)
            self.telemetry.info("stack_registered", queue=queue.key, stack_key=self.stack_keys(queue.key))
        if failures and not self._done:
            raise next((error for error in failures if isinstance(error, ConfigurationError)), failures[0])
        self._keep(cycle.now)
        return cycle

    def _keep(self, now: datetime) -> None:
        """Records the keys, and withdraws those of queues that are not served any more and have no run left.

        A failure is tried again; no job depends on it.
        """
        due = is_due(self._retry_at.get(_KEEPING), now, longest=KEEP_AGAIN_AFTER)
        if self.observe_only or self._kept or not due:
            return
        self._retry_at[_KEEPING] = now + KEEP_AGAIN_AFTER
        try:
            retired = self.stack_keys.retired([queue.key for queue in self.queues])
            busy = {run.queue_key for run in self.ledger.active_runs()} if retired else set[QueueKey]()
            left = {key: queue for key, queue in retired.items() if queue in busy or not self._withdrawn(queue, key)}
            self.stack_keys.keep([queue.key for queue in self.queues], also=left)
        except AgentStackError as error:
            self.telemetry.info("stack_keys_not_recorded", error=str(error))
        else:
            self._kept = not left

    def _withdrawn(self, queue: QueueKey, key: StackKey) -> bool:
        try:
            self.stacks.withdraw(key)
        except AgentStackError as error:
            self.telemetry.error("stack_not_withdrawn", queue=queue, error=str(error))
            return False
        self.telemetry.info("stack_withdrawn", queue=queue, stack_key=key)
        return True

    def _identify(self) -> None:
        """Logs which organization, cluster and queue the token is for.

        Raises:
            ConfigurationError: the token is for one queue only, and this deployment serves another one, too.
        """
        try:
            identity = self.stacks.token_identity()
        except ConfigurationError:
            raise
        except AgentStackError as error:
            self.telemetry.info("token_not_identified", error=str(error))
            return
        self._identified = True
        if identity is None:
            return
        self.telemetry.info(
            "token_identified", organization=identity.organization, cluster=identity.cluster, queue=identity.queue
        )
        others = [
            queue.key
            for queue in self.queues
            if identity.queue not in {None, queue.key} and not is_default_alias(queue.key)
        ]
        if others:
            raise ConfigurationError(
                setting="Queues",
                value=",".join(others),
                problem=f"the agent token is good for queue {identity.queue!r} only",
                remedy="Put a token of the whole cluster into the parameter that AgentTokenParameter names, "
                "or serve that queue only.",
            )
