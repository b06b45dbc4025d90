"""Neighbouring versions read each other's records: while one is deployed over the other, both are at work.

`tests/fixtures/version_0_1_0.json` holds what version 0.1.0 (commit 61c2288) stores and what its readers require.

How it was made. That commit was unpacked into a folder of its own. `tests/contract/version_story.py` was translated
into its names and run there, by its own writers, against its own tables; `ledger` and `mailboxes` are all items that it
left. `readers` was derived by its own readers: an attribute is required if an item cannot be read without it, its type
is the one in the items, and its values are those of the enumeration that the reader takes it for, if a value unheard of
makes the item unreadable. Items that are not read as a whole (lease, tombstone, mark of what was told, mailbox) have
their rules from the expressions in its adapters, and from the boot program for what a VM reads of its mailbox. The
fixture is never made anew: it is what that version wrote.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from agent_stack.dispatcher.bind import AGENT_TOKEN
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.launching import Launched, VmLook
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, Outcome, RunState
from agent_stack.domain.vms import MailboxStatus
from agent_stack.domain.waiting import WaitReason
from agent_stack.ports import HeldLease
from tests.contract import version_story as story
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_vm, job_id

Item = Mapping[str, Any]
FIXTURE: Mapping[str, Any] = json.loads(
    Path(__file__).parents[1].joinpath("fixtures/version_0_1_0.json").read_text(encoding="utf-8")
)
READERS: Mapping[str, Mapping[str, Any]] = FIXTURE["readers"]
TABLES = {"LedgerTable": "ledger", "MailboxTable": "mailboxes"}
ATTEMPT: Mapping[str, Sequence[str]] = READERS["run"]["tried"]
"""Of the parts of an attempt, those that 0.1.0 takes for enumerations; it passes over an attempt with other values."""


@pytest.fixture
def left(dynamo: Tables) -> Tables:
    """The tables as version 0.1.0 left them."""
    for table, items in TABLES.items():
        for item in FIXTURE[items]:
            dynamo.client.put_item(TableName=table, Item=item)
    return dynamo


# --- this version reads what 0.1.0 wrote ---


def test_every_run_is_read_as_it_was_meant(left: Tables) -> None:
    runs = {run.job_id: run for run in left.ledger.active_runs()}
    for name in story.RUNS:
        assert runs.pop(job_id(story.number_of(name))) == story.latest(name), name
    assert set(runs) == {job_id(number) for number in story.MAILBOXES.values()}
    assert left.telemetry.records == []


def test_the_vms_of_all_runs_are_known(left: Tables) -> None:
    bound = {run.binding.instance_id for run in left.ledger.active_runs() if run.binding is not None}
    assert left.ledger.bound_instances() == bound
    assert len(bound) == len(story.MAILBOXES) + 6


def test_what_ended_runs_used_up_counts(left: Tables) -> None:
    used = PriorUsage(attempts=1, notices_sent=1)
    jobs = list(story.ENDED.values())
    assert left.ledger.earlier(jobs) == {job: used for job in jobs if int(job[-1]) % 2 == 0}


def test_every_intent_is_read_as_it_was_meant(left: Tables) -> None:
    assert sorted(left.ledger.open_intents(), key=str) == sorted(story.INTENTS.values(), key=str)


def test_what_ec2_taught_is_read_in_full(left: Tables) -> None:
    assert replace(left.ledger.launch_memory(), began_at=None) == story.MEMORY  # 0.1.0 does not say when it began


def test_the_list_of_those_who_wait_is_read_in_its_order_with_every_reason(left: Tables) -> None:
    assert left.ledger.waiting() == story.WAITING
    assert {waiting.reason for waiting in story.WAITING.jobs} == set(WaitReason) - story.SINCE


def test_what_a_waiting_job_was_told_is_not_told_again(left: Tables) -> None:
    assert left.ledger.claim_notices(story.TOLD).claimed == []
    another = replace(story.TOLD[0], reason=WaitReason.QUOTA)
    assert left.ledger.claim_notices([another]).claimed == [another]


def test_a_lease_holds_with_its_fencing_number_its_signals_and_its_successor(left: Tables) -> None:
    lease, almost = left.dispatcher_lease, EPOCH + story.TTL - timedelta(seconds=1)
    held = HeldLease(holder="the first", fence=1, signals=0, expires_at=EPOCH + story.TTL)
    assert lease.acquire("another", now=almost, ttl=story.TTL) is None
    assert lease.renew(held, now=EPOCH, ttl=story.TTL) == replace(held, signals=1, successor="the second")
    assert not lease.release(held), "there was a signal since"
    after = lease.acquire("another", now=EPOCH + story.TTL, ttl=story.TTL)
    assert after is not None
    assert (after.fence, after.signals) == (2, 1)


def test_each_holder_of_version_0_1_0_is_one_that_counted_no_vms(left: Tables) -> None:
    assert left.ledger.launched() == Launched(uncounted=1)
    assert left.dispatcher_lease.acquire("another", now=EPOCH + story.TTL, ttl=story.TTL)
    left.ledger.record_look(look := VmLook(taken=3, launched=0, uncounted=1, at=EPOCH))
    assert left.ledger.launched() == Launched(uncounted=1, look=look)


def test_every_mailbox_is_read_as_it_was_meant(left: Tables) -> None:
    def status(holder: CredentialHolder, stage: BootStage | None, seconds: float | None, detail: str) -> MailboxStatus:
        return MailboxStatus(credential_holder=holder, stage=stage, stage_seconds=seconds, detail=detail)

    box, vm, tracker = CredentialHolder.MAILBOX, CredentialHolder.VM, CredentialHolder.TRACKER
    assert left.mailbox.read([story.arn_of(name) for name in story.MAILBOXES]) == {
        story.arn_of("filled"): status(box, None, None, ""),
        story.arn_of("reported"): status(box, BootStage.AGENT_INSTALLING, 12.5, "agent 3.99"),
        story.arn_of("taken"): status(vm, BootStage.CREDENTIAL_TAKEN, None, ""),
        story.arn_of("lost"): status(vm, BootStage.CREDENTIAL_LOST, 20, ""),
        story.arn_of("given again"): status(box, BootStage.CREDENTIAL_LOST, 20, ""),
        story.arn_of("revoked"): status(tracker, None, None, ""),
        story.arn_of("agent started"): status(vm, BootStage.AGENT_STARTED, 31.25, ""),
        story.arn_of("failed"): status(box, BootStage.FAILED, 40, "disk is full"),
    }


def test_this_version_goes_on_from_every_item(left: Tables) -> None:
    runs = left.ledger.active_runs()
    assert list(left.ledger.update([run.failing("why not") for run in runs])) == [
        run.failing("why not") for run in runs
    ]
    answers = {name: left.mailbox.revoke_credential(story.arn_of(name)) for name in ("filled", "taken", "revoked")}
    assert answers == {"filled": True, "taken": False, "revoked": True}
    assert left.mailbox.reissue(story.arn_of("lost"), "bkjat_new")
    for intent in left.ledger.open_intents():
        left.ledger.spend_intent(replace(intent, spent=True, vms=(a_vm(),)))
    assert all(intent.spent and len(intent.vms) == 1 for intent in left.ledger.open_intents())


# --- 0.1.0 reads what this version writes ---


SINCE = frozenset({"launched"})
"""Kinds of items that came after 0.1.0, which does not ask for them."""


def kind_of(item: Item) -> str:
    """By its key; a run that ended is read by the rules of a run."""
    kind: str = item["pk"]["S"].partition("#")[0] if "pk" in item else "mailbox"
    return "run" if kind == "history" else kind


def complaints(kind: str, item: Item) -> Iterator[str]:
    """What a reader of version 0.1.0 misses in that item, or takes for something else."""
    rules = READERS[kind]
    required = dict(rules["required"])
    for name, further in rules.get("required_with", {}).items():
        required |= further if name in item else {}
    for name in required.keys() - item.keys():
        yield f"{kind}: {name} is missing"
    for name, wanted in {**rules["optional"], **required}.items():
        if name in item and set(item[name]) != {wanted}:
            yield f"{kind}: {name} is no {wanted}"
    for name, values in rules["values"].items():
        if name in item and item[name].get("S") not in values:
            yield f"{kind}: {name} has an unheard-of value"
    for inner, name in (("intent vm", "vms"), ("waiting group", "groups")):
        if inner.startswith(f"{kind} "):
            for part in item.get(name, {}).get("L", ()):
                yield from complaints(inner, part["M"])


def all_complaints(items: Sequence[Item]) -> list[str]:
    return [complaint for item in items for complaint in complaints(kind_of(item), item)]


def test_version_0_1_0_can_read_all_that_this_version_writes(dynamo: Tables) -> None:
    story.tell(dynamo)
    items = [item for item in (*dynamo.items(), *dynamo.items("MailboxTable")) if kind_of(item) not in SINCE]
    assert all_complaints(items) == []
    assert {kind_of(item) for item in items} == {kind for kind in READERS if " " not in kind}


def test_version_0_1_0_keeps_its_own_rules() -> None:
    assert all_complaints([*FIXTURE["ledger"], *FIXTURE["mailboxes"]]) == []


@pytest.mark.parametrize("kind", sorted(kind for kind in READERS if " " not in kind))
def test_an_item_that_lacks_or_renames_something_is_noticed(kind: str) -> None:
    found = [item for item in (*FIXTURE["ledger"], *FIXTURE["mailboxes"]) if kind_of(item) == kind]
    rules = READERS[kind]
    for name in rules["required"]:
        assert all_complaints([{key: value for key, value in found[0].items() if key != name or name == "pk"}])
    for name in {**rules["required"], **rules["optional"]}:
        assert all_complaints([{**found[0], name: {"NULL": True}}])
    for name in rules["values"]:
        assert all_complaints([{**found[0], name: {"S": "unheard of"}}])


@pytest.mark.parametrize(("table", "keys"), [("LedgerTable", ("pk", "sk")), ("MailboxTable", ("instance_arn",))])
def test_what_0_1_0_reads_of_an_item_this_version_writes_with_the_same_meaning(
    dynamo: Tables, table: str, keys: tuple[str, ...]
) -> None:
    """The same story leaves the same items, under the same keys; this version may only add to them."""
    story.tell(dynamo)
    ours = {tuple(item[key]["S"] for key in keys): item for item in dynamo.items(table)}
    for theirs in FIXTURE[TABLES[table]]:
        written = ours[tuple(theirs[key]["S"] for key in keys)]
        meant = {name: value for name, value in theirs.items() if name != "write_id"}
        assert part_of(written, meant) == meant


def part_of(written: Any, known: Any) -> Any:  # noqa: ANN401  (any part of an item)
    """What is written of the attributes that are known, at every depth."""
    if isinstance(written, dict) and isinstance(known, dict):
        return {name: part_of(written[name], known[name]) for name in known if name in written}
    return written


@pytest.mark.parametrize(
    ("kind", "attribute", "members"),
    [
        ("run", "state", RunState),
        ("run", "baton", CredentialHolder),
        ("run", "market", CapacityType),
        ("run", "outcome", Outcome),
        ("intent vm", "market", CapacityType),
    ],
)
def test_no_stored_enumeration_has_a_value_that_0_1_0_cannot_read(
    kind: str, attribute: str, members: type[StrEnum]
) -> None:
    assert {member.value for member in members} <= set(READERS[kind]["values"][attribute])


def test_no_credential_is_of_a_kind_that_a_vm_of_0_1_0_does_not_know() -> None:
    assert {"job-token", AGENT_TOKEN} == set(READERS["mailbox"]["values"]["credential_kind"])


def test_0_1_0_understands_every_attempt_that_a_run_remembers(dynamo: Tables) -> None:
    story.tell(dynamo)
    tried = [text["S"] for item in dynamo.items() for text in item.get("tried", {}).get("L", ())]
    assert tried
    for text in tried:
        parts = text.split("|")
        assert all(parts[int(place)] in values for place, values in ATTEMPT.items()), text
        assert parts[5].isdecimal()
    assert {text.split("|")[4] for text in tried} == set(ATTEMPT["4"])
