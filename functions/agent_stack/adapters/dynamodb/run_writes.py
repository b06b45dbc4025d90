"""What is written of a run: the entries of a transaction, each signed, each on top of what the run was before.

Items by partition key: `run#<shard>`, `history#<shard>` and `tombstone#<shard>` of the ledger table; see `ledger`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.known_runs import KnownRuns
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Assignment

TOMBSTONE_LIFE = timedelta(days=2)
"""Attempts count for longer than Buildkite keeps a job scheduled by default."""

CLOSED_LIFE = timedelta(days=1)
"""A VM whose mailbox is closed ends within seconds; by then it is too old to be bound, too."""

Write = Mapping[str, Any]


def close_mailbox(table: str, arn: InstanceArn, write_id: str, *, now: datetime, until: datetime) -> Write:
    """The mailbox of a VM that gets no job any more; on the opposite of the condition of `bind`.

    Args:
        until: when the VM has ended by itself at the latest, if nobody else ends it.
    """
    end = int(items.seconds(max(now, until) + CLOSED_LIFE))
    closed = {
        "TableName": table,
        "Key": {"instance_arn": {"S": arn}},
        "UpdateExpression": "SET closed = :now, expires_at = :end, write_id = :write_id",
        "ConditionExpression": "attribute_not_exists(instance_arn) OR attribute_exists(closed)",
        "ExpressionAttributeValues": items.packed({":now": items.seconds(now), ":end": end, ":write_id": write_id}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return {"Update": closed}


def put(table: str, values: Mapping[str, Any], *, condition: str | None = None) -> Write:
    """A whole item; with a condition, one that shows what stands there if it does not hold."""
    entry: dict[str, Any] = {"TableName": table, "Item": items.packed(values)}
    if condition is not None:
        entry |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return {"Put": entry}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWrites:
    """The writes of one ledger.

    Attributes:
        table: the ledger table's name.
        mailboxes: the mailbox table's.
        known: what this process knows of runs, so that only what changed is written.
    """

    table: str
    mailboxes: str
    known: KnownRuns

    def record(self, run: Run, write_id: str) -> list[Write]:
        """A run that is new."""
        values = {"pk": items.shard("run", run.job_id), "sk": run.job_id, "write_id": write_id, **items.run_values(run)}
        return [put(self.table, values, condition="attribute_not_exists(pk)")]

    def update(self, run: Run, write_id: str) -> list[Write]:
        """Its next version."""
        return [self._update(run, write_id, "version = :before")]

    def bind(self, run: Run, write_id: str, *, assignment: Assignment) -> list[Write]:
        """Its next version, which has a VM, and that VM's mailbox."""
        filled = {
            "TableName": self.mailboxes,
            "Item": items.packed(items.assignment_values(assignment)),
            "ConditionExpression": "attribute_not_exists(instance_arn)",
        }
        unbound = "version = :before AND attribute_not_exists(instance_id)"
        return [self._update(run, write_id, unbound), {"Put": filled}]

    def end(self, run: Run, write_id: str, *, now: datetime, history: timedelta) -> list[Write]:
        """Its end. History is put first: after a lost answer it is the item that tells that the write took effect."""
        ended = {
            "pk": items.shard("history", run.job_id),
            "sk": f"{run.job_id}#{run.state_entered_at.isoformat()}",
            "expires_at": int(items.seconds(now + history)),
            "write_id": write_id,
            **items.run_values(run),
        }
        removed = {
            "TableName": self.table,
            "Key": items.key(items.shard("run", run.job_id), run.job_id),
            "ConditionExpression": "version = :before",
            "ExpressionAttributeValues": items.packed({":before": run.version - 1}),
        }
        writes = [put(self.table, ended, condition="attribute_not_exists(pk)"), {"Delete": removed}]
        return [*writes, self._tombstone(run, now)] if run.attempt or run.notices_sent_in_all else writes

    def _tombstone(self, run: Run, now: datetime) -> Write:
        """What the job has used up. A run that never had a VM, such as that of a refused job, lowers no count."""
        attempts = ":attempts" if run.attempt else "if_not_exists(attempts, :attempts)"
        lost = ", lost_standby = :lost_standby" if run.lost_standby else ""
        return {
            "Update": {
                "TableName": self.table,
                "Key": items.key(items.shard("tombstone", run.job_id), run.job_id),
                "UpdateExpression": f"SET attempts = {attempts}, told = :told, expires_at = :expires_at{lost}",
                "ExpressionAttributeValues": items.packed(
                    {
                        ":attempts": run.attempt,
                        ":told": run.notices_sent_in_all,
                        ":expires_at": int(items.seconds(now + TOMBSTONE_LIFE)),
                        ":lost_standby": run.lost_standby or None,
                    }
                ),
            }
        }

    def _update(self, run: Run, write_id: str, condition: str) -> Write:
        """Attribute by attribute, so that what another version of this code wrote survives; only those that changed.

        What changed is told from the predecessor that we know; so the item must be that one, by its signature.
        """
        values = items.run_values(run)
        follows: dict[str, Any] = {":before": run.version - 1}
        known = self.known.before(run)
        if known is not None:
            signature, before = known
            old = items.run_values(before)
            values = {name: value for name, value in values.items() if value != old[name]}
            follows[":signature"] = signature
            condition += " AND write_id = :signature"
        values["write_id"] = write_id
        present = items.packed(values)
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present)
        absent = [name for name in values if name not in present]
        if absent:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in absent)
        return {
            "Update": {
                "TableName": self.table,
                "Key": items.key(items.shard("run", run.job_id), run.job_id),
                "UpdateExpression": expression,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {f"#{name}": name for name in values},
                "ExpressionAttributeValues": {
                    **{f":{name}": value for name, value in present.items()},
                    **items.packed(follows),
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
