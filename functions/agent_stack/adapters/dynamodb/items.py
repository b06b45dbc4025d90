"""How runs, intents and mailboxes look as DynamoDB items.

One attribute a fact, so that versions of this code can read each other's items: what is missing takes its default,
what is unknown is left alone. Points in time are seconds since 1970, so that a person can compare them with a TTL.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from agent_stack.adapters.dynamodb import fields
from agent_stack.adapters.dynamodb.fields import EPOCH, MICROSECOND, UNREADABLE, moment, unreadable
from agent_stack.adapters.dynamodb.wire import pack, unpack
from agent_stack.domain.attempts import Attempt, FailureKind, PriorUsage
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, JobId, QueueKey, StackKey
from agent_stack.domain.jobs import ORIGIN_SEPARATOR, Origin
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Binding, Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, Moment, Outcome, RunState, VmState
from agent_stack.domain.vms import Assignment, MailboxStatus, Vm, told_by

SHARDS = 8
"""A partition takes 1,000 writes a second; a burst of a thousand jobs is spread over this many."""

MAX_DETAIL_CHARACTERS = 300  # of a VM's own words, which a job on it can forge


def shard(kind: str, job_id: JobId) -> str:
    """The partition of that job's item. Stable for ever: it is part of the key."""
    return f"{kind}#{sum(job_id.encode()) % SHARDS}"


def key(pk: str, sk: str) -> dict[str, Any]:
    """A key of the ledger table."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def seconds(at: datetime) -> Decimal:
    """Seconds since 1970, to the microsecond."""
    return Decimal((at - EPOCH) // MICROSECOND).scaleb(-6)


def packed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB's; None and empty ones are left out."""
    return {name: pack(value) for name, value in values.items() if value is not None and value not in ({}, set(), [])}


def unpacked(item: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB's values as plain ones."""
    return {name: unpack(value) for name, value in item.items()}


def run_values(run: Run) -> dict[str, Any]:
    """Every attribute a run may have; None where this one has none."""
    binding = run.binding
    return {
        "queue_key": run.queue_key,
        "class_name": run.class_name,
        "state": run.state.value,
        "state_entered_at": seconds(run.state_entered_at),
        "version": run.version,
        "attempt": run.attempt,
        "lost_standby": run.lost_standby or None,
        "priority": run.priority,
        "reserved_until": _seconds(run.reserved_until),
        "reservation_lost": run.reservation_lost or None,
        "instance_id": binding.instance_id if binding else None,
        "instance_arn": binding.arn if binding else None,
        "instance_type": binding.instance_type if binding else None,
        "zone": binding.zone if binding else None,
        "market": binding.capacity_type.value if binding else None,
        "launched_at": seconds(binding.launched_at) if binding else None,
        "standby": (binding.standby or None) if binding else None,
        "baton": run.credential_holder.value,
        "give_up": run.failure_reason,
        "finishing_at": _seconds(run.finishing_at),
        "job_over_at": _seconds(run.job_over_at),
        "outcome": run.outcome.value if run.outcome else None,
        "origin": _origin_text(run.origin),
        "tried": [_attempt_values(attempt) for attempt in run.tried] or None,
        "told": set(run.notices_sent) or None,
        "told_before": run.notices_sent_before or None,
        "timeline": {point.value: seconds(at) for point, at in run.timeline.items()} or None,
    }


def read_run(item: Mapping[str, Any]) -> Run:
    """The run behind an item.

    Raises:
        BugError: the item is not one that any version of this code writes; names it.
    """
    try:
        values = unpacked(item)
        return Run(
            job_id=JobId(fields.text(values, "sk")),
            queue_key=QueueKey(fields.text(values, "queue_key")),
            class_name=ClassName(fields.text(values, "class_name")),
            state=RunState(fields.text(values, "state")),
            state_entered_at=fields.at(values, "state_entered_at"),
            version=fields.count(values, "version"),
            attempt=fields.count(values, "attempt"),
            lost_standby=fields.flag(values, "lost_standby", default=False),
            priority=fields.whole(values, "priority"),
            reserved_until=fields.maybe_at(values, "reserved_until"),
            reservation_lost=fields.flag(values, "reservation_lost", default=False),
            binding=_binding(values),
            credential_holder=CredentialHolder(fields.text(values, "baton")),
            failure_reason=fields.maybe_text(values, "give_up"),
            finishing_at=fields.maybe_at(values, "finishing_at"),
            job_over_at=fields.maybe_at(values, "job_over_at"),
            outcome=Outcome(fields.text(values, "outcome")) if values.get("outcome") is not None else None,
            origin=_origin(values.get("origin")),
            tried=tuple(_attempts(values.get("tried"))),
            notices_sent=fields.texts(values, "told"),
            notices_sent_before=fields.count(values, "told_before", 0),
            timeline=_timeline(values.get("timeline")),
        )
    except UNREADABLE as error:
        raise unreadable(_named("run", item), error) from None


BOUND = ("instance_id", "instance_arn")
"""The attributes that tell a run's VM. Either tells it alone: cleanup ends a VM that no run has."""


def bound_instance(item: Mapping[str, Any]) -> InstanceId | None:
    """The VM of a run, also of one that cannot be read; None of a run that has none.

    Raises:
        BugError: it has one, and nothing tells which. Then no VM is known to be without a run.
    """
    if not any(name in item for name in BOUND):
        return None
    instance_id, arn = (item.get(name, {}).get("S", "") for name in BOUND)
    found = instance_id or arn.rpartition("/")[2]
    if not found:
        raise unreadable(_named("run", item), ValueError("neither instance_id nor instance_arn is a text"))
    return InstanceId(found)


def read_prior_usage(item: Mapping[str, Any]) -> PriorUsage:
    """What earlier runs of a job used up, as their tombstone tells.

    Raises:
        BugError: as for `read_run`.
    """
    try:
        values = unpacked(item)
        return PriorUsage(
            attempts=fields.count(values, "attempts"),
            notices_sent=fields.count(values, "told", 0),
            lost_standby=fields.flag(values, "lost_standby", default=False),
        )
    except UNREADABLE as error:
        raise unreadable(_named("tombstone", item), error) from None


def intent_values(intent: Intent) -> dict[str, Any]:
    """An intent's attributes."""
    return {
        "class_name": intent.class_name,
        "request": intent.request,
        "instance_count": intent.count,
        "queues": list(intent.queues),
        "created_at": seconds(intent.created_at),
        **({} if intent.capacity_type is None else {"capacity_type": intent.capacity_type}),
        "spent": intent.spent,
        "vms": [_vm_values(vm) for vm in intent.vms],
        **({} if intent.hold is None else {"hold": int(intent.hold.total_seconds()), "shape": intent.shape}),
    }


def read_intent(item: Mapping[str, Any]) -> Intent:
    """The intent behind an item.

    Raises:
        BugError: as for `read_run`.
    """
    try:
        values = unpacked(item)
        intent_id = IntentId(fields.text(values, "sk"))
        kind, hold = fields.maybe_text(values, "capacity_type"), fields.maybe_whole(values, "hold")
        return Intent(
            intent_id=intent_id,
            class_name=ClassName(fields.text(values, "class_name")),
            request=fields.text(values, "request"),
            count=fields.count(values, "instance_count"),
            queues=tuple(QueueKey(_text(queue)) for queue in fields.members(values, "queues")),
            created_at=fields.at(values, "created_at"),
            capacity_type=None if kind is None else CapacityType(kind),
            spent=fields.flag(values, "spent"),
            vms=tuple(_vm(vm, intent_id) for vm in fields.members(values, "vms")),
            hold=None if hold is None else timedelta(seconds=hold),
            shape=fields.text(values, "shape", ""),
        )
    except UNREADABLE as error:
        raise unreadable(_named("intent", item), error) from None


def stack_key_values(record: StackKeyRecord) -> dict[str, Any]:
    """The stack keys' attributes."""
    return {
        "prefix": record.prefix,
        "long": record.long,
        "keys": dict(record.keys) or None,
        "retired": dict(record.retired) or None,
    }


def read_stack_keys(item: Mapping[str, Any]) -> StackKeyRecord:
    """The record behind an item.

    Raises:
        BugError: as for `read_run`.
    """
    try:
        values = unpacked(item)
        keys = {QueueKey(queue): StackKey(_text(key)) for queue, key in fields.mapping(values, "keys").items()}
        retired = {StackKey(key): QueueKey(_text(queue)) for key, queue in fields.mapping(values, "retired").items()}
        prefix, long = fields.text(values, "prefix"), fields.flag(values, "long")
        return StackKeyRecord(prefix=prefix, long=long, keys=keys, retired=retired)
    except UNREADABLE as error:
        raise BugError(
            f"the stack keys in the ledger (pk stack_keys, sk keys) cannot be read: {error!r}. "
            "Deploy the version that wrote them, or correct the item."
        ) from None


def assignment_values(assignment: Assignment) -> dict[str, Any]:
    """A mailbox as it is filled. The one item that holds a credential."""
    return {
        "instance_arn": assignment.instance_arn,
        "job_id": assignment.job_id,
        "queue_key": assignment.queue_key or None,  # an agent of the default queue names none
        "endpoint": assignment.endpoint,
        "agent_name": assignment.agent_name,
        "agent_tags": ",".join(assignment.agent_tags),
        "credential_kind": assignment.credential_kind,
        "credential": assignment.credential,
        "expires_at": int(seconds(assignment.expires_at)),
    }


def read_mailbox_status(item: Mapping[str, Any]) -> MailboxStatus:
    """A mailbox as it is read: whether the credential is there, never what it is."""
    stage = item.get("stage", {}).get("S")
    spent = item.get("stage_seconds", {}).get("N")
    detail, waits = told_by(item.get("detail", {}).get("S", ""))
    return MailboxStatus(
        credential_holder=holder(item),
        stage=None if stage is None else BootStage.parse(stage),
        stage_seconds=None if spent is None else float(spent),
        detail="".join(c if c.isprintable() else " " for c in detail)[:MAX_DETAIL_CHARACTERS],
        waits=waits,
        closed="closed" in item,
    )


def holder(item: Mapping[str, Any]) -> CredentialHolder:
    """Who has the credential of that mailbox."""
    if "credential" in item:
        return CredentialHolder.MAILBOX
    return CredentialHolder.TRACKER if "revoked" in item else CredentialHolder.VM


def _seconds(at: datetime | None) -> Decimal | None:
    return None if at is None else seconds(at)


def _named(kind: str, item: Mapping[str, Any]) -> str:
    return f"{kind} item {item.get('sk', {}).get('S', 'without a key')}"


def _text(value: object) -> str:
    """A member of a list or a map, which is a text."""
    if type(value) is not str:
        raise TypeError("a member is no text")
    return value


def _binding(values: Mapping[str, Any]) -> Binding | None:
    if "instance_id" not in values:
        return None
    return Binding(
        instance_id=InstanceId(fields.text(values, "instance_id")),
        arn=InstanceArn(fields.text(values, "instance_arn")),
        instance_type=fields.text(values, "instance_type", ""),
        zone=fields.text(values, "zone", ""),
        capacity_type=CapacityType(fields.text(values, "market")),
        launched_at=fields.at(values, "launched_at"),
        standby=fields.flag(values, "standby", default=False),
    )


def _origin_text(origin: Origin) -> str | None:
    """In one text, as an attempt is; None where nothing is known."""
    number = "" if origin.build_number is None else str(origin.build_number)
    parts = (origin.pipeline_id, number, origin.pipeline_slug, origin.build_branch)
    return ORIGIN_SEPARATOR.join(parts) if any(parts) else None


def _origin(stored: object) -> Origin:
    """What of it this version understands: no step depends on it."""
    text = stored if isinstance(stored, str) else ""
    pipeline_id, number, slug, branch, *_ = (*text.split(ORIGIN_SEPARATOR, 3), "", "", "", "")
    return Origin(
        pipeline_id=pipeline_id,
        build_number=int(number) if number.isdecimal() else None,
        pipeline_slug=slug,
        build_branch=branch,
    )


def _attempt_values(attempt: Attempt) -> str:
    """In one text: names of attributes would take as much room again."""
    parts = (
        attempt.instance_id,
        attempt.instance_type,
        attempt.zone,
        attempt.capacity_type,
        attempt.kind,
        attempt.seconds,
        *(["s"] if attempt.standby else []),
    )
    return "|".join(map(str, parts))


def _timeline(stored: object) -> dict[Moment, datetime]:
    """Those moments that this version understands; the others are a story, not a state."""
    found: dict[Moment, datetime] = {}
    for name, at in stored.items() if isinstance(stored, dict) else ():
        with suppress(*UNREADABLE):
            found[Moment(name)] = moment(at)
    return found


def _attempts(stored: object) -> Iterator[Attempt]:
    """As for `_timeline`."""
    for text in stored if isinstance(stored, list) else ():
        try:
            vm, instance_type, zone, capacity_type, kind, spent, *more = text.split("|")
            yield Attempt(
                instance_id=InstanceId(vm),
                instance_type=instance_type,
                zone=zone,
                capacity_type=CapacityType(capacity_type),
                kind=FailureKind(kind),
                seconds=int(spent),
                standby="s" in more,
            )
        except (ValueError, AttributeError):
            continue


def _vm_values(vm: Vm) -> dict[str, Any]:
    return {
        "instance_id": vm.instance_id,
        "arn": vm.arn,
        "type": vm.instance_type,
        "zone": vm.zone,
        "market": vm.capacity_type.value,
        "launched_at": seconds(vm.launched_at),
    }


def _vm(values: Mapping[str, Any], intent_id: IntentId) -> Vm:
    """A VM as EC2 first told of it; what became of it since is for EC2 to say."""
    return Vm(
        instance_id=InstanceId(fields.text(values, "instance_id")),
        arn=InstanceArn(fields.text(values, "arn")),
        state=VmState.PENDING,
        launched_at=fields.at(values, "launched_at"),
        instance_type=fields.text(values, "type"),
        zone=fields.text(values, "zone"),
        capacity_type=CapacityType(fields.text(values, "market")),
        intent_id=intent_id,
    )
