"""What EC2 taught is kept in one item: however many classes jobs invent, it stays small, and old words go."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_stack.adapters.dynamodb.launch_memory import memory_values
from agent_stack.domain.breakers import MAX_BREAKERS
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchErrorClass
from agent_stack.domain.lessons import MAX_WORDS
from tests.unit.domain.lessons import NAME, a_class, answered

MOST_BYTES = 200_000
"""Half of what DynamoDB stores in an item, if EC2 says 300 characters of four bytes about each class."""

REFUSED = ("InvalidParameterValue", LaunchErrorClass.CONFIGURATION, "\U0001f600" * 400)
FULL = ("InsufficientInstanceCapacity", LaunchErrorClass.CAPACITY, "m" * 400)
QUOTA = ("VcpuLimitExceeded", LaunchErrorClass.QUOTA, "q" * 400)
UNLISTED = ("NeverHeardOf", LaunchErrorClass.UNRECOGNISED, "u" * 400)


def error(code: str, error_class: LaunchErrorClass, message: str, *, pool: str = "") -> LaunchError:
    return LaunchError(error_class=error_class, code=code, message=message, pool=pool)


def size(memory: LaunchMemory) -> int:
    return len(json.dumps(memory_values(memory), default=str, ensure_ascii=False).encode())


names = st.builds(
    lambda number, choice: ClassName(f"large/m7i.{number}xlarge{choice}"),
    st.integers(min_value=0, max_value=400),
    st.sampled_from(["", "/spot", "/on-demand", "/spot/fallback"]),
)
answers = st.tuples(
    names, st.booleans(), st.booleans(), st.lists(st.sampled_from([REFUSED, FULL, QUOTA, UNLISTED]), max_size=3)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(answers, min_size=100, max_size=300))
def test_no_sequence_of_answers_makes_the_item_large(
    sequence: list[tuple[ClassName, bool, bool, list[tuple[str, LaunchErrorClass, str]]]],
) -> None:
    memory = LaunchMemory()
    for number, (name, launched, placed, errors) in enumerate(sequence):
        pool = f"on-demand:m7i.{number}xlarge:a" if placed else ""
        said = [error(*one, pool=pool) for one in errors]
        memory = answered(memory, *said, vm_class=a_class(name), launched=int(launched), after=number)
    assert len(memory.breakers) <= MAX_BREAKERS
    assert len(memory.last_error_by_class) <= MAX_WORDS
    assert size(memory) <= MOST_BYTES


def test_the_last_error_of_a_class_goes_when_it_gets_its_vms() -> None:
    memory = answered(LaunchMemory(), error(*FULL, pool="on-demand:m7i.large:a"))
    assert memory.last_error_by_class
    memory = answered(memory, launched=1, after=1)
    assert NAME not in memory.last_error_by_class
