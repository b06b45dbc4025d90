"""What EC2 taught is kept in one item: however many classes jobs invent, it stays small, and old words go."""

import json
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_stack.adapters.dynamodb.launch_memory import memory_values
from agent_stack.domain.capacity import BREAKER_LAST, MAX_CLASSES, LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchErrorClass
from tests.simulator.clock import EPOCH

MOST_BYTES = 200_000
"""Half of what DynamoDB stores in an item, if EC2 says 300 characters of four bytes about each class."""

REFUSED = LaunchError(
    error_class=LaunchErrorClass.CONFIGURATION, code="InvalidParameterValue", message="\U0001f600" * 400
)
FULL = LaunchError(error_class=LaunchErrorClass.CAPACITY, code="InsufficientInstanceCapacity", message="m" * 400)
NAME = ClassName("large/m7i.xlarge/spot")


def size(memory: LaunchMemory) -> int:
    return len(json.dumps(memory_values(memory), default=str, ensure_ascii=False).encode())


names = st.builds(
    lambda number, choice: ClassName(f"large/m7i.{number}xlarge{choice}"),
    st.integers(min_value=0, max_value=400),
    st.sampled_from(["", "/spot", "/on-demand", "/spot/fallback"]),
)
answers = st.tuples(
    names, st.integers(min_value=0, max_value=1), st.lists(st.sampled_from([REFUSED, FULL]), max_size=3)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(answers, min_size=100, max_size=300))
def test_no_sequence_of_answers_makes_the_item_large(sequence: list[tuple[ClassName, int, list[LaunchError]]]) -> None:
    memory, now = LaunchMemory(), EPOCH
    for number, (name, launched, errors) in enumerate(sequence):
        pools = [
            LaunchError(error_class=e.error_class, code=e.code, message=e.message, pool=f"spot:m7i.{number}xlarge:a")
            for e in errors
        ]
        memory = memory.answered(name, launched=launched, errors=pools, now=now, jitter=0.5)
        now += timedelta(seconds=1)
    assert len(memory.breakers) <= MAX_CLASSES
    assert len(memory.last_error_by_class) <= MAX_CLASSES
    assert size(memory) <= MOST_BYTES


def test_the_classes_refused_last_are_remembered() -> None:
    memory = LaunchMemory()
    for number in range(3 * MAX_CLASSES):
        now = EPOCH + timedelta(seconds=number / 10)
        memory = memory.answered(ClassName(f"c{number}"), launched=0, errors=[REFUSED], now=now, jitter=0)
    latest = {ClassName(f"c{number}") for number in range(2 * MAX_CLASSES, 3 * MAX_CLASSES)}
    assert (set(memory.breakers), set(memory.last_error_by_class)) == (latest, latest)


def test_the_last_error_of_a_class_goes_when_it_gets_its_vms() -> None:
    memory = LaunchMemory().answered(NAME, launched=0, errors=[FULL], now=EPOCH, jitter=0)
    assert memory.last_error_by_class
    memory = memory.answered(NAME, launched=1, errors=[], now=EPOCH, jitter=0)
    assert memory.last_error_by_class == {}


def test_a_class_that_nobody_asks_for_again_is_forgotten() -> None:
    memory = LaunchMemory().answered(NAME, launched=0, errors=[REFUSED], now=EPOCH, jitter=0)
    later = EPOCH + 3 * BREAKER_LAST
    memory = memory.answered(ClassName("other"), launched=0, errors=[REFUSED], now=later, jitter=0)
    assert set(memory.breakers) == {"other"}
