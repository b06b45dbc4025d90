"""DynamoDB's limits, each made as narrow as a test needs: pages, unprocessed keys, batches, consistency, lifetimes."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.dynamodb.run_writes import CLOSED_LIFE, TOMBSTONE_LIFE
from agent_stack.adapters.dynamodb.standby import KEPT
from agent_stack.domain.errors import RetryError
from agent_stack.domain.states import Outcome
from agent_stack.domain.waiting import Waiting, WaitReason
from tests.contract.standby import HOLD, closing, standby_vm
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm, job_id

pytestmark = pytest.mark.share(3)

Params = dict[str, Any]
MOST = 130


def watch(dynamo: Tables, operation: str, look: Callable[[Params], None]) -> None:
    """Show each request of that operation before it is sent."""
    dynamo.client.meta.events.register(f"before-parameter-build.dynamodb.{operation}", lambda params, **_: look(params))


def small_pages(dynamo: Tables) -> None:
    """Pages of two items, as 1 MB holds few large ones."""
    watch(dynamo, "Query", lambda params: params.update(Limit=2))


def leave_half_unread(dynamo: Tables, times: int) -> list[int]:
    """BatchGetItem leaves the second half of the found items for later, that many times."""
    left = [times]

    def halve(parsed: dict[str, Any], **_: object) -> None:
        for table, found in parsed["Responses"].items():
            if left[0] and found:
                left[0] -= 1
                kept = len(found) // 2
                names = ("pk", "sk") if "pk" in found[0] else ("instance_arn",)
                keys = [{name: item[name] for name in names} for item in found[kept:]]
                parsed["Responses"][table] = found[:kept]
                parsed["UnprocessedKeys"] = {table: {"Keys": keys}}

    dynamo.client.meta.events.register("after-call.dynamodb.BatchGetItem", halve)
    return left


def end(dynamo: Tables, count: int) -> None:
    runs = dynamo.ledger.record([a_run(number, attempt=1) for number in range(1, count + 1)])
    assert len(dynamo.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH) for run in runs])) == count


def test_every_page_of_a_partition_is_read(dynamo: Tables) -> None:
    dynamo.ledger.record([a_run(number) for number in range(1, MOST + 1)])
    small_pages(dynamo)
    assert len(dynamo.ledger.active_runs()) == MOST
    assert len(dynamo.ledger.active_runs()) == MOST


def test_keys_that_were_left_unprocessed_are_read_after_all(dynamo: Tables) -> None:
    end(dynamo, 9)
    left = leave_half_unread(dynamo, 3)
    assert len(dynamo.ledger.earlier([job_id(n) for n in range(1, 10)])) == 9
    assert left == [0]


def test_keys_that_stay_unprocessed_are_no_items_that_are_missing(dynamo: Tables) -> None:
    end(dynamo, 9)
    leave_half_unread(dynamo, 10_000)
    with pytest.raises(RetryError):
        dynamo.ledger.earlier([job_id(1)])


def test_no_batch_has_more_keys_than_dynamodb_takes(dynamo: Tables) -> None:
    end(dynamo, MOST)
    sizes: list[int] = []
    watch(dynamo, "BatchGetItem", lambda params: sizes.append(len(params["RequestItems"]["LedgerTable"]["Keys"])))
    assert len(dynamo.ledger.earlier([job_id(n) for n in range(1, MOST + 1)])) == MOST
    assert max(sizes) <= 100


def test_no_transaction_has_more_writes_than_dynamodb_takes(dynamo: Tables) -> None:
    sizes: list[int] = []
    watch(dynamo, "TransactWriteItems", lambda params: sizes.append(len(params["TransactItems"])))
    end(dynamo, MOST)
    assert max(sizes) <= 100


def test_every_read_is_consistent(dynamo: Tables) -> None:
    """An old answer would show a run that has ended, or hide a VM's mailbox."""
    reads: list[bool] = []
    watch(dynamo, "Query", lambda params: reads.append(params.get("ConsistentRead", False)))
    watch(
        dynamo,
        "BatchGetItem",
        lambda params: reads.extend(asked.get("ConsistentRead", False) for asked in params["RequestItems"].values()),
    )
    end(dynamo, 1)
    dynamo.ledger.record([a_run(2)])
    dynamo.ledger.active_runs()
    dynamo.ledger.active_runs()
    dynamo.ledger.bound_instances()
    dynamo.ledger.earlier([job_id(1)])
    dynamo.ledger.open_intents()
    dynamo.mailbox.read([a_vm().arn])
    assert len(reads) > 20
    assert all(reads)


def lifetimes(dynamo: Tables) -> Mapping[str, timedelta]:
    """How long each kind of item lives from now on, by its time-to-live."""
    found = {}
    for item in (*dynamo.items(), *dynamo.items("MailboxTable")):
        if "expires_at" in item:
            kind = item["pk"]["S"].partition("#")[0] if "pk" in item else "mailbox"
            found[kind] = timedelta(seconds=int(item["expires_at"]["N"])) - timedelta(seconds=EPOCH.timestamp())
    return found


def test_what_expires_does_so_in_seconds_since_1970_and_no_sooner_than_it_is_needed(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    bound = run.bound(a_vm(), now=EPOCH)
    (run,) = dynamo.ledger.bind([(bound, a_letter(bound, a_vm()))])
    dynamo.ledger.end([run.ended(Outcome.LOST, now=EPOCH)])
    waiting = Waiting(
        job_id=run.job_id, queue_key=run.queue_key, class_name=run.class_name, reason=WaitReason.QUOTA, words=""
    )
    dynamo.ledger.claim_notices([waiting])
    dynamo.standby.add([standby_vm(2)])
    assert lifetimes(dynamo) == {
        "standby": HOLD + KEPT,
        "history": timedelta(days=30),
        "tombstone": TOMBSTONE_LIFE,
        "told": TOMBSTONE_LIFE,
        "mailbox": timedelta(days=1),
    }


def test_a_closed_mailbox_stays_until_its_vm_is_gone(dynamo: Tables) -> None:
    dynamo.standby.add([standby_vm()])
    dynamo.standby.close([closing()])
    assert lifetimes(dynamo)["mailbox"] == HOLD + CLOSED_LIFE, "it may stand by until its hold is over"
    dynamo.ledger.close_mailboxes([a_vm(2).arn])
    assert lifetimes(dynamo)["mailbox"] == CLOSED_LIFE


def test_attempts_are_counted_for_longer_than_buildkite_keeps_a_job_scheduled() -> None:
    assert timedelta(days=1) < TOMBSTONE_LIFE


def test_the_active_run_and_the_lease_never_expire(dynamo: Tables) -> None:
    dynamo.ledger.record([a_run()])
    assert dynamo.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9)) is not None
    assert lifetimes(dynamo) == {}
