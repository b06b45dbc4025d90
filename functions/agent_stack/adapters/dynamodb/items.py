"""How runs, intents and mailboxes look as DynamoDB items.

One attribute a fact, so that versions of this code can read each other's items: what is missing takes its default,
what is unknown is left alone. Points in time are seconds since 1970, so that a person can compare them with a TTL.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def shard(kind: str, job_id: JobId) -> str:
    """The partition of that job's item. Stable for ever: it is part of the key."""
    return f"{kind}#{sum(job_id.encode()) % SHARDS}"


def key(pk: str, sk: str) -> dict[str, Any]:
    """A key of the ledger table."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def seconds(at: datetime) -> Decimal:
    """Seconds since 1970, to the microsecond."""
    return Decimal((at - _EPOCH) // _MICROSECOND).scaleb(-6)


def moment(value: Decimal) -> datetime:
    """The point in time behind `seconds`."""
    return _EPOCH + int(value.scaleb(6)) * _MICROSECOND


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
            job_id=JobId(values["sk"]),
            queue_key=QueueKey(values["queue_key"]),
            class_name=ClassName(values["class_name"]),
            state=RunState(values["state"]),
            state_entered_at=moment(values["state_entered_at"]),
            version=int(values["version"]),
            attempt=int(values["attempt"]),
            lost_standby=bool(values.get("lost_standby", False)),
            priority=int(values["priority"]),
            reserved_until=_moment(values.get("reserved_until")),
            reservation_lost=values.get("reservation_lost", False),
            binding=_binding(values),
            credential_holder=CredentialHolder(values["baton"]),
            failure_reason=values.get("give_up"),
            finishing_at=_moment(values.get("finishing_at")),
            job_over_at=_moment(values.get("job_over_at")),
            outcome=Outcome(values["outcome"]) if "outcome" in values else None,
            origin=_origin(values.get("origin", "")),
            tried=tuple(_attempts(values.get("tried", ()))),
            notices_sent=frozenset(values.get("told", ())),
            notices_sent_before=int(values.get("told_before", 0)),
            timeline={Moment(name): moment(at) for name, at in values.get("timeline", {}).items() if name in _MOMENTS},
        )
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BugError(f"run item {item.get('sk')} cannot be read: {error!r}") from None


def read_prior_usage(item: Mapping[str, Any]) -> PriorUsage:
    """What earlier runs of a job used up, as their tombstone tells.

    Raises:
        BugError: as for `read_run`.
    """
    try:
        values = unpacked(item)
        return PriorUsage(
            attempts=int(values["attempts"]),
            notices_sent=int(values.get("told", 0)),
            lost_standby=bool(values.get("lost_standby", False)),
        )
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BugError(f"tombstone item {item.get('sk')} cannot be read: {error!r}") from None


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
        intent_id = IntentId(values["sk"])
        return Intent(
            intent_id=intent_id,
            class_name=ClassName(values["class_name"]),
            request=values["request"],
            count=int(values["instance_count"]),
            queues=tuple(QueueKey(queue) for queue in values.get("queues", ())),
            created_at=moment(values["created_at"]),
            capacity_type=CapacityType(values["capacity_type"]) if "capacity_type" in values else None,
            spent=values["spent"],
            vms=tuple(_vm(vm, intent_id) for vm in values.get("vms", ())),
            hold=timedelta(seconds=int(values["hold"])) if "hold" in values else None,
            shape=values.get("shape", ""),
        )
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BugError(f"intent item {item.get('sk')} cannot be read: {error!r}") from None


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
        keys = {QueueKey(queue): StackKey(key) for queue, key in values.get("keys", {}).items()}
        retired = {StackKey(key): QueueKey(queue) for key, queue in values.get("retired", {}).items()}
        return StackKeyRecord(prefix=values["prefix"], long=values["long"], keys=keys, retired=retired)
    except (KeyError, TypeError, AttributeError) as error:
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


_MOMENTS = frozenset(point.value for point in Moment)


def _seconds(at: datetime | None) -> Decimal | None:
    return None if at is None else seconds(at)


def _moment(value: Decimal | None) -> datetime | None:
    return None if value is None else moment(value)


def _binding(values: Mapping[str, Any]) -> Binding | None:
    if "instance_id" not in values:
        return None
    return Binding(
        instance_id=InstanceId(values["instance_id"]),
        arn=InstanceArn(values["instance_arn"]),
        instance_type=values.get("instance_type", ""),
        zone=values.get("zone", ""),
        capacity_type=CapacityType(values["market"]),
        launched_at=moment(values["launched_at"]),
        standby=bool(values.get("standby", False)),
    )


def _origin_text(origin: Origin) -> str | None:
    """In one text, as an attempt is; None where nothing is known."""
    number = "" if origin.build_number is None else str(origin.build_number)
    parts = (origin.pipeline_id, number, origin.pipeline_slug, origin.build_branch)
    return ORIGIN_SEPARATOR.join(parts) if any(parts) else None


def _origin(text: str) -> Origin:
    """What of it this version understands: no step depends on it."""
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


def _attempts(stored: Sequence[str]) -> Iterator[Attempt]:
    """Those that this version understands; the others are a story, not a state."""
    for text in stored:
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
        except ValueError:
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
        instance_id=InstanceId(values["instance_id"]),
        arn=InstanceArn(values["arn"]),
        state=VmState.PENDING,
        launched_at=moment(values["launched_at"]),
        instance_type=values["type"],
        zone=values["zone"],
        capacity_type=CapacityType(values["market"]),
        intent_id=intent_id,
    )
