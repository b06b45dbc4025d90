"""Which name was meant, by the number of edits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.nearest import nearest

NAMES = ("default", "large", "large-spot", "small")


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("lrage", "large"),
        ("", "large"),
        ("large-sport", "large-spot"),
        ("defualt", "default"),
        ("x" * 5000, "default"),
    ],
)
def test_the_fewest_edits_come_first(asked: str, first: str) -> None:
    assert nearest(asked, NAMES, count=2)[0] == first


@given(st.text(max_size=30), st.lists(st.text(max_size=10), unique=True), st.integers(0, 5))
def test_a_name_that_exists_is_the_nearest_and_no_name_is_invented(asked: str, names: list[str], count: int) -> None:
    found = nearest(asked, names, count=count)
    assert set(found) <= set(names)
    assert len(found) == min(count, len(names))
    if count and asked in names:
        assert found[0] == asked
