"""When a queue's stack is registered, and whose the token is."""

from contextlib import ExitStack
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.register import Register
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.ports import TokenIdentity
from tests.contract.stacks import OTHER, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Operation
from tests.simulator.clock import EPOCH

TICK = DispatcherCycle(now=EPOCH, fence=1)


def register(desk: Desk, *queues: QueueKey, stacks: Any = None) -> Register:  # noqa: ANN401  (a client, or what stands for one)
    wanted = tuple(Queue(key=queue, stack_key=StackKey(f"stack-{queue}")) for queue in queues)
    return Register(stacks=stacks or desk.client, queues=wanted, telemetry=desk.telemetry)


def test_a_queue_is_registered_once_and_not_at_every_poll() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack)
        step = register(desk, QUEUE, OTHER)
        for _ in range(20):
            step(TICK)
        assert desk.requests(Operation.REGISTER_STACK) == 2
        assert desk.requests(Operation.TOKEN_IDENTITY) == 1


def test_one_queue_that_fails_does_not_stop_the_others() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack)
        desk.buildkite.faults.fail(Operation.REGISTER_STACK, status=422)
        step = register(desk, QUEUE, OTHER)
        step(TICK)
        assert [known.queue_key for known in desk.buildkite.stacks()] == [OTHER]
        step(TICK)
        assert len(desk.buildkite.stacks()) == 2


def test_a_token_of_another_queue_is_a_setting_to_change() -> None:
    class OfOneQueue:
        def token_identity(self) -> TokenIdentity:
            return TokenIdentity(organization="acme", cluster="main", queue=QUEUE)

    with ExitStack() as stack:
        step = register(a_desk(stack), QUEUE, OTHER, stacks=OfOneQueue())
        with pytest.raises(ConfigurationError, match=r"Queues='linux.arm'.*'default' only"):
            step(TICK)
