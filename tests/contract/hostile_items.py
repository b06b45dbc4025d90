"""Items of the ledger, and every way in which a person may have changed one of their attributes."""

import base64
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

from moto import mock_aws

from agent_stack.adapters.dynamodb import DynamoLedger, DynamoMailbox, Table, items
from agent_stack.adapters.dynamodb.standby import DynamoStandbyVms
from agent_stack.domain.runs import Run
from tests.contract.tables import Tables
from tests.contract.typed import untyped
from tests.simulator.clock import EPOCH

Item = dict[str, Any]

BINARY = base64.b64encode(b"bytes").decode()  # as our own reader of answers shows it
VALUES: dict[str, Item] = {
    "a number": {"N": "7"},
    "a number below zero": {"N": "-7"},
    "a fraction": {"N": "0.5"},
    "a number without an end": {"N": "1E+125"},
    "a text": {"S": "text"},
    "an empty text": {"S": ""},
    "binary": {"B": BINARY},
    "a set of numbers": {"NS": ["1", "2"]},
    "a set of texts": {"SS": ["a", "b"]},
    "a set of binaries": {"BS": [BINARY]},
    "a map": {"M": {"a": {"N": "1"}, "b": {"B": BINARY}}},
    "a list": {"L": [{"N": "1"}, {"S": "a"}, {"NULL": True}]},
    "true": {"BOOL": True},
    "null": {"NULL": True},
}


class Client:
    """DynamoDB with a few items, which answers as botocore shows it."""

    def __init__(self, *stored: Item) -> None:
        self.stored = stored

    def query(self, **asked: Any) -> Item:  # noqa: ANN401  (botocore's own)
        wanted = asked["ExpressionAttributeValues"][":pk"]
        names = asked.get("ExpressionAttributeNames", {}).values()
        found = [item for item in self.stored if item["pk"] == wanted]
        return {"Items": [{n: v for n, v in item.items() if not names or n in names} for item in found]}

    def batch_get_item(self, **asked: Any) -> Item:  # noqa: ANN401  (botocore's own)
        ((table, request),) = asked["RequestItems"].items()
        found = [item for item in self.stored if any(key.items() <= item.items() for key in request["Keys"])]
        return {"Responses": {table: found}}


@cache
def tables() -> Tables:
    with mock_aws():
        return Tables()


def ledger(*stored: Item) -> DynamoLedger:
    made = tables().ledger
    assert isinstance(made, DynamoLedger)
    tables().telemetry.records.clear()
    return replace(made, table=table(*stored), mailboxes=table(*stored))


def table(*stored: Item) -> Table:
    return replace(tables().ledger_table, client=Client(*stored))  # type: ignore[arg-type]  # as much as is asked


def standby(*stored: Item) -> DynamoStandbyVms:
    made = tables().standby
    assert isinstance(made, DynamoStandbyVms)
    tables().telemetry.records.clear()
    return replace(made, table=table(*stored))


def stored_run(run: Run) -> Item:
    return items.packed(
        {"pk": items.shard("run", run.job_id), "sk": run.job_id, "write_id": "w", **items.run_values(run)}
    )


def changed(item: Item) -> Iterator[tuple[str, Item]]:
    """The item with one value changed: of each attribute, and of each member of its maps and lists."""
    for path in paths(item):
        for kind, value in VALUES.items():
            other = deepcopy(item)
            place: Any = other
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            yield f"{'.'.join(map(str, path))} is {kind}", other


def paths(item: Item) -> Iterator[tuple[str | int, ...]]:
    for name, value in item.items():
        if name not in {"pk", "sk", "instance_arn"}:
            yield from below((name,), value)


def below(path: tuple[str | int, ...], value: Item) -> Iterator[tuple[str | int, ...]]:
    yield path
    ((kind, content),) = value.items()
    if kind in {"M", "L"}:
        for step, part in content.items() if kind == "M" else enumerate(content):
            yield from below((*path, kind, step), part)


def said() -> list[str]:
    return [str(fields["error"]) for level, _, fields in tables().telemetry.records if level == "ERROR"]


def left_out_or_typed(found: object, hint: object, name: str, why: str) -> None:
    """One of an item is read with the types of its class; none was named, by its own name, once."""
    assert not untyped(found, hint), why
    if not found:
        (line,) = said()
        assert name in line, why
        assert "delete the item" in line, why


COUNT = items.packed(
    {"pk": "launched", "sk": "vms", "vms": 9, "taken": 1, "launched": 4, "uncounted": 0, "looked_at": 1767603600}
)
LEASE = items.packed(
    {
        "pk": "lease",
        "sk": "dispatcher",
        "fence": 5,
        "counted": 5,
        "wakes": 0,
        "holder": "me",
        "lease_until": items.seconds(EPOCH),
        "successor": "you",
        "paused#default": {"at": items.seconds(EPOCH), "by": "alice", "reason": "why"},
        "resumed#large": items.seconds(EPOCH),
    }
)


def mailbox() -> DynamoMailbox:
    made = tables().mailbox
    assert isinstance(made, DynamoMailbox)
    return made
