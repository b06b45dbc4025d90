"""What `drain` waits for, and what it says when it could not wait for long enough."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.vms import Vm
from agent_stack_cli import drain
from agent_stack_cli.output import Output
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack, find
from tests.cli.served import Served

pytestmark = pytest.mark.share(2)

DEFAULT = QueueKey("default")


@pytest.fixture
def stack(served: Served, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack, as an operator finds it."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    return find(Session(), "demo")


def wrote(served: Served, created_at: datetime) -> Intent:
    """A launch that the dispatcher wrote down then."""
    held = served.lease.acquire("one", now=datetime.now(UTC), ttl=timedelta(seconds=9))
    assert held is not None
    intent = Intent(
        intent_id=IntentId("as-1"),
        class_name=ClassName("default"),
        request="{}",
        count=1,
        queues=(DEFAULT,),
        created_at=created_at,
    )
    served.ledger.write_intent(intent, fence=held.fence)
    return intent


def stands_by(served: Served, closing: Closing | None = None) -> Vm:
    """An idle standby VM, or one that is being ended."""
    vm = served.launched()
    listed = StandbyVm.of(vm, class_name=ClassName("default"), hold=timedelta(hours=4), shape="")
    served.standby.add([listed])
    assert closing is None or served.standby.close([replace(listed, closing=closing)])
    return vm


def test_draining_pauses_and_waits_for_every_vm(served: Served, stack: Stack) -> None:
    vm, slept = served.launched(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            served.world.ec2.powered_off(vm.instance_id)
            served.gone(vm.instance_id)

    assert drain.drain(stack, queue=None, at_most_seconds=600, output=Output(as_json=False), sleep=sleep)
    assert slept == [drain.LOOK_SECONDS] * 2
    assert served.lease.pauses().of(DEFAULT) is not None


def test_a_launch_that_was_sent_before_the_pause_is_waited_for(served: Served, stack: Stack) -> None:
    """Nothing is there at first. The VM of a request that was on its way comes within the five seconds."""
    slept, vms = list[float](), list[str]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            vms.append(served.launched().instance_id)
        if len(slept) == 2:
            served.world.ec2.powered_off(vms[0])
            served.gone(vms[0])

    assert drain.drain(stack, queue=None, at_most_seconds=600, output=Output(as_json=False), sleep=sleep)
    assert slept == [drain.SETTLE_SECONDS, drain.LOOK_SECONDS]


def test_an_open_launch_counts_until_the_dispatcher_has_settled_it(served: Served, stack: Stack) -> None:
    written = wrote(served, datetime.now(UTC))
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            served.ledger.spend_intent(replace(written, spent=True))

    assert drain.drain(stack, queue=None, at_most_seconds=600, output=Output(as_json=False), sleep=sleep)
    assert slept == [drain.LOOK_SECONDS] * 2


def test_vms_of_an_answer_just_now_need_not_be_shown_yet(served: Served, stack: Stack) -> None:
    now = datetime.now(UTC)
    vm = replace(served.launched(), launched_at=now)
    served.world.ec2.powered_off(vm.instance_id)
    served.gone(vm.instance_id)
    for age, counts in ((timedelta(), 1), (timedelta(minutes=2), 0)):
        written = wrote(served, now - age)
        served.ledger.spend_intent(replace(written, spent=True, vms=(vm,)))
        assert drain.left(stack, None).launches == counts
        served.ledger.close_intent(written.intent_id)


@pytest.mark.parametrize("queue", [None, "default"])
def test_a_bound_vm_that_ec2_does_not_show_yet_counts_for_a_minute(
    served: Served, stack: Stack, queue: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its launch may be closed by then: the dispatcher found the VM's run in the ledger, and not the VM at EC2."""
    vm = served.launched()
    served.world.ec2.powered_off(vm.instance_id)
    served.gone(vm.instance_id)
    served.bound(served.recorded(1), vm)
    assert drain.left(stack, queue).vms == ()  # EC2 shows it, as one that has ended
    late = InstanceId("i-0fffffffffffffff0")
    served.bound(
        served.recorded(2), replace(vm, instance_id=late, arn=InstanceArn(vm.arn.replace(vm.instance_id, late)))
    )
    assert drain.left(stack, queue).vms == (late,)
    assert drain.left(stack, "linux.arm").vms == ()
    later = datetime.now(UTC) + timedelta(minutes=2)
    monkeypatch.setattr(Session, "now", lambda _: later)
    assert drain.left(stack, queue).vms == ()


def test_what_was_just_written_is_read(served: Served, stack: Stack) -> None:
    """An eventually consistent read may miss the last launch, and nothing else stands between it and a removal."""
    asked = list[bool]()
    stack.session.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: asked.append(bool(params.get("ConsistentRead")))
    )
    drain.left(stack, None)
    assert asked
    assert all(asked)


def test_a_record_that_cannot_be_read_may_be_a_launch(served: Served, stack: Stack) -> None:
    key = {"pk": {"S": "intent"}, "sk": {"S": "as-2"}}
    served.world.dynamodb.put_item(TableName=served.world.deployed.ledger_table, Item={**key, "count": {"S": "many"}})
    assert drain.left(stack, None).words == "1 records cannot be read"


def test_draining_a_queue_waits_for_its_own_vms_only(served: Served) -> None:
    served.bound(served.recorded(1, queue="default"), served.launched())
    assert "No VM has a job of queue linux.arm" in served.ok("drain", "--queue", "linux.arm")
    result = served.run("drain", "--queue", "default", "--minutes", "0")
    assert result.exit_code == 1
    assert "Not drained after 0 s: 1 VMs live" in result.stdout
    assert "Next: agent-stack drain --queue default --stack demo" in result.stdout


def test_draining_does_not_wait_for_a_held_vm(served: Served, stack: Stack) -> None:
    vm, until = served.launched(), datetime.now(UTC) + timedelta(minutes=30)
    assert vm.instance_id in drain.left(stack, None).vms
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=until)
    assert served.ledger.record_holds(Holds(version=1, vms=(hold,)))
    assert vm.instance_id not in drain.left(stack, None).vms


def test_a_drained_stack_says_which_held_vms_stay_up(
    served: Served, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = sorted(held_until(served, *(datetime(2099, 1, 2, 3, minute, tzinfo=UTC) for minute in (40, 10))))

    def drained(*, as_json: bool, terminates: str = "true") -> str:
        given = replace(stack, parameters={**stack.parameters, "TerminateOnDelete": terminates})
        output = Output(as_json=as_json)
        assert drain.drain(given, queue=None, at_most_seconds=600, output=output, sleep=lambda _: time.sleep(0.1))
        return capsys.readouterr().out

    for terminates, end in (
        ("true", "a removal ends them"),
        ("false", "with TerminateOnDelete=false a removal fails while they are up"),
    ):
        said = drained(as_json=False, terminates=terminates)
        assert "No VM of demo lives" not in said
        assert (
            f"2 VMs whose boot failed stay up until 2099-01-02 03:40 UTC at the latest; {end}: {', '.join(ids)}" in said
        )
    assert json.loads(drained(as_json=True))["held"] == ids


def held_until(served: Served, *moments: datetime) -> list[str]:
    """VMs that stay up until then."""
    vms = [served.launched() for _ in moments]
    holds = tuple(
        Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName(f"c{number}"), until=until)
        for number, (vm, until) in enumerate(zip(vms, moments, strict=True))
    )
    assert served.ledger.record_holds(Holds(version=1, vms=holds))
    return [vm.instance_id for vm in vms]


def test_programs_are_told_of_records_that_cannot_be_read(served: Served) -> None:
    key = {"pk": {"S": "intent"}, "sk": {"S": "as-2"}}
    served.world.dynamodb.put_item(TableName=served.world.deployed.ledger_table, Item={**key, "count": {"S": "many"}})
    said = json.loads(served.run("drain", "--minutes", "0", "--json").stdout)
    assert (said["drained"], said["unreadable"], said["held"]) == (False, 1, [])


def nothing_else_lives(served: Served) -> None:
    """The VMs of the test before are terminated, and no longer shutting down."""
    for instance in served.world.ec2.instances():
        served.gone(instance.instance_id)


def test_draining_does_not_wait_for_idle_standby_vms_and_says_that_they_are_there(
    served: Served, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pause keeps them: a drain that waited for them would wait for hours."""
    nothing_else_lives(served)
    vm = stands_by(served)
    assert (drain.left(stack, None).vms, drain.left(stack, None).standby) == ((), 1)
    assert drain.drain(stack, queue=None, at_most_seconds=600, output=Output(as_json=False), sleep=lambda _: None)
    shown = " ".join(capsys.readouterr().out.split())
    assert "No VM of demo has a job. 1 standby VMs are idle, and a removal ends them." in shown
    served.bound(served.recorded(1, queue="default"), vm)
    found = drain.left(stack, None)
    assert (found.vms, found.standby) == ((vm.instance_id,), 0), "it has a job, although it is listed still"


def test_a_closed_standby_vm_is_waited_for(served: Served, stack: Stack) -> None:
    nothing_else_lives(served)
    stands_by(served, closing=Closing.LAUNCHES_OFF)
    assert len(drain.left(stack, None).vms) == 1


def test_with_a_run_that_cannot_be_read_no_standby_vm_counts_as_idle(served: Served, stack: Stack) -> None:
    nothing_else_lives(served)
    vm = stands_by(served)
    key = {"pk": {"S": "run#0"}, "sk": {"S": "job"}}
    served.world.dynamodb.put_item(TableName=served.world.deployed.ledger_table, Item={**key, "state": {"N": "1"}})
    assert drain.left(stack, None).vms == (vm.instance_id,)


def test_a_hold_that_cannot_be_read_keeps_only_its_own_vm(served: Served, stack: Stack) -> None:
    """The VM counts as any other one. Once it has gone, the record must not keep the drain from its end."""
    vm = served.launched()
    key = {"pk": {"S": "holds"}, "sk": {"S": "list"}}
    served.world.dynamodb.put_item(
        TableName=served.world.deployed.ledger_table,
        Item={**key, "version": {"N": "1"}, "vms": {"L": [{"S": vm.instance_id}]}},
    )
    assert vm.instance_id in drain.left(stack, None).vms
    assert drain.left(stack, None).unreadable == 0


def test_without_time_to_wait_nothing_found_is_not_drained(served: Served) -> None:
    result = served.run("drain", "--minutes", "0", "--json")
    assert (result.exit_code, json.loads(result.stdout)["drained"]) == (1, False)
