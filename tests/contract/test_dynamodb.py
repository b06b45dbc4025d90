"""What is DynamoDB's own in the ledger: items of other versions, lost answers, sizes."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.errors import BugError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey, StackKey
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.states import CapacityType, Moment, Outcome
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting, WaitReason
from agent_stack.ports import Claims
from tests.contract.tables import Tables, another_process, lose_next_answer
from tests.simulator.clock import EPOCH
from tests.unit.values import a_job, a_letter, a_run, a_vm, job_id

OF_THE_FUTURE = {"state": {"S": "a state of the future"}, "write_id": {"S": "another version's"}}


def pair(number: int) -> tuple[Run, Vm]:
    return a_run(number), a_vm(number)


def bind(dynamo: Tables, run: Run, vm: Vm) -> list[Run]:
    bound = run.bound(vm, now=EPOCH)
    return list(dynamo.ledger.bind([(bound, a_letter(bound, vm))]))


def test_what_another_version_wrote_into_a_run_survives(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    (stored,) = dynamo.items()
    dynamo.client.update_item(
        TableName="LedgerTable",
        Key={"pk": stored["pk"], "sk": stored["sk"]},
        UpdateExpression="SET invented_later = :x",
        ExpressionAttributeValues={":x": {"S": "kept"}},
    )
    dynamo.ledger.update([run.failing("why not")])
    assert dynamo.items()[0]["invented_later"] == {"S": "kept"}


def test_a_run_that_cannot_be_read_hides_no_other_and_still_owns_its_vm(dynamo: Tables) -> None:
    for number in (1, 2):
        run, vm = pair(number)
        (run,) = dynamo.ledger.record([run])
        bind(dynamo, run, vm)
    stored = next(item for item in dynamo.items() if item["sk"]["S"] == job_id(1))
    dynamo.client.put_item(TableName="LedgerTable", Item={**stored, **OF_THE_FUTURE})
    assert [run.job_id for run in dynamo.ledger.active_runs()] == [job_id(2)]
    assert dynamo.ledger.bound_instances() == {a_vm(1).instance_id, a_vm(2).instance_id}
    assert "ledger_item_unreadable" in dynamo.telemetry.messages("ERROR")


def test_stack_keys_that_cannot_be_read_are_no_missing_ones(dynamo: Tables) -> None:
    """A deployment without a record has short keys, which another deployment may have."""
    dynamo.client.put_item(TableName="LedgerTable", Item={"pk": {"S": "stack_keys"}, "sk": {"S": "keys"}})
    with pytest.raises(BugError, match="stack keys"):
        dynamo.ledger.stack_keys()


def test_of_two_processes_that_begin_a_record_the_first_one_has_begun_it(dynamo: Tables) -> None:
    kept = StackKeyRecord(prefix="ci", long=False, keys={QueueKey("arm"): StackKey("ci-arm")})
    others = iter([kept])

    def before(**_: object) -> None:
        for record in others:  # another process writes between what this one reads, if it does, and what it writes
            dynamo.ledger.record_stack_keys(record)

    dynamo.client.meta.events.register_first("before-call.dynamodb.PutItem", before)
    dynamo.ledger.record_stack_keys(StackKeyRecord(prefix="ci", long=True), only_if_new=True)
    assert dynamo.ledger.stack_keys() == kept


def test_a_claim_that_fails_among_others_is_undecided_and_one_that_was_made_before_is_not(dynamo: Tables) -> None:
    def waits(named: str) -> Waiting:
        return Waiting(
            job_id=JobId(named), queue_key=QueueKey(""), class_name=ClassName("default"), reason=WaitReason.QUOTA
        )

    first, second, malformed = waits("1"), waits("2"), waits("x" * 3_000)  # longer than a key may be
    dynamo.ledger.claim_notices([first])
    claims = dynamo.ledger.claim_notices([first, malformed, second])
    assert claims == Claims(claimed=[second], undecided=[malformed])


def test_a_lost_answer_is_neither_a_loss_nor_a_second_write(dynamo: Tables) -> None:
    lose_next_answer(dynamo, "TransactWriteItems")
    (run,) = dynamo.ledger.record([a_run()])
    lose_next_answer(dynamo, "TransactWriteItems")
    (run,) = bind(dynamo, run, a_vm())
    lose_next_answer(dynamo, "TransactWriteItems")
    (run,) = dynamo.ledger.end([run.ended(Outcome.FINISHED, now=EPOCH)])
    assert dynamo.ledger.active_runs() == []


def test_when_the_table_cannot_be_reached_the_caller_learns_it(dynamo: Tables) -> None:
    def refuse(request: AWSPreparedRequest, **_: object) -> None:
        raise ConnectionClosedError(endpoint_url=request.url)

    dynamo.client.meta.events.register_first("before-send.dynamodb", refuse)
    with pytest.raises(UnknownOutcomeError):
        dynamo.ledger.record([a_run()])
    with pytest.raises(UnknownOutcomeError):
        dynamo.ledger.active_runs()


def requests(dynamo: Tables) -> list[str]:
    """The operations asked for from here on."""
    asked: list[str] = []
    dynamo.client.meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))
    return asked


def test_a_run_that_nobody_wrote_since_is_not_read_in_full_again(dynamo: Tables) -> None:
    dynamo.ledger.record([a_run(1), a_run(2)])
    asked = requests(dynamo)
    known = dynamo.ledger.active_runs()
    assert Counter(asked) == {"Query": 8}
    assert sorted(known, key=str) == sorted(another_process(dynamo).active_runs(), key=str)


def test_what_another_process_wrote_ended_or_added_is_seen(dynamo: Tables) -> None:
    first, second = dynamo.ledger.record([a_run(1), a_run(2)])
    other = another_process(dynamo)
    (changed,) = other.update([first.failing("why not")])
    other.end([second.ended(Outcome.RELEASED, now=EPOCH)])
    (added,) = other.record([a_run(3)])
    assert {run.job_id: run for run in dynamo.ledger.active_runs()} == {run.job_id: run for run in (changed, added)}


def test_a_run_recorded_anew_under_the_same_version_is_not_taken_for_the_old_one(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    other = another_process(dynamo)
    other.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    (anew,) = other.record([replace(a_run(), priority=7)])
    assert anew.version == run.version
    assert dynamo.ledger.active_runs() == [anew]


def test_what_only_has_the_version_of_the_predecessor_is_not_written_on(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    other = another_process(dynamo)
    other.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    (anew,) = other.record([replace(a_run(), priority=7)])
    assert dynamo.ledger.update([run.failing("why not")]) == []
    assert dynamo.ledger.active_runs() == [anew]


def test_a_write_that_was_refused_teaches_nothing(dynamo: Tables) -> None:
    (run,) = dynamo.ledger.record([a_run()])
    (ours,) = another_process(dynamo).update([run.failing("theirs")])
    assert dynamo.ledger.update([run.failing("ours")]) == []
    assert dynamo.ledger.active_runs() == [ours]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(["reserve", "bind", "tell", "hand back", "give up"]), max_size=6), st.booleans())
def test_whoever_reads_it_finds_what_was_written_step_by_step(steps: list[str], fresh: bool) -> None:  # noqa: FBT001  (drawn)
    """Only what changed is written, where the predecessor is known; the whole of it where it is not."""
    with mock_aws():
        dynamo = Tables()
        (run,) = dynamo.ledger.record([a_run()])
        for number, step in enumerate(steps):
            at = EPOCH + timedelta(seconds=number)
            ledger = another_process(dynamo) if fresh else dynamo.ledger
            match step:
                case "reserve":
                    (run,) = ledger.update([run.reserved(now=at, until=at)])
                case "bind" if run.binding is None:
                    bound = run.bound(a_vm(number), now=at)
                    (run,) = ledger.bind([(bound, a_letter(bound, a_vm(number)))])
                case "tell":
                    (run,) = ledger.update(
                        [run.with_facts(notices_sent=run.notices_sent | {f"slow_{number}"}, job_over_at=at)]
                    )
                case "hand back":
                    (run,) = ledger.update([run.requeued(Failure(kind=FailureKind.TIMEOUT, words="late"), now=at)])
                case "give up":
                    (run,) = ledger.update([run.failing("why not")])
                case _:
                    pass
        assert list(dynamo.ledger.active_runs()) == list(another_process(dynamo).active_runs()) == [run]


@pytest.mark.parametrize("length", [1, 7, 20, 40, 60])
def test_the_largest_run_stays_under_a_kilobyte(dynamo: Tables, length: int) -> None:
    queue, name = QueueKey("q" * length), ClassName("c" * (length + 3) + "/u-24tb1.112xlarge")
    job = a_job(
        runnable_at=EPOCH - timedelta(seconds=1),
        pipeline_slug="é" * 500,
        pipeline_id="0190d2f8-0000-4000-8000-000000000001",
        build_number=999_999_999,
        build_branch="é" * 500,
    )
    run = replace(
        Run.of(replace(job, queue_key=queue), class_name=name, now=EPOCH, failure_reason=None),
        class_name=on_demand_name(name),
    )
    vm = replace(
        a_vm(),
        instance_id=InstanceId("i-0123456789abcdef0"),
        arn=InstanceArn("arn:aws-us-gov:ec2:us-gov-west-1:123456789012:instance/i-0123456789abcdef0"),
        instance_type="u-24tb1.112xlarge",
        zone="us-gov-west-1a",
        capacity_type=CapacityType.SPOT,
    )
    for _ in range(3):
        run = run.reserved(now=EPOCH, until=EPOCH).bound(vm, now=EPOCH).with_facts(notices_sent=frozenset({"x"}))
        run = run.requeued(Failure(kind=FailureKind.BOOT_PROGRAM, words="é" * 500), now=EPOCH + timedelta(days=1))
    run = run.reserved(now=EPOCH, until=EPOCH).bound(vm, now=EPOCH)
    run = run.running(now=EPOCH, observed_moments={Moment.AGENT_STARTED: EPOCH, Moment.JOB_RUNNING: EPOCH})
    run = run.with_facts(job_over_at=EPOCH, moments={Moment.VM_RUNNING: EPOCH}).finishing("é" * 5000, now=EPOCH)
    dynamo.ledger.record(
        [replace(run, notices_sent=frozenset({"vm_requested", "vm_running", "slow_boot_480", "relaunch_2"}))]
    )
    (stored,) = dynamo.items()
    assert sum(len(name.encode()) + _size(value) for name, value in stored.items()) <= 1024  # a write's unit


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
        case "L":
            return 3 + sum(_size(part) + 1 for part in content)
        case _:
            return 1
