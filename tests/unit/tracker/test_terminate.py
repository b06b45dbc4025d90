"""Terminate: which VMs EC2 is asked to end, how many at once, and which runs wait until theirs is ending."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, GiveUpError
from agent_stack.domain.holds import Hold
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import ABSENCE_GRACE
from agent_stack.domain.states import Outcome, VmState
from agent_stack.domain.vms import Vm
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.terminate import ENDING, Terminate
from tests.simulator.clock import EPOCH
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.tracker.parts import NOW, a_cycle, a_verdict
from tests.unit.values import a_policy, a_run, a_vm

ENDS = (Action.TERMINATE, Action.REQUEUE, Action.FINISH, Action.END)


class Ended:
    """EC2 as far as ends go: it refuses some."""

    def __init__(self, *refused: InstanceId) -> None:
        self.refused, self.asked = refused, list[Sequence[InstanceId]]()

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        self.asked.append(list(instance_ids))
        return {one: GiveUpError("may not") for one in instance_ids if one in self.refused}

    def step(self, cycle: TrackerCycle, **policy: object) -> TrackerCycle:
        fleet: Any = self
        return Terminate(fleet=fleet, policy=a_policy(**policy), telemetry=RecordedTelemetry())(cycle)


def bound(number: int = 1) -> Run:
    return a_run(number).bound(a_vm(number), now=EPOCH)


def ends(number: int = 1, action: Action = Action.END, vm: Vm | None = None) -> Verdict:
    return a_verdict(bound(number), action, outcome=Outcome.FINISHED, vm=vm or a_vm(number, state=VmState.RUNNING))


@pytest.mark.parametrize("action", Action)
def test_a_vm_is_ended_by_the_decisions_that_end_it_and_by_no_other(action: Action) -> None:
    ec2, verdict = Ended(), ends(action=action)
    done = ec2.step(a_cycle(verdict))
    assert ec2.asked == ([[a_vm(1).instance_id]] if action in ENDS else [])
    assert done.going == ({a_vm(1).instance_id} if action in ENDS else frozenset())
    assert done.verdicts == {verdict.run.job_id: verdict}


def test_all_are_asked_for_in_one_request_up_to_the_operators_maximum_and_the_other_runs_wait() -> None:
    ec2 = Ended()
    done = ec2.step(a_cycle(*map(ends, range(1, 6))), max_terminations_per_cycle=3)
    (asked,) = ec2.asked
    assert len(asked) == done.terminations == len(done.verdicts) == 3
    assert done.going == set(asked)


def test_the_run_of_a_vm_that_ec2_refuses_to_end_waits_and_the_others_go_on() -> None:
    ec2 = Ended(a_vm(1).instance_id)
    done = ec2.step(a_cycle(ends(1), ends(2)))
    assert list(done.verdicts) == [a_run(2).job_id]
    assert done.going == {a_vm(2).instance_id}


@pytest.mark.parametrize("state", sorted(ENDING))
def test_a_vm_that_is_ending_is_not_asked_for_again_and_its_run_goes_on(state: VmState) -> None:
    ec2, verdict = Ended(), ends(vm=a_vm(1, state=state))
    done = ec2.step(a_cycle(verdict))
    assert ec2.asked == []
    assert done.going == {a_vm(1).instance_id}
    assert len(done.verdicts) == 1


def test_a_stopped_vm_is_ended_because_it_costs_and_can_be_started_again() -> None:
    ec2 = Ended()
    ec2.step(a_cycle(ends(vm=a_vm(1, state=VmState.STOPPED))))
    assert ec2.asked == [[a_vm(1).instance_id]]


@pytest.mark.parametrize("long_ago", [False, True])
def test_a_vm_that_ec2_does_not_show_is_ended_while_it_may_still_be_fresh(*, long_ago: bool) -> None:
    ec2, now = Ended(), EPOCH + ABSENCE_GRACE + timedelta(seconds=1) if long_ago else NOW
    verdict = a_verdict(bound(), Action.END, outcome=Outcome.RELEASED, now=now)
    done = ec2.step(a_cycle(verdict))
    assert ec2.asked == ([] if long_ago else [[a_vm(1).instance_id]])
    assert done.going == {a_vm(1).instance_id}


def test_a_held_vm_stays_up_and_its_run_goes_on() -> None:
    ec2, vm = Ended(), a_vm(1)
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=NOW)
    done = ec2.step(replace(a_cycle(ends()), held={vm.instance_id: hold}))
    assert ec2.asked == []
    assert done.going == {vm.instance_id}
    assert len(done.verdicts) == 1
