"""Which VMs may be held, and how many."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.decisions import Action, Decision, decide
from agent_stack.domain.holds import MAX_HELD, Hold, Holds, hold_end, may_be_held
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, JobState, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm

NOW = EPOCH + timedelta(seconds=40)
WAITS = MailboxStatus(
    credential_holder=CredentialHolder.TRACKER, stage=BootStage.FAILED, detail="disk is on fire", waits=True
)
ON = a_policy(hold_on_failure=timedelta(minutes=30))
RUNS = a_vm(state=VmState.RUNNING)


def a_failed_boot(vm: Vm = RUNS, holder: CredentialHolder = CredentialHolder.TRACKER, **changes: Any) -> Situation:  # noqa: ANN401  (the situation's own fields)
    """The tracker took the credential back, and has not given the job to another VM so far."""
    run = a_run().reserved(now=EPOCH, until=EPOCH + timedelta(hours=1)).bound(vm, now=EPOCH)
    values = {
        "run": run.with_facts(credential_holder=holder),
        "vm": vm,
        "described": True,
        "job_state": JobState.RESERVED,
        "mailbox_status": WAITS,
        "boot_timeout": timedelta(minutes=5),
        "policy": ON,
        "now": NOW,
        **changes,
    }
    return Situation(**values)


def held(s: Situation) -> bool:
    return may_be_held(s, decide(s))


def test_a_vm_whose_boot_failed_may_be_held_whether_its_job_goes_on_or_ends() -> None:
    again, last = a_failed_boot(), a_failed_boot(policy=replace(ON, max_launch_attempts=1))
    assert (decide(again).action, decide(last).action) == (Action.REQUEUE, Action.FINISH)
    assert held(again)
    assert held(last)


@pytest.mark.parametrize(
    "s",
    [
        a_failed_boot(policy=a_policy()),
        a_failed_boot(holder=CredentialHolder.VM, mailbox_status=replace(WAITS, credential_holder=CredentialHolder.VM)),
        a_failed_boot(mailbox_status=replace(WAITS, waits=False)),
        a_failed_boot(mailbox_status=replace(WAITS, stage=BootStage.AGENT_EXITED)),
        a_failed_boot(mailbox_status=None),
        a_failed_boot(a_vm(state=VmState.RUNNING, capacity_type=CapacityType.SPOT)),
        a_failed_boot(a_vm(state=VmState.SHUTTING_DOWN)),
        a_failed_boot(a_vm(state=VmState.STOPPED)),
        a_failed_boot(vm=RUNS, job_state=JobState.CANCELED),
        a_failed_boot(job_state=JobState.RUNNING),
        a_failed_boot(a_vm(state=VmState.RUNNING, launched_at=NOW - ON.max_lifetime + timedelta(seconds=59))),
    ],
    ids=[
        "off",
        "it took the credential",
        "it does not wait",
        "an agent ran",
        "it said nothing",
        "spot",
        "it ends",
        "it stopped",
        "the job is cancelled",
        "the job is an agent's",
        "its lifetime is over",
    ],
)
def test_no_other_vm_is(s: Situation) -> None:
    assert not held(s)


def test_a_run_whose_agent_had_the_job_never_leaves_a_held_vm() -> None:
    """Whatever its job wrote into the mailbox, and whatever is decided of it."""
    s = a_failed_boot()
    run = s.run.running(now=EPOCH, observed_moments={}).with_facts(credential_holder=CredentialHolder.TRACKER)
    failure = Failure(kind=FailureKind.BOOT_PROGRAM, words="forged")
    assert not may_be_held(replace(s, run=run), Decision(action=Action.END, failure=failure))


def test_a_vm_that_is_not_to_end_is_not_held() -> None:
    failure = Failure(kind=FailureKind.BOOT_PROGRAM, words="why")
    assert not may_be_held(a_failed_boot(), Decision(action=Action.KEEP, failure=failure))


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.BOOT_PROGRAM])
def test_only_a_failed_boot_is_worth_a_look(kind: FailureKind) -> None:
    assert not may_be_held(a_failed_boot(), Decision(action=Action.REQUEUE, failure=Failure(kind=kind, words="why")))


def test_a_hold_ends_with_its_time_or_the_vms_lifetime() -> None:
    assert hold_end(a_failed_boot()) == NOW + timedelta(minutes=30)
    old = a_vm(state=VmState.RUNNING, launched_at=NOW - ON.max_lifetime + timedelta(minutes=5))
    assert hold_end(a_failed_boot(old)) == NOW + timedelta(minutes=5)


def a_hold(number: int, name: str) -> Hold:
    vm = a_vm(number)
    return Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName(name), until=NOW)


def test_there_is_one_place_for_each_class_and_three_in_all() -> None:
    holds = Holds()
    for number in range(MAX_HELD):
        assert holds.has_place(ClassName(f"class-{number}"))
        holds = holds.adding(a_hold(number, f"class-{number}"))
        assert not holds.has_place(ClassName(f"class-{number}"))
    assert not holds.has_place(ClassName("another"))
    assert holds.without({a_vm(0).instance_id}).has_place(ClassName("class-0"))
    assert MAX_HELD == 3


def test_the_command_opens_a_shell_on_that_vm() -> None:
    assert a_hold(1, "default").connect == f"aws ssm start-session --target {a_vm(1).instance_id}"
