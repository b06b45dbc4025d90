"""What the stages may expect of a ledger."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError

from agent_stack.domain.errors import GiveUpError, RetryError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Baton, Market, Moment, Outcome
from agent_stack.domain.vms import Vm
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm, job_id


def pair(number: int) -> tuple[Run, Vm]:
    return a_run(number), a_vm(number)


def bind(tables: Tables, run: Run, vm: Vm) -> list[Run]:
    bound = run.bound(vm, now=EPOCH)
    return list(tables.ledger.bind([(bound, a_letter(bound, vm))]))


def intent(**changes: object) -> Intent:
    values: dict[str, Any] = {
        "intent_id": IntentId("as-1"),
        "class_name": ClassName("default"),
        "request": "{}",
        "count": 2,
        "queues": (QueueKey("default"),),
        "created_at": EPOCH,
        **changes,
    }
    return Intent(**values)


def lose_next_answer(tables: Tables, operation: str) -> None:
    """The request takes effect; the client never learns, and asks again."""
    answers = iter([ConnectionClosedError(endpoint_url="https://dynamodb")])

    def lose(**_: object) -> None:
        error = next(answers, None)
        if error is not None:
            raise error

    tables.client.meta.events.register_first(f"after-call.dynamodb.{operation}", lose)


def test_of_two_records_of_one_job_one_wins(tables: Tables) -> None:
    assert len(tables.ledger.record([a_run()])) == 1
    assert tables.ledger.record([a_run()]) == []
    assert len(tables.ledger.active_runs()) == 1


def test_one_job_that_is_recorded_already_costs_only_itself(tables: Tables) -> None:
    tables.ledger.record([a_run(5)])
    won = tables.ledger.record([a_run(n) for n in range(1, 131)])
    assert [run.job_id for run in won] == [job_id(n) for n in range(1, 131) if n != 5]
    assert len(tables.ledger.active_runs()) == 130


def test_a_run_comes_back_as_it_was_written(tables: Tables) -> None:
    run, vm = pair(1)
    (run,) = tables.ledger.record([run])
    (run,) = tables.ledger.update([run.reserved(now=EPOCH, until=EPOCH + timedelta(seconds=900))])
    (run,) = bind(tables, run, vm)
    (run,) = tables.ledger.update([run.noted(told=frozenset({"vm_requested"}), baton=Baton.VM)])
    (run,) = tables.ledger.update([run.finishing("because", now=EPOCH)])
    assert tables.ledger.active_runs() == [run]
    assert run.timeline[Moment.BOUND] == EPOCH


def test_an_update_wins_only_on_top_of_its_predecessor(tables: Tables) -> None:
    (run,) = tables.ledger.record([a_run()])
    later = run.reserved(now=EPOCH, until=EPOCH)
    assert tables.ledger.update([later]) == [later]
    assert tables.ledger.update([run.giving_up("too late")]) == []
    assert tables.ledger.active_runs() == [later]


def test_what_another_version_wrote_into_a_run_survives(tables: Tables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (stored,) = tables.items()
    tables.client.update_item(
        TableName="LedgerTable",
        Key={"pk": stored["pk"], "sk": stored["sk"]},
        UpdateExpression="SET invented_later = :x",
        ExpressionAttributeValues={":x": {"S": "kept"}},
    )
    tables.ledger.update([run.giving_up("why not")])
    assert tables.items()[0]["invented_later"] == {"S": "kept"}


def test_a_run_that_cannot_be_read_hides_no_other_and_still_owns_its_vm(tables: Tables) -> None:
    for number in (1, 2):
        run, vm = pair(number)
        (run,) = tables.ledger.record([run])
        bind(tables, run, vm)
    stored = next(item for item in tables.items() if item["sk"]["S"] == job_id(1))
    tables.client.put_item(TableName="LedgerTable", Item={**stored, "state": {"S": "a state of the future"}})
    assert [run.job_id for run in tables.ledger.active_runs()] == [job_id(2)]
    assert tables.ledger.bound_instances() == {a_vm(1).instance_id, a_vm(2).instance_id}
    assert "ledger_item_unreadable" in tables.telemetry.messages("ERROR")


def test_binding_fills_the_mailbox_with_it(tables: Tables) -> None:
    run, vm = pair(1)
    (run,) = tables.ledger.record([run])
    assert len(bind(tables, run, vm)) == 1
    assert tables.mailbox.read([vm.arn])[vm.arn].baton is Baton.IN_BOX
    assert tables.items("MailboxTable")[0]["job_id"] == {"S": run.job_id}


def test_a_vm_is_bound_to_one_job_only_and_a_conflict_costs_its_own_pair(tables: Tables) -> None:
    runs = tables.ledger.record([a_run(n) for n in range(1, 4)])
    vms = [a_vm(1), a_vm(1), a_vm(3)]
    bound = [run.bound(vm, now=EPOCH) for run, vm in zip(runs, vms, strict=True)]
    first = tables.ledger.bind([(bound[0], a_letter(bound[0], vms[0]))])
    rest = tables.ledger.bind([(run, a_letter(run, vm)) for run, vm in zip(bound[1:], vms[1:], strict=True)])
    assert [run.job_id for run in (*first, *rest)] == [job_id(1), job_id(3)]
    assert {run.job_id: run.binding is not None for run in tables.ledger.active_runs()} == {
        job_id(1): True,
        job_id(2): False,
        job_id(3): True,
    }


def test_a_job_is_bound_to_one_vm_only(tables: Tables) -> None:
    (run,) = tables.ledger.record([a_run()])
    assert len(bind(tables, run, a_vm(1))) == 1
    assert bind(tables, run, a_vm(2)) == []
    assert len(tables.items("MailboxTable")) == 1


def test_a_handed_back_run_can_be_bound_again(tables: Tables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (run,) = bind(tables, run, a_vm(1))
    (run,) = tables.ledger.update([run.handed_back(now=EPOCH)])
    (run,) = bind(tables, run, a_vm(2))
    assert run.attempt == 2


def test_an_ended_run_is_history_and_its_attempts_are_remembered(tables: Tables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (run,) = bind(tables, run, a_vm())
    (ended,) = tables.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    assert tables.ledger.active_runs() == []
    assert tables.ledger.attempts([run.job_id, job_id(2)]) == {run.job_id: 1}
    assert tables.ledger.end([run.ended(Outcome.LOST, now=EPOCH)]) == []
    assert tables.ledger.record([a_run(attempt=1)]) != []
    kinds = sorted(item["pk"]["S"].partition("#")[0] for item in tables.items())
    assert kinds == ["history", "run", "tombstone"]
    assert ended.outcome is Outcome.RELEASED


def test_a_lost_answer_is_neither_a_loss_nor_a_second_write(tables: Tables) -> None:
    lose_next_answer(tables, "TransactWriteItems")
    (run,) = tables.ledger.record([a_run()])
    lose_next_answer(tables, "TransactWriteItems")
    (run,) = bind(tables, run, a_vm())
    lose_next_answer(tables, "TransactWriteItems")
    (run,) = tables.ledger.end([run.ended(Outcome.FINISHED, now=EPOCH)])
    assert tables.ledger.active_runs() == []


def test_when_the_table_cannot_be_reached_the_caller_learns_it(tables: Tables) -> None:
    def refuse(request: AWSPreparedRequest, **_: object) -> None:
        raise ConnectionClosedError(endpoint_url=request.url)

    tables.client.meta.events.register_first("before-send.dynamodb", refuse)
    with pytest.raises(RetryError):
        tables.ledger.record([a_run()])
    with pytest.raises(RetryError):
        tables.ledger.active_runs()


def test_an_intent_needs_the_lease_under_its_number(tables: Tables) -> None:
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    tables.ledger.write_intent(intent(), fence=held.fence)
    with pytest.raises(GiveUpError):
        tables.ledger.write_intent(intent(intent_id=IntentId("as-2")), fence=held.fence - 1)
    assert tables.ledger.open_intents() == [intent()]


def test_a_spent_intent_keeps_its_vms_until_it_is_closed(tables: Tables) -> None:
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    tables.ledger.write_intent(intent(), fence=held.fence)
    spent = intent(spent=True, vms=(a_vm(1), a_vm(2)))
    tables.ledger.spend_intent(spent)
    assert tables.ledger.open_intents() == [spent]
    tables.ledger.close_intent(spent.intent_id)
    tables.ledger.close_intent(spent.intent_id)
    assert tables.ledger.open_intents() == []


def test_the_largest_run_stays_under_a_kilobyte(tables: Tables) -> None:
    run = replace(a_run(), queue_key=QueueKey("q" * 60), class_name=ClassName("c" * 63), give_up=None)
    vm = replace(
        a_vm(),
        instance_id=InstanceId("i-0123456789abcdef0"),
        arn=InstanceArn("arn:aws-us-gov:ec2:us-gov-west-1:123456789012:instance/i-0123456789abcdef0"),
        instance_type="u-24tb1.112xlarge",
        zone="us-gov-west-1a",
        market=Market.SPOT,
    )
    run = run.reserved(now=EPOCH, until=EPOCH).bound(vm, now=EPOCH).running(now=EPOCH)
    run = run.noted(job_over_at=EPOCH, moments={Moment.VM_RUNNING: EPOCH}).finishing("é" * 5000, now=EPOCH)
    tables.ledger.record([replace(run, told=frozenset({"vm_requested", "vm_running", "slow_boot_480", "relaunch_2"}))])
    (stored,) = tables.items()
    assert sum(len(name.encode()) + _size(value) for name, value in stored.items()) <= 1024


def _size(value: dict[str, Any]) -> int:
    """As DynamoDB counts: text by bytes, a number by half its digits, a map by its parts."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content.replace(".", "")) // 2 + 2
        case "M":
            return 3 + sum(len(name) + _size(part) + 1 for name, part in content.items())
        case "SS":
            return sum(len(text.encode()) for text in content)
        case _:
            return 1
