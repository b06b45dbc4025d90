"""Which run gets which VM: a ready one, one that comes, or one that is to be asked for."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.runs import Run
from agent_stack.domain.standby_pairs import Supply, paired
from tests.simulator.clock import EPOCH
from tests.unit.values import a_run, a_vm

HOLD = timedelta(hours=4)
READY = [a_vm(n, hold=HOLD) for n in (1, 2)]
BOOTING = [a_vm(n, hold=HOLD) for n in (11, 12)]
IDLE = [a_vm(n) for n in (21, 22)]


def lost_one(number: int) -> Run:
    bound = a_run(number).bound(a_vm(99, hold=HOLD), now=EPOCH)
    return bound.requeued(Failure(kind=FailureKind.TIMEOUT, words="silent"), now=EPOCH)


NUMBERS = {f"i-{number:017x}": number for number in range(100)}


def result(runs: list[Run], supply: Supply) -> tuple[list[int], int]:
    """The numbers of the VMs in the order of the runs, and how many are missing."""
    made = paired(runs, supply)
    vms = {run.job_id: NUMBERS[vm.instance_id] for run, vm in made.pairs}
    return [vms.get(run.job_id, 0) for run in runs], len(made.missing)


def test_runs_take_ready_vms_first_then_those_that_were_launched_for_jobs() -> None:
    runs = [a_run(n) for n in range(1, 5)]
    assert result(runs, Supply(ready=READY, idle=IDLE)) == ([1, 2, 0x15, 0x16], 0)


def test_a_booting_standby_vm_goes_to_a_run_that_no_vm_comes_for() -> None:
    runs = [a_run(n) for n in range(1, 5)]
    assert result(runs, Supply(coming=4, booting=BOOTING)) == ([0, 0, 0, 0], 0)
    assert result(runs, Supply(coming=3, booting=BOOTING)) == ([0, 0, 0, 11], 0)
    assert result(runs, Supply(coming=1, booting=BOOTING)) == ([0, 11, 12, 0], 1)


def test_a_run_that_lost_a_standby_vm_gets_none_again_and_what_comes_is_for_it() -> None:
    lost = lost_one(1)
    assert not lost.may_stand_by
    assert result([lost, a_run(2)], Supply(ready=READY[:1])) == ([0, 1], 1)
    assert result([a_run(2), lost], Supply(coming=1, booting=BOOTING)) == ([11, 0], 0)
    assert result([lost], Supply(idle=IDLE)) == ([0x15], 0)


@given(st.integers(0, 8), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_no_vm_has_two_runs_and_no_run_is_forgotten(
    count: int, lost: int, ready: int, coming: int, booting: int, idle: int
) -> None:
    runs = [lost_one(n) if n < lost else a_run(n) for n in range(count)]
    supply = Supply(
        ready=[a_vm(100 + n, hold=HOLD) for n in range(ready)],
        idle=[a_vm(200 + n) for n in range(idle)],
        coming=coming,
        booting=[a_vm(300 + n, hold=HOLD) for n in range(booting)],
    )
    made = paired(runs, supply)
    vms = [vm.instance_id for _, vm in made.pairs]
    assert len(set(vms)) == len(vms)
    assert len(made.pairs) + len(made.missing) <= count
    assert count - len(made.pairs) - len(made.missing) <= coming
    assert all(run.may_stand_by or vm.hold is None for run, vm in made.pairs)
    without_standby = paired(runs, replace(supply, ready=(), booting=()))
    assert len(made.missing) <= len(without_standby.missing)
