"""What `pause`, `resume` and `drain` write, and what they wait for."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack_cli import drain
from agent_stack_cli.output import Output
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import find
from tests.cli.served import Served

DEFAULT, ARM = QueueKey("default"), QueueKey("linux.arm")


def test_a_pause_says_who_since_when_and_why_and_the_dispatcher_reads_it(served: Served) -> None:
    before = datetime.now(UTC)
    said = served.ok("pause", "--reason", "image is broken")
    assert "Next: agent-stack resume --stack demo" in said
    pause = served.lease.pauses().of(ARM)
    assert pause is not None
    assert pause.reason == "image is broken"
    assert before <= pause.since <= datetime.now(UTC)
    assert pause.by
    assert "launches are paused since" in served.ok("status")
    served.ok("resume")
    assert served.lease.pauses().of(ARM) is None
    assert served.lease.pauses().resumed_at(DEFAULT) is not None


def test_one_queue_is_paused_and_resumed_by_itself(served: Served) -> None:
    served.ok("pause", "--queue", "linux.arm")
    assert (served.lease.pauses().of(DEFAULT), bool(served.lease.pauses().of(ARM))) == (None, True)
    said = served.ok("resume")
    assert "was not paused" in said
    assert "Still paused: queue linux.arm" in said
    served.ok("resume", "--queue", "linux.arm")
    assert served.lease.pauses().of(ARM) is None


def test_a_second_pause_keeps_the_first_ones_words(served: Served) -> None:
    served.ok("pause", "--reason", "first")
    assert "already" in served.ok("pause", "--reason", "second")
    assert served.lease.pauses().paused["*"].reason == "first"
    assert served.data("pause")["changed"] is False


def test_a_queue_that_the_stack_does_not_serve_is_refused(served: Served) -> None:
    result = served.run("pause", "--queue", "linux-arm")
    assert result.exit_code == 1
    assert "it serves default, linux.arm" in result.stderr
    assert not served.lease.pauses().paused


def test_draining_pauses_and_waits_for_every_vm(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    vm, slept = served.launched(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            served.world.ec2.powered_off(vm.instance_id)
            served.gone(vm.instance_id)

    stack = find(Session(), "demo")
    assert drain.drain(stack, queue=None, at_most_seconds=600, output=Output(as_json=False), sleep=sleep)
    assert slept == [drain.LOOK_SECONDS] * 2
    assert served.lease.pauses().of(DEFAULT) is not None


def test_draining_a_queue_waits_for_its_own_vms_only(served: Served) -> None:
    served.bound(served.recorded(1, queue="default"), served.launched())
    assert "No VM has a job of queue linux.arm" in served.ok("drain", "--queue", "linux.arm")
    result = served.run("drain", "--queue", "default", "--minutes", "0")
    assert result.exit_code == 1
    assert "Still 1 after 0 s." in result.stdout


def test_draining_does_not_wait_for_a_held_vm(served: Served) -> None:
    for earlier in served.world.ec2.instances():
        served.gone(earlier.instance_id)
    vm, until = served.launched(), datetime.now(UTC) + timedelta(minutes=30)
    assert served.run("drain", "--minutes", "0").exit_code == 1
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=until)
    assert served.ledger.record_holds(Holds(version=1, vms=(hold,)))
    assert "No VM of demo lives" in served.ok("drain", "--minutes", "0")
