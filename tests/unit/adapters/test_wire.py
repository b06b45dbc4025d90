"""Our own packing of DynamoDB's values says the same as boto3's."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.adapters.dynamodb.wire import Unread, pack, unpack
from agent_stack.domain.errors import BugError
from agent_stack.domain.states import CapacityType

NUMBERS = st.integers(-(10**18), 10**18) | st.decimals(-(10**10), 10**10, places=6)
SINGLE = st.text() | st.booleans() | NUMBERS | st.sets(st.text(min_size=1), min_size=1)
VALUES = st.recursive(SINGLE, lambda part: st.lists(part) | st.dictionaries(st.text(min_size=1), part), max_leaves=12)


def same(value: dict[str, Any]) -> Any:  # noqa: ANN401  (any value)
    """A set has no order."""
    ((kind, content),) = value.items()
    match kind:
        case "SS":
            return {"SS": set(content)}
        case "M":
            return {"M": {name: same(part) for name, part in content.items()}}
        case "L":
            return {"L": [same(part) for part in content]}
        case "N":
            return {"N": Decimal(content)}
        case _:
            return value


@given(VALUES)
def test_it_packs_as_boto3_does_and_each_reads_what_the_other_wrote(value: object) -> None:
    ours: Any = pack(value)
    theirs: Any = TypeSerializer().serialize(value)
    assert same(ours) == same(theirs)
    assert unpack(theirs) == TypeDeserializer().deserialize(ours) == value


def test_an_enumeration_is_its_text() -> None:
    assert pack(CapacityType.SPOT) == {"S": "spot"}


@pytest.mark.parametrize("value", [1.5, None, b"bytes", (1, 2)])
def test_what_no_item_of_ours_holds_is_a_bug(value: object) -> None:
    with pytest.raises(BugError):
        pack(value)


def test_what_a_person_wrote_as_null_is_nothing() -> None:
    assert unpack({"NULL": True}) is None


@pytest.mark.parametrize("value", [{"B": "Ynl0ZXM="}, {"NS": ["1"]}, {"BS": ["Ynl0ZXM="]}, {"X": "text"}], ids=str)
def test_a_type_of_the_future_is_not_guessed(value: dict[str, Any]) -> None:
    """Beside attributes that can be read it costs nothing, and it is neither a text nor a number."""
    assert unpack({"M": {"a": value, "b": {"S": "x"}}}) == {"a": Unread(*value), "b": "x"}
