"""An item that somebody changed by hand costs itself, whatever type its attributes have; the others go on.

Each attribute of each kind of item gets a value of each of DynamoDB's types. What is read has values of its own types,
or a later step fails on it; or the item is left out, and named in the log once.
"""

from contextlib import suppress
from dataclasses import replace

import pytest

from agent_stack.adapters.dynamodb import DynamoLease, items
from agent_stack.adapters.dynamodb.holds import holds_values
from agent_stack.adapters.dynamodb.launch_memory import memory_values
from agent_stack.adapters.dynamodb.standby import _values
from agent_stack.adapters.dynamodb.waiting import list_values
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.backoff import Backoff
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import Level, Pause
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, BugError
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import Bucket, ClassName, InstanceArn, QueueKey
from agent_stack.domain.launching import Intent, Launched
from agent_stack.domain.pauses import Pauses
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.standby_trouble import Trouble
from agent_stack.domain.unavailable import Refusal
from agent_stack.domain.vms import MailboxStatus
from agent_stack.domain.waiting import Waiting, WaitingList, WaitReason
from tests.contract.hostile_items import (
    COUNT,
    LEASE,
    VALUES,
    changed,
    ledger,
    left_out_or_typed,
    mailbox,
    said,
    standby,
    stored_run,
    table,
)
from tests.contract.typed import untyped
from tests.simulator.clock import EPOCH
from tests.unit.adapters.test_items import INTENT, RUN, STANDBY
from tests.unit.values import a_letter, a_run, a_vm, job_id

GOOD_RUN = stored_run(a_run(2))


def test_a_run_costs_itself() -> None:
    for why, item in changed(stored_run(RUN)):
        some = ledger(item, GOOD_RUN)
        found = {run.job_id: run for run in some.active_runs()}
        assert found.pop(job_id(2)) == a_run(2), why
        left_out_or_typed(tuple(found.values()), tuple[Run, ...], RUN.job_id, why)
        some.active_runs()
        some.refreshed_runs()
        assert len(said()) <= 1, why


def test_what_is_only_a_story_costs_no_run() -> None:
    for why, item in changed(stored_run(RUN)):
        if why.startswith(("tried", "origin", "timeline")):
            assert len(ledger(item).active_runs()) == 1, why
            assert not said(), why


def test_an_attribute_that_nobody_knows_costs_nothing() -> None:
    for value in VALUES.values():
        assert ledger({**stored_run(RUN), "added_by_hand": value}).active_runs() == [RUN]


def test_a_run_that_cannot_be_read_owns_its_vm_as_long_as_one_attribute_tells_which() -> None:
    assert RUN.binding is not None
    for why, item in changed(stored_run(RUN)):
        assert ledger(item).bound_instances() == {RUN.binding.instance_id} or why in {
            "instance_id is a text",
            "instance_arn is a text",
        }, why
    nothing_tells = {**stored_run(RUN), "instance_id": {"N": "1"}, "instance_arn": {"NULL": True}}
    with pytest.raises(BugError, match="neither instance_id nor instance_arn"):
        ledger(nothing_tells).bound_instances()


def test_a_tombstone_costs_itself() -> None:
    stored = {"attempts": {"N": "2"}, "told": {"N": "3"}, "lost_standby": {"BOOL": True}}
    for why, item in changed(stored):
        keyed = [{"pk": {"S": items.shard("tombstone", job_id(n))}, "sk": {"S": job_id(n)}} for n in (1, 2)]
        found = dict(ledger({**keyed[0], **item}, {**keyed[1], **stored}).earlier([job_id(1), job_id(2)]))
        assert found.pop(job_id(2)).attempts == 2, why
        left_out_or_typed(tuple(found.values()), tuple[PriorUsage, ...], job_id(1), why)


def test_an_intent_costs_itself() -> None:
    stored = items.packed({"pk": "intent", "sk": INTENT.intent_id, **items.intent_values(INTENT)})
    good = {**stored, "sk": {"S": "as-2"}}
    for why, item in changed(stored):
        found = ledger(item, good).open_intents()
        assert found[-1].intent_id == "as-2", why
        left_out_or_typed(tuple(found[:-1]), tuple[Intent, ...], INTENT.intent_id, why)
        assert all(intent.count >= 0 for intent in found), "a count below zero makes room that is not there"


def test_a_standby_vm_costs_itself() -> None:
    stored = items.packed({"pk": "standby", "sk": STANDBY.instance_id, **_values(STANDBY)})
    good = {**stored, "sk": {"S": "i-2"}}
    for why, item in changed(stored):
        some = standby(item, good)
        found = some.listed()
        assert found[-1].instance_id == "i-2", why
        left_out_or_typed(tuple(found[:-1]), tuple[StandbyVm, ...], STANDBY.instance_id, why)
        assert all(vm.closing is not None for vm in found), f"{why}: a closed VM is never bound again"
        some.listed()
        assert len(said()) <= 1, why


def test_a_held_vm_costs_itself() -> None:
    holds = [
        Hold(instance_id=a_vm(n).instance_id, arn=a_vm(n).arn, class_name=ClassName(f"c{n}"), until=EPOCH)
        for n in (1, 2)
    ]
    stored = items.packed({"pk": "holds", "sk": "list", **holds_values(Holds(version=3, vms=tuple(holds)))})
    for why, item in changed(stored):
        if why.startswith("version"):
            with suppress(AgentStackError):
                assert not untyped(ledger(item).holds(), Holds), why
            continue
        found = ledger(item).holds()
        assert not untyped(found, Holds), why
        assert found.version == 3, why
        assert len(found.vms) == 2 or said() or why == "vms is null", why
        if "vms.L.0" in why:
            assert found.vms[-1] == holds[1], why


def test_a_group_of_waiting_jobs_costs_itself() -> None:
    waiting = tuple(
        Waiting(
            job_id=job_id(n), queue_key=QueueKey(f"q{n}"), class_name=ClassName("c"), reason=WaitReason.QUOTA, words=""
        )
        for n in (1, 2)
    )
    stored = items.packed({"pk": "waiting", "sk": "list", **list_values(WaitingList(at=EPOCH, jobs=waiting))})
    for why, item in changed(stored):
        found = ledger(item).waiting()
        assert not untyped(found, WaitingList | None), why
        if "groups.L.0." in why:
            assert found is not None, why
            assert waiting[1] in found.jobs, why


def test_a_part_of_the_launch_memory_costs_itself() -> None:
    level = Level(tokens=3.5, at=EPOCH)
    memory = LaunchMemory(
        unavailable_pools={"spot:a:b": EPOCH, "spot:c:d": EPOCH},
        refused={"x": Refusal(since=EPOCH, until=EPOCH, message="m", listed=True)},
        quotas={
            Bucket(name): Ceiling(
                most=4, refused_at=EPOCH, code="c", message="m", ended_at=EPOCH, held=((EPOCH, EPOCH),)
            )
            for name in ("spot:a", "spot:b")
        },
        backoffs={"x": Backoff(failures=1, since=EPOCH, until=EPOCH, recent=((EPOCH, 1),), message="m", suspect=True)},
        breakers={
            ClassName(name): Breaker(until=EPOCH, since=EPOCH, failures=1, message="m", definite=True) for name in "ab"
        },
        instances=level,
        requests=level,
        pause=Pause(until=EPOCH, throttles=2),
        asked=((EPOCH, 3),),
        last_error_by_class={ClassName("a"): "m", ClassName("b"): "n"},
        began_at=EPOCH,
        worked_at=EPOCH,
        seen={"a": EPOCH, "b": EPOCH},
        standby={ClassName("a"): Trouble(at=EPOCH, reason="m", counted=(a_vm().instance_id,))},
        preempting=((EPOCH, EPOCH),),
    )
    stored = items.packed({"pk": "launching", "sk": "memory", "fence": 1, **memory_values(memory)})
    for why, item in changed(stored):
        found = ledger(item).launch_memory()
        assert not untyped(found, LaunchMemory), why
        broken = why.split(" ")[0].split(".")[0]
        for attribute, name in {"quotas": "quotas", "breakers": "breakers", "cooling": "unavailable_pools"}.items():
            whole = attribute == broken and " is " in why and "." not in why.split(" is ")[0]
            assert whole or len(getattr(found, name)) >= (1 if attribute == broken else 2), why
    for tokens in ("nan", "inf", "-inf"):
        item = {**stored, "instances": {"M": {"tokens": {"S": tokens}, "at": {"N": "1"}}}}
        assert ledger(item).launch_memory().instances is None


def test_the_look_costs_itself_and_the_count_stays() -> None:
    for why, item in changed(COUNT):
        if not why.startswith("vms"):
            found = ledger(item, LEASE).launched()
            assert not untyped(found, Launched), why
            assert found.vms == 9, why
            assert found.look is None or found.look.taken >= 0, why


def test_a_pause_in_the_lease_pauses_whatever_it_holds() -> None:
    for why, item in changed(LEASE):
        pauses = DynamoLease(table=table(item), function="dispatcher").pauses()
        assert not untyped(pauses, Pauses), why
        assert pauses.of(QueueKey("default")) is not None, why


def test_a_mailbox_costs_itself() -> None:
    run, vm = a_run(), a_vm()
    stored = items.packed(items.assignment_values(a_letter(run, vm)))
    stored |= {"stage": {"S": "booting"}, "stage_seconds": {"N": "1"}, "detail": {"S": "x"}, "revoked": {"N": "1"}}
    other = InstanceArn("arn:other")
    for why, item in changed(stored):
        some = replace(mailbox(), table=table(item, {**stored, "instance_arn": {"S": other}}))
        found = some.read([vm.arn, other])
        assert not untyped(dict(found), dict[InstanceArn, MailboxStatus]), why
        assert set(found) == {vm.arn, other}, why
