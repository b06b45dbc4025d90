"""What the dispatcher may expect of the list of standby VMs, and what a binding and a closing do to each other."""

from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.standby import Closing
from agent_stack.domain.states import CapacityType, CredentialHolder
from tests.contract.standby import HOLD, bind, closing, intent, standby_vm
from tests.contract.tables import AnyTables, Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_vm


def test_a_vm_comes_back_as_it_was_put_on_the_list(tables: AnyTables) -> None:
    spot = standby_vm(2, capacity_type=CapacityType.SPOT, intent_id=None, shape="", zone="")
    tables.standby.add([standby_vm(1), spot])
    assert sorted(tables.standby.listed(), key=lambda vm: vm.instance_id) == [standby_vm(1), spot]


def test_a_vm_that_is_on_the_list_already_stays_as_it_is(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    tables.standby.close([closing()])
    tables.standby.add([standby_vm(), standby_vm(2)])
    assert {vm.instance_id: vm.closing for vm in tables.standby.listed()} == {
        a_vm(1).instance_id: Closing.AGE,
        a_vm(2).instance_id: None,
    }


def test_a_vm_that_could_not_be_put_on_the_list_is_no_silent_loss(dynamo: Tables) -> None:
    """The caller would close the launch, and nothing else knows of the VM."""
    malformed = standby_vm(2, instance_id=InstanceId("i-" + "x" * 3_000))  # longer than a key may be
    with pytest.raises(RetryError, match="1 of 2 standby VMs"):
        dynamo.standby.add([standby_vm(1), malformed])
    assert dynamo.standby.listed() == [standby_vm(1)]


def test_no_job_is_bound_to_a_closed_vm(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    assert tables.standby.close([closing()]) == [closing()]
    assert bind(tables) == []
    assert tables.vm_takes(a_vm().arn) is None


def test_a_vm_whose_mailbox_the_tracker_closed_is_marked_on_the_list_too(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    assert tables.ledger.close_mailboxes([a_vm().arn]).closed == {a_vm().arn}
    assert tables.standby.close([closing()]) == [closing()]
    assert tables.standby.listed()[0].closing is Closing.AGE
    assert bind(tables) == []


def test_a_vm_that_the_dispatcher_closed_is_closed_for_the_tracker(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    tables.standby.close([closing()])
    assert tables.mailbox.read([a_vm().arn])[a_vm().arn].closed
    assert tables.ledger.close_mailboxes([a_vm().arn]).closed == {a_vm().arn}


def test_a_vm_that_has_a_job_is_not_closed_and_its_mailbox_stays(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    assert len(bind(tables)) == 1
    assert tables.standby.close([closing()]) == []
    assert tables.standby.listed()[0].closing is None
    assert tables.vm_takes(a_vm().arn) == "bkjat_secret"


def test_one_vm_that_cannot_be_closed_costs_only_itself(tables: AnyTables) -> None:
    tables.standby.add([standby_vm(n) for n in range(1, 61)])
    bind(tables, 7)
    closed = tables.standby.close([closing(n) for n in range(1, 61)])
    assert [vm.instance_id for vm in closed] == [a_vm(n).instance_id for n in range(1, 61) if n != 7]


def test_a_vm_is_closed_once_and_one_that_is_not_listed_never(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    assert len(tables.standby.close([closing(), closing(2)])) == 1
    assert tables.standby.close([closing()]) == []
    assert len(bind(tables, 2)) == 1


def test_a_closed_mailbox_is_nobodys_to_take_and_the_tracker_sees_one(tables: AnyTables) -> None:
    tables.standby.add([standby_vm()])
    tables.standby.close([closing()])
    assert tables.mailbox.read([a_vm().arn])[a_vm().arn].credential_holder is CredentialHolder.VM
    assert not tables.mailbox.revoke_credential(a_vm().arn)
    assert not tables.mailbox.renew(a_vm().arn, "bkjat_other")


def test_what_is_removed_is_gone_and_what_is_unknown_is_no_error(tables: AnyTables) -> None:
    tables.standby.add([standby_vm(1), standby_vm(2)])
    tables.standby.remove([a_vm(1).instance_id, InstanceId("i-unknown")])
    assert tables.standby.listed() == [standby_vm(2)]


def test_a_launch_to_stand_by_and_its_binding_come_back_as_they_were_written(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("us", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    written = intent()
    tables.ledger.write_intent(written, fence=held.fence)
    assert tables.ledger.open_intents() == [written]
    (run,) = bind(tables)
    assert run.binding is not None
    assert run.binding.standby
    assert tables.ledger.active_runs() == [run]


def test_a_closed_mailbox_and_the_list_expire_after_the_hold(dynamo: Tables) -> None:
    dynamo.standby.add([standby_vm()])
    dynamo.standby.close([closing()])
    (box,) = dynamo.items("MailboxTable")
    (listed,) = dynamo.items()
    after = (EPOCH + HOLD).timestamp()
    assert float(box["expires_at"]["N"]) > after
    assert float(listed["expires_at"]["N"]) > after
    assert not {"job_id", "credential"} & box.keys(), "a VM takes a mailbox without a job for closed"


@pytest.mark.parametrize("damage", [{"hold": {"S": "soon"}}, {"arn": {"N": "1"}, "market": {"S": "barter"}}])
def test_an_item_that_cannot_be_read_costs_only_itself(dynamo: Tables, damage: dict[str, Any]) -> None:
    dynamo.standby.add([standby_vm(1), standby_vm(2)])
    damaged = next(item for item in dynamo.items() if item["sk"]["S"] == a_vm(1).instance_id)
    dynamo.client.put_item(TableName="LedgerTable", Item={**damaged, **damage})
    assert dynamo.standby.listed() == [standby_vm(2)]
    assert ("ERROR", "ledger_item_unreadable") in {record[:2] for record in dynamo.telemetry.records}


def test_a_reason_of_a_later_version_closes_a_vm_all_the_same(dynamo: Tables) -> None:
    dynamo.standby.add([standby_vm()])
    (item,) = dynamo.items()
    dynamo.client.put_item(TableName="LedgerTable", Item={**item, "closing": {"S": "hibernation"}})
    assert dynamo.standby.listed()[0].closing is not None
