"""Register: registers each queue's stack key with Buildkite, once in each process. Every other request needs it.

First it asks Buildkite which queue the token is for, because the token of another queue would list no jobs forever.
"""

from dataclasses import dataclass, field

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import Queue
from agent_stack.ports import StacksApi, Telemetry


@dataclass(slots=True, kw_only=True)
class Register:
    """Registers the queues that are not registered yet; a queue that fails is tried again in the next cycle."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    telemetry: Telemetry
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
            if queue.key in self._done:
                continue
            try:
                self.stacks.register(queue.key)
            except AgentStackError as error:
                self.telemetry.error("stack_not_registered", queue=queue.key, error=str(error))
                failures.append(error)
                continue
            self._done.add(queue.key)
            self.telemetry.info("stack_registered", queue=queue.key, stack_key=queue.stack_key)
        if failures and not self._done:
            raise next((error for error in failures if isinstance(error, ConfigurationError)), failures[0])
        return cycle

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
            self.telemetry.warning("token_not_identified", error=str(error))
            return
        self._identified = True
        if identity is None:
            return
        self.telemetry.info(
            "token_identified", organization=identity.organization, cluster=identity.cluster, queue=identity.queue
        )
        others = [queue.key for queue in self.queues if identity.queue not in {None, queue.key}]
        if others:
            raise ConfigurationError(
                setting="Queues",
                value=",".join(others),
                problem=f"the agent token is good for queue {identity.queue!r} only",
                remedy="Put a token of the whole cluster into the parameter that AgentTokenParameter names, "
                "or serve that queue only.",
            )
