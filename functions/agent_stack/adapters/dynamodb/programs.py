"""The port `Programs` over the mailbox table: one item for each program, and one that lists them.

A program's item has no time-to-live: a VM may ask for it whenever it boots. Boot programs read the key and the
attribute `program` (infra/vm/program.sh).
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.fields import moment
from agent_stack.adapters.dynamodb.table import Item, Table
from agent_stack.adapters.dynamodb.wire import unpack
from agent_stack.domain.programs import PublishedProgram, VmProgram
from agent_stack.ports import Clock

LIST = {"instance_arn": {"S": "programs"}}


def key_of(sha256: str) -> dict[str, dict[str, str]]:
    """The key of a program's item."""
    return {"instance_arn": {"S": f"program#{sha256}"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoPrograms:
    """The programs, from the dispatcher's side."""

    table: Table
    clock: Clock

    def publish(self, program: VmProgram) -> None:
        """See the port. Listed first: a program that is there and not listed would stay for ever."""
        self._list("ADD", program.sha256)
        self.table.update(
            key_of(program.sha256),
            UpdateExpression="SET program = :program REMOVE superseded_at",
            ExpressionAttributeValues={":program": {"B": gzip.compress(program.text.encode(), mtime=0)}},
        )
        for other in self.published():
            if other.sha256 != program.sha256 and other.superseded_at is None:
                self.table.update(
                    key_of(other.sha256),
                    UpdateExpression="SET superseded_at = :now",
                    ConditionExpression="attribute_exists(program)",  # not anew, when it was removed meanwhile
                    ExpressionAttributeValues=items.packed({":now": items.seconds(self.clock.now())}),
                )

    def published(self) -> Sequence[PublishedProgram]:
        """See the port."""
        listed = [sha256 for item in self.table.get_many([LIST]) for sha256 in item.get("hashes", {}).get("SS", ())]
        return [
            PublishedProgram(
                sha256=item["instance_arn"]["S"].partition("#")[2],
                superseded_at=_superseded_at(item),
            )
            for item in self.table.get_many([key_of(sha256) for sha256 in listed])
        ]

    def remove(self, sha256: str) -> None:
        """See the port."""
        self.table.delete(key_of(sha256))
        self._list("DELETE", sha256)

    def _list(self, action: str, sha256: str) -> None:
        self.table.update(
            LIST,
            UpdateExpression=f"{action} hashes :hashes",
            ExpressionAttributeValues={":hashes": {"SS": [sha256]}},
        )


def _superseded_at(item: Item) -> datetime | None:
    """When another program took its place; None while it is in force, or when nobody can tell."""
    try:
        return moment(unpack(item["superseded_at"]))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None
