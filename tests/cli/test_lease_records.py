"""A lease that a person changed costs `status` its own line, and no traceback."""

from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack_cli.records import Records
from tests.contract.hostile_items import LEASE, VALUES


def records(*stored: dict[str, Any]) -> Records:
    pages = SimpleNamespace(paginate=lambda **_: [{"Items": list(stored)}])
    session = SimpleNamespace(dynamodb=SimpleNamespace(get_paginator=lambda _: pages))
    return Records(stack=SimpleNamespace(session=session, ledger="ledger"))  # type: ignore[arg-type]  # what is asked


@pytest.mark.parametrize("name", ["lease_until", "fence", "by_hand"])
def test_a_lease_of_any_shape_costs_itself(name: str) -> None:
    tracker = {**LEASE, "sk": {"S": "tracker"}}
    for kind, value in VALUES.items():
        ours = records({**LEASE, name: value}, tracker)
        dispatcher, other = ours.holders()
        assert (dispatcher.function, other.function, other.fence) == ("dispatcher", "tracker", 5), kind
        assert type(dispatcher.fence) is int, kind
        assert all(name in line and "sk dispatcher" in line for line in ours.unreadable), kind
        assert dispatcher.fence == 5 or name == "fence" or ours.unreadable, kind
