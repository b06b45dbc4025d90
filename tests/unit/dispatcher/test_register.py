"""When a queue's stack is registered, and whose the token is."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.register import KEEP_AGAIN_AFTER, RETRY_AFTER, Register
from agent_stack.domain.errors import ConfigurationError, RetryError
from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.domain.stack_keys import StackKeyNames, StackKeyRecord
from agent_stack.ports import TokenIdentity
from agent_stack.stack_keys import StackKeys
from tests.contract.stacks import OTHER, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Operation
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, Store
from tests.unit.values import a_run

TICK = DispatcherCycle(now=EPOCH, fence=1)
NAMES = StackKeyNames(prefix="stack", deployment="aws:123456789012:eu-central-1:stack")


def register(
    desk: Desk,
    *queues: QueueKey,
    stacks: Any = None,  # noqa: ANN401  (a client, or what stands for one)
    store: Store | None = None,
    names: StackKeyNames = NAMES,
) -> Register:
    wanted = tuple(Queue(key=queue, stack_key=StackKey(f"stack-{queue}")) for queue in queues)
    ledger = MemoryLedger(store=store or Store())
    return Register(
        stacks=stacks or desk.client,
        queues=wanted,
        stack_keys=StackKeys(names=names, ledger=ledger),
        ledger=ledger,
        telemetry=desk.telemetry,
    )


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
        assert len(desk.buildkite.stacks()) == 1, "it waits a moment"
        step(replace(TICK, now=EPOCH + RETRY_AFTER))
        assert len(desk.buildkite.stacks()) == 2


def test_a_token_of_another_queue_is_a_setting_to_change() -> None:
    class OfOneQueue:
        def token_identity(self) -> TokenIdentity:
            return TokenIdentity(organization="acme", cluster="main", queue=QUEUE)

    with ExitStack() as stack:
        step = register(a_desk(stack), QUEUE, OTHER, stacks=OfOneQueue())
        with pytest.raises(ConfigurationError, match=r"Queues='linux.arm'.*'default' only"):
            step(TICK)


def test_a_queue_that_is_gone_is_one_line_in_the_log() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack)
        step = register(desk, QUEUE, OTHER)
        desk.buildkite.faults.fail(Operation.REGISTER_STACK, status=404)
        step(TICK)
        for seconds in range(10, 50, 10):
            desk.buildkite.faults.fail(Operation.REGISTER_STACK, status=404)
            step(replace(TICK, now=EPOCH + timedelta(seconds=seconds)))
        assert desk.telemetry.messages("ERROR") == ["stack_not_registered"]


def test_the_key_of_a_removed_queue_is_withdrawn_once_it_has_no_run_left() -> None:
    with ExitStack() as stack:
        desk, store = a_desk(stack), Store()
        register(desk, QUEUE, OTHER, store=store)(TICK)
        run = replace(a_run(), queue_key=OTHER)
        store.runs[run.job_id] = run
        without = register(desk, QUEUE, store=store)
        without(TICK)
        assert {known.queue_key for known in desk.buildkite.stacks()} == {QUEUE, OTHER}
        store.runs.clear()
        without(replace(TICK, now=EPOCH + KEEP_AGAIN_AFTER))
        assert {known.queue_key for known in desk.buildkite.stacks()} == {QUEUE}
        assert store.stack_keys == StackKeyRecord(prefix="stack", long=False, keys={QUEUE: StackKey("stack-default")})


def test_a_key_that_cannot_be_withdrawn_is_kept_on_record_and_tried_again() -> None:
    with ExitStack() as stack:
        desk, store = a_desk(stack), Store()
        register(desk, QUEUE, OTHER, store=store)(TICK)
        desk.buildkite.faults.lose_request(Operation.DEREGISTER_STACK, times=4)
        without = register(desk, QUEUE, store=store)
        without(TICK)
        assert store.stack_keys is not None
        assert OTHER in store.stack_keys.keys
        without(replace(TICK, now=EPOCH + KEEP_AGAIN_AFTER))
        assert {known.queue_key for known in desk.buildkite.stacks()} == {QUEUE}


class Withdrawals:
    """Which keys are withdrawn. Every registration succeeds."""

    def __init__(self, *, down: bool) -> None:
        self.down = down
        self.withdrawn: list[StackKey] = []

    def token_identity(self) -> None:
        """See the port."""

    def register(self, queue: QueueKey) -> None:
        """See the port."""

    def withdraw(self, stack_key: StackKey) -> None:
        """See the port."""
        if self.down:
            raise RetryError("Buildkite cannot be reached")
        self.withdrawn.append(stack_key)


@pytest.mark.parametrize("obstacle", ["a run is left", "Buildkite cannot be reached"])
def test_after_a_change_of_stack_key_the_old_key_stays_on_record_until_it_is_withdrawn(obstacle: str) -> None:
    """The queue has a new key by then, which must not take the old one's place on record."""
    with ExitStack() as stack:
        desk, store = a_desk(stack), Store()
        register(desk, QUEUE, store=store)(TICK)
        stacks = Withdrawals(down=obstacle != "a run is left")
        run = replace(a_run(), queue_key=QUEUE)
        store.runs.update({run.job_id: run} if obstacle == "a run is left" else {})
        renamed = replace(NAMES, prefix="renamed")
        for _ in range(2):  # the second process knows only what the first one recorded
            register(desk, QUEUE, stacks=stacks, store=store, names=renamed)(TICK)
            assert store.stack_keys is not None
            assert store.stack_keys.keys == {QUEUE: "renamed-default"}
        assert not stacks.withdrawn
        store.runs.clear()
        stacks.down = False
        register(desk, QUEUE, stacks=stacks, store=store, names=renamed)(TICK)
        assert stacks.withdrawn == ["stack-default"]
        register(desk, QUEUE, stacks=stacks, store=store, names=renamed)(TICK)
        assert stacks.withdrawn == ["stack-default"]
