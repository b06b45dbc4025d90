"""A lease, or a count, that somebody changed by hand does not stop the stack: DynamoDB adds to numbers only."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from moto import mock_aws

from agent_stack.domain.breakers import Breaker
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, BugError, RetryError
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey
from agent_stack.domain.launching import Intent, VmLook
from agent_stack.ports import HeldLease
from tests.contract.hostile_items import VALUES, Item
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH

TTL = timedelta(seconds=9)
LATER = EPOCH + timedelta(minutes=1)
NO_NUMBERS = {kind: value for kind, value in VALUES.items() if "N" not in value}
LEASE = {"pk": {"S": "lease"}, "sk": {"S": "dispatcher"}}


@pytest.fixture(scope="module")
def dynamo() -> Iterator[Tables]:
    with mock_aws():
        yield Tables()


def spoil(dynamo: Tables, key: Item, name: str, value: Item) -> None:
    dynamo.client.update_item(
        TableName="LedgerTable",
        Key=key,
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues={":value": value},
    )


def taken_in_the_end(dynamo: Tables, holder: str) -> tuple[HeldLease | None, list[str]]:
    """What an invocation has after a few tries, a second apart, and what it was told meanwhile."""
    told: list[str] = []
    for number in range(4):
        try:
            held = dynamo.dispatcher_lease.acquire(holder, now=LATER + timedelta(seconds=number), ttl=TTL)
        except AgentStackError as error:
            told.append(str(error))
        else:
            return held, told
    return None, told


@pytest.mark.parametrize("name", ["fence", "counted", "wakes", "lease_until", "holder", "successor", "by_hand"])
def test_a_lease_whose_attribute_is_no_number_is_taken_again(dynamo: Tables, name: str) -> None:
    for kind, value in NO_NUMBERS.items():
        dynamo.client.delete_item(TableName="LedgerTable", Key=LEASE)
        before = dynamo.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL)
        assert before is not None
        spoil(dynamo, LEASE, name, value)
        held, told = taken_in_the_end(dynamo, "second")
        assert held is not None, (kind, told)
        assert held.fence > before.fence, kind
        assert all(name in line for line in told), kind
        assert len(told) <= 1, kind
        assert dynamo.dispatcher_lease.renew(before, now=LATER, ttl=TTL) is None, kind
        assert dynamo.dispatcher_lease.renew(held, now=LATER, ttl=TTL) is not None, kind


def test_a_lease_that_ends_in_a_year_ends(dynamo: Tables) -> None:
    """Such as one whose end somebody wrote in milliseconds."""
    dynamo.client.delete_item(TableName="LedgerTable", Key=LEASE)
    assert dynamo.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL) is not None
    spoil(dynamo, LEASE, "lease_until", {"N": "1767603600000"})
    assert dynamo.dispatcher_lease.acquire("second", now=LATER, ttl=TTL) is not None


def test_a_lease_that_another_holds_stays_so_beside_an_attribute_of_any_type(dynamo: Tables) -> None:
    for value in VALUES.values():
        dynamo.client.delete_item(TableName="LedgerTable", Key=LEASE)
        held = dynamo.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL)
        assert held is not None
        spoil(dynamo, LEASE, "by_hand", value)
        spoil(dynamo, LEASE, "paused#*", value)
        assert dynamo.dispatcher_lease.acquire("second", now=EPOCH, ttl=TTL) is None
        renewed = dynamo.dispatcher_lease.renew(held, now=EPOCH, ttl=TTL)
        assert renewed is not None
        assert renewed.pauses.of(QueueKey("default")) is not None
        assert dynamo.dispatcher_lease.pauses().of(QueueKey("default")) is not None
        assert dynamo.dispatcher_lease.release(renewed)


def an_intent(number: int) -> Intent:
    return Intent(
        intent_id=IntentId(f"as-{number}"),
        class_name=ClassName("default"),
        request="{}",
        count=2,
        queues=(QueueKey("default"),),
        created_at=EPOCH,
    )


def test_a_count_that_is_no_number_stops_no_launch_and_makes_no_room(dynamo: Tables) -> None:
    key = {"pk": {"S": "launched"}, "sk": {"S": "vms"}}
    dynamo.client.delete_item(TableName="LedgerTable", Key=LEASE)
    held = dynamo.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL)
    assert held is not None
    for number, (kind, value) in enumerate(NO_NUMBERS.items()):
        stale = VmLook(taken=3, launched=1000, uncounted=0, at=EPOCH)
        dynamo.ledger.record_look(stale)
        spoil(dynamo, key, "vms", value)
        with pytest.raises(BugError, match="count of launched VMs"):
            dynamo.ledger.launched()
        counted = dynamo.ledger.launched()
        assert counted.look is None, f"{kind}: EC2 is looked at"
        dynamo.ledger.write_intent(an_intent(number), fence=held.fence)
        assert dynamo.ledger.launched().vms == counted.vms + 2, kind
        dynamo.ledger.record_look(stale)  # by a process that read the count before
        after = dynamo.ledger.launched()
        assert after.look is None or after.vms - after.look.launched > 1_000_000, f"{kind}: no room"


def test_a_launch_memory_whose_fence_is_no_number_is_written_over(dynamo: Tables) -> None:
    key = {"pk": {"S": "launching"}, "sk": {"S": "memory"}}
    for number, value in enumerate(NO_NUMBERS.values()):
        spoil(dynamo, key, "fence", value)
        breaker = Breaker(until=EPOCH, since=EPOCH, failures=number, message="", definite=True)
        memory = LaunchMemory(breakers={ClassName("default"): breaker})
        dynamo.ledger.remember_launches(memory, fence=7)
        assert dynamo.ledger.launch_memory().breakers == memory.breakers
        dynamo.ledger.remember_launches(LaunchMemory(), fence=6)
        assert dynamo.ledger.launch_memory().breakers == memory.breakers, "the fence holds again"


def test_the_error_says_what_was_changed(dynamo: Tables) -> None:
    dynamo.client.delete_item(TableName="LedgerTable", Key=LEASE)
    spoil(dynamo, LEASE, "wakes", {"S": "1"})
    with pytest.raises(RetryError, match="no number in wakes; it was set to the time"):
        dynamo.dispatcher_lease.acquire("first", now=EPOCH, ttl=TTL)
