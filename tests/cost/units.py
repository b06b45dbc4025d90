"""What each question to the tables is billed: read and write units, by the requests that the real adapters make."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.model import OperationModel
from moto import mock_aws

from agent_stack.adapters.dynamodb import items
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey
from agent_stack.domain.launching import Intent, VmLook
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.states import Outcome
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import WaitingList
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm, job_id

TTL = timedelta(seconds=9)
KIB_OF_A_READ_UNIT = 4

WRITES = {"PutItem": 1, "UpdateItem": 1, "DeleteItem": 1}
IN_A_TRANSACTION = 2
"""Units of an item up to a kilobyte, which a test holds all of ours to; a refused write costs the same. A consistent
read is one unit for each 4 KB, and for nothing found. Source: DynamoDB's read and write units."""


QUERIES_OF_RUNS = frozenset({"ledger.active_runs", "ledger.refreshed_runs", "ledger.bound_instances"})
"""Calls that read all active runs. DynamoDB bills what it reads, also where it sends less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Billed by DynamoDB, and the requests that they came of."""

    reads: float = 0.0
    writes: float = 0.0
    requests: float = 0.0

    def __add__(self, other: "Units") -> "Units":
        return Units(
            reads=self.reads + other.reads, writes=self.writes + other.writes, requests=self.requests + other.requests
        )

    def __mul__(self, times: float) -> "Units":
        return Units(reads=self.reads * times, writes=self.writes * times, requests=self.requests * times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Units of one item of each call, as in `ledger.record`; and how large a run is that a query reads."""

    of_call: Mapping[str, Units]
    run_kib: float

    def of_answer(self, call: str, size: int) -> Units:
        """What is read on top where a query finds that many runs: more than it is billed for when it finds none."""
        pages = math.floor(size * self.run_kib / KIB_OF_A_READ_UNIT)
        return Units(reads=pages) if call in QUERIES_OF_RUNS else Units()


def weigh() -> Weights:
    """Make each call once, of one item, and look at what is sent."""
    run, vm = a_run(1), a_vm(1)
    with mock_aws(), _noted(tables := Tables()) as sent:
        ledger, mailbox, lease = tables.ledger, tables.mailbox, tables.dispatcher_lease
        held = lease.acquire("h", now=EPOCH, ttl=TTL)
        assert held is not None
        weights = {"lease.acquire": sum(sent, Units())}
        bound: list[Run] = []
        calls: dict[str, Callable[[], object]] = {
            "lease.signal": lambda: lease.signal("i", handover=True),
            "lease.pauses": lease.pauses,
            "lease.renew": lambda: lease.renew(held, now=EPOCH, ttl=TTL),
            "ledger.earlier": lambda: ledger.earlier([job_id(1)]),
            "ledger.record": lambda: ledger.record([run]),
            "ledger.active_runs": ledger.active_runs,
            "ledger.refreshed_runs": ledger.refreshed_runs,
            "ledger.bound_instances": ledger.bound_instances,
            "ledger.write_intent": lambda: ledger.write_intent(_intent(), fence=held.fence),
            "ledger.launched": ledger.launched,
            "ledger.record_look": lambda: ledger.record_look(VmLook(taken=1, launched=1, at=EPOCH)),
            "ledger.spend_intent": lambda: ledger.spend_intent(_intent()),
            "ledger.close_intent": lambda: ledger.close_intent(_intent().intent_id),
            "ledger.open_intents": ledger.open_intents,
            "ledger.launch_memory": ledger.launch_memory,
            "ledger.stack_keys": ledger.stack_keys,
            "ledger.record_stack_keys": lambda: ledger.record_stack_keys(StackKeyRecord(prefix="ci", long=True)),
            "ledger.list_waiting": lambda: ledger.list_waiting(WaitingList(at=EPOCH)),
            "ledger.waiting": ledger.waiting,
            "ledger.holds": ledger.holds,
            "ledger.remember_launches": lambda: ledger.remember_launches(LaunchMemory(), fence=1),
            "ledger.bind": lambda: bound.extend(_bind(tables, ledger.active_runs()[0], vm)),
            "ledger.update": lambda: bound.extend(ledger.update([bound[-1].with_facts(notices_sent=frozenset({"x"}))])),
            "ledger.close_mailboxes": lambda: ledger.close_mailboxes([a_vm(2).arn]),
            "mailbox.read": lambda: mailbox.read([vm.arn]),
            "mailbox.renew": lambda: mailbox.renew(vm.arn, "c"),
            "mailbox.reissue": lambda: mailbox.reissue(vm.arn, "c"),
            "mailbox.revoke_credential": lambda: mailbox.revoke_credential(vm.arn),
            "vm.report": lambda: tables.vm_reports(vm.arn, "booting", "", 1.0),
            "vm.take_credential": lambda: tables.vm_takes(vm.arn),
            "ledger.end": lambda: ledger.end([bound[-1].ended(Outcome.FINISHED, now=EPOCH)]),
            "lease.release": lambda: lease.release(held),
        }
        weights |= {call: _weighed(sent, act) for call, act in calls.items()}
    weights["ledger.bind"] += weights["ledger.active_runs"] * -1  # which gave it its run
    weights["vm.find_letter"] = Units(reads=1, requests=1)  # GetItem, consistent, of one small item or none
    run_kib = len(json.dumps(items.packed(items.run_values(run.bound(vm, now=EPOCH))))) / 1024
    return Weights(of_call=weights, run_kib=run_kib)


def _weighed(sent: list[Units], act: Callable[[], object]) -> Units:
    sent.clear()
    act()
    return sum(sent, Units())


@contextmanager
def _noted(tables: Tables) -> Iterator[list[Units]]:
    sent: list[Units] = []

    def note(model: OperationModel, params: Mapping[str, Any], **_: object) -> None:
        sent.append(billed(model.name, json.loads(params["body"])))

    tables.client.meta.events.register("before-call.dynamodb", note)
    yield sent


def billed(operation: str, request: Mapping[str, Any]) -> Units:
    """The units of one request for items under a kilobyte.

    Raises:
        KeyError: an operation whose price nobody looked up.
    """
    match operation:
        case "TransactWriteItems":
            return Units(writes=IN_A_TRANSACTION * len(request["TransactItems"]), requests=1)
        case "BatchGetItem":
            return Units(reads=sum(len(table["Keys"]) for table in request["RequestItems"].values()), requests=1)
        case "Query" | "GetItem":
            return Units(reads=1 if request.get("ConsistentRead") else 0.5, requests=1)
        case _:
            return Units(writes=WRITES[operation], requests=1)


def _intent() -> Intent:
    return Intent(
        intent_id=IntentId("as-1"),
        class_name=ClassName("default"),
        request="{}",
        count=1,
        queues=(QueueKey("default"),),
        created_at=EPOCH,
    )


def _bind(tables: Tables, run: Run, vm: Vm) -> list[Run]:
    bound = run.bound(vm, now=EPOCH)
    return list(tables.ledger.bind([(bound, a_letter(bound, vm))]))
