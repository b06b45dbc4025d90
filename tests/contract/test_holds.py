"""What both functions may expect of the record of held VMs."""

from datetime import timedelta

import pytest

from agent_stack.adapters.dynamodb.holds import holds_values, read_holds
from agent_stack.adapters.dynamodb.items import packed
from agent_stack.domain.errors import BugError
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName
from tests.contract.tables import AnyTables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_vm


def a_hold(number: int = 1) -> Hold:
    vm = a_vm(number)
    until = EPOCH + timedelta(minutes=30, microseconds=250)
    return Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=until)


def test_at_first_nothing_is_held(tables: AnyTables) -> None:
    assert tables.ledger.holds() == Holds()


def test_what_is_held_is_read_as_it_was_recorded(tables: AnyTables) -> None:
    recorded = Holds().adding(a_hold(1)).adding(a_hold(2)).next_version()
    assert tables.ledger.record_holds(recorded)
    assert tables.ledger.holds() == recorded
    empty = recorded.without({a_vm(1).instance_id, a_vm(2).instance_id}).next_version()
    assert tables.ledger.record_holds(empty)
    assert tables.ledger.holds() == empty


def test_of_two_records_on_top_of_one_the_first_stays(tables: AnyTables) -> None:
    first, second = Holds().adding(a_hold(1)).next_version(), Holds().adding(a_hold(2)).next_version()
    assert tables.ledger.record_holds(first)
    assert tables.ledger.record_holds(first.adding(a_hold(3)).next_version())
    assert not tables.ledger.record_holds(first.adding(a_hold(2)).next_version())
    assert not tables.ledger.record_holds(second)
    assert [hold.instance_id for hold in tables.ledger.holds().vms] == [a_vm(1).instance_id, a_vm(3).instance_id]


def test_one_that_cannot_be_read_does_not_hide_the_others() -> None:
    told: list[str] = []
    values = holds_values(Holds(version=7, vms=(a_hold(1), a_hold(2))))
    del values["vms"][0]["until"]
    found = read_holds(packed(values), told.append)
    assert (found.version, found.vms) == (7, (a_hold(2),))
    assert len(told) == 1


def test_a_record_of_another_shape_holds_nothing() -> None:
    told: list[str] = []
    assert read_holds(packed({"version": 3, "vms": {"i-1": "soon"}}), told.append).vms == ()
    assert told


@pytest.mark.parametrize("values", [{"vms": "none", "version": "x"}, {"vms": []}, {"version": "NaN"}, {}])
def test_a_record_without_a_readable_version_is_an_error_that_says_what_to_do(values: dict[str, object]) -> None:
    """Nothing could be recorded on top of it, so it must not look like a stack that holds nothing."""
    with pytest.raises(BugError, match="Delete the item `holds`, `list` of the ledger table"):
        read_holds(packed(values), lambda _: None)
