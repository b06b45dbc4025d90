"""What becomes of jobs and VMs when what the tracker learns is late, wrong, or not to be had.

Long, for it is the list of what may happen: news, the tracker itself, EC2, the records, Buildkite, the VMs.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.ec2.requests import INTENT_TAG
from agent_stack.domain.measures import Metric
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BootStage, Outcome, RunState
from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.cloud import StateChange
from tests.simulator.lambda_host import ANYWHERE, PUNCTUAL
from tests.simulator.universe.machine import Temper
from tests.simulator.universe.process import Fate
from tests.simulator.universe.universe import QUICK, Nature, Universe, plain_ec2

SETTLES = 900.0
"""Seconds: two boots, the four minutes in which Buildkite misses an agent, and EC2's ten of absence."""


def world(
    settings: dict[str, str] | None = None,
    temper: Temper | None = None,
    jitter_seconds: tuple[float, float] = ANYWHERE,
    **ec2: Any,  # noqa: ANN401  (EC2's settings)
) -> Universe:
    universe = Universe(
        seed=1,
        nature=Nature(ec2=plain_ec2(**ec2), temper=temper or Temper(), jitter_seconds=jitter_seconds),
        settings={**QUICK, "MAX_LIFETIME_SECONDS": "3600", **(settings or {})},
    )
    universe.run(52)  # the tracker's next look is near: it went home, for nothing lives
    return universe


def push(universe: Universe, count: int = 1, *, seconds: int = 5) -> tuple[str, ...]:
    return universe.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)})] * count).job_ids


def until(universe: Universe, holds: Callable[[], bool], *, at_most: float = 120) -> None:
    for _ in range(round(at_most / 0.1)):
        if holds():
            return
        universe.run(0.1)
    raise AssertionError("it never came to that")


def run_of(universe: Universe, job_id: str) -> Run | None:
    return universe.store.runs.get(job_id)  # type: ignore[call-overload, no-any-return]  # a JobId is text


def booting(universe: Universe, job_id: str) -> bool:
    run = run_of(universe, job_id)
    return run is not None and run.state is RunState.BOOTING


def running(universe: Universe, job_id: str) -> bool:
    run = run_of(universe, job_id)
    return run is not None and run.state is RunState.RUNNING


def vm_of(universe: Universe, job_id: str) -> str:
    run = run_of(universe, job_id)
    assert run is not None
    assert run.binding is not None
    return run.binding.instance_id


def launched(universe: Universe) -> int:
    return sum(INTENT_TAG in instance.tags for instance in universe.ec2.instances())


def ended_by_us(universe: Universe) -> list[str]:
    """The VMs that the tracker asked EC2 to terminate."""
    calls = (call for call in universe.ec2.calls() if call.action == "TerminateInstances")
    return [instance_id for call in calls for instance_id in call.request["InstanceIds"]]


def ends(universe: Universe) -> Counter[str]:
    return Counter(
        f"{job.state} {job.exit_status}" if job.stack_finish is None else "finished by the stack"
        for job in universe.buildkite.jobs()
    )


def outcomes(universe: Universe) -> Counter[Outcome | None]:
    return Counter(run.outcome for run in universe.store.history)


def all_is_over(universe: Universe) -> None:
    universe.settle(SETTLES)
    assert universe.buildkite.violations() == ()


# --- news ---


def news(universe: Universe, delays: Callable[[StateChange], Sequence[float]]) -> None:
    """Let EC2's events reach the tracker after these seconds, none of them if there are none."""

    def tell(change: StateChange) -> None:
        for seconds in delays(change):
            universe.wake("tracker", seconds)

    universe.ec2.on_event(tell)


@pytest.mark.parametrize(
    "delays",
    [
        lambda _: [],
        lambda _: [0.5, 0.5, 3.0],
        lambda change: [20.0 if change.instance.state == "pending" else 0.2],
        lambda change: [0.0] if change.instance.state == "pending" else [],
    ],
    ids=["lost", "doubled", "out of order", "before the record"],
)
def test_news_change_when_something_is_learnt_and_nothing_else(delays: Callable[[StateChange], list[float]]) -> None:
    universe = world()
    news(universe, delays)
    push(universe, 3)
    universe.run(90)
    assert ends(universe) == {"finished 0": 3}
    assert launched(universe) == 3
    all_is_over(universe)


# --- the tracker itself ---


def test_an_hour_without_a_tracker_costs_an_hours_tidiness_and_no_job() -> None:
    universe = world(settings={"MAX_LIFETIME_SECONDS": "7200"})
    universe.judge = lambda point: Fate.DIES_BEFORE if point.startswith("tracker") else Fate.GOES_ON
    push(universe, 4, seconds=600)
    universe.run(3_600)
    assert ends(universe) == {"finished 0": 4}  # what is running needs nobody
    assert launched(universe) == 4
    universe.judge = lambda _: Fate.GOES_ON
    universe.run(90)
    assert not universe.store.runs
    assert set(outcomes(universe)) <= {Outcome.FINISHED, Outcome.RELEASED}  # nobody saw the agents at work
    all_is_over(universe)


def test_two_trackers_at_once_do_nothing_twice() -> None:
    universe = world()
    pipeline = push(universe, 3, seconds=20)

    def again() -> None:
        universe.store.leases.pop("tracker", None)  # as if it had run out under a slow holder
        universe.wake("tracker", 0.3)
        if universe.faulty:
            universe.kernel.after(timedelta(seconds=3), "", again)

    again()
    until(universe, lambda: booting(universe, pipeline[0]))
    universe.buildkite.cancel_job(pipeline[0])
    universe.run(100)
    assert ends(universe) == {"canceled None": 1, "finished 0": 2}
    assert launched(universe) == 3
    assert max(universe.laws.told.values()) == 1
    all_is_over(universe)


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.parametrize("function", ["tracker", "dispatcher"])
def test_a_clock_that_is_minutes_off_ends_no_running_job(function: str, minutes: int) -> None:
    universe = world(settings={"UNASSIGNED_TIMEOUT_SECONDS": "900", "SWEEP_GRACE_SECONDS": "900"})
    job_ids = push(universe, 2, seconds=200)
    until(universe, lambda: all(running(universe, job_id) for job_id in job_ids))
    universe.skew[function] = timedelta(minutes=minutes)
    universe.run(300)
    assert ends(universe) == {"finished 0": 2}
    assert launched(universe) == 2
    universe.skew.clear()
    all_is_over(universe)


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.parametrize("function", ["tracker", "dispatcher"])
def test_a_clock_that_is_minutes_off_breaks_no_promise(function: str, minutes: int) -> None:
    """With five minutes too many every boot seems too slow; what is given up then was never started twice."""
    universe = world()
    universe.skew[function] = timedelta(minutes=minutes)
    push(universe, 2, seconds=60)
    universe.run(400)
    universe.skew.clear()
    all_is_over(universe)


# --- EC2 ---


def test_a_zone_that_is_not_shown_is_not_a_zone_that_died() -> None:
    universe = world()
    (job_id,) = push(universe, seconds=120)
    until(universe, lambda: running(universe, job_id))
    for zone in ("eu-central-1a", "eu-central-1b"):
        universe.ec2.hide_zone(zone, hidden=True)
    universe.run(100)
    assert running(universe, job_id)
    assert ended_by_us(universe) == []
    absences = [value for metric, _, value in universe.telemetry.measured if metric is Metric.VMS_ABSENT]
    assert sum(absences) > 60
    assert "vm_absent" in universe.telemetry.messages("WARNING")
    for zone in ("eu-central-1a", "eu-central-1b"):
        universe.ec2.hide_zone(zone, hidden=False)
    universe.run(60)
    assert ends(universe) == {"finished 0": 1}
    all_is_over(universe)


def test_while_ec2_does_not_answer_nothing_is_concluded() -> None:
    universe = world()
    (job_id,) = push(universe, seconds=60)
    until(universe, lambda: running(universe, job_id))
    universe.ec2.faults.fail("DescribeInstances", "RequestLimitExceeded", status=503, times=10_000)
    universe.run(45)
    assert running(universe, job_id)
    assert ended_by_us(universe) == []
    universe.run(45)
    assert ends(universe) == {"finished 0": 1}
    all_is_over(universe)


def test_vms_that_ec2_shows_late_are_neither_lost_nor_launched_twice() -> None:
    universe = world(describe_lag=timedelta(seconds=45))
    push(universe, 4, seconds=30)
    universe.run(150)
    assert ends(universe) == {"finished 0": 4}
    assert launched(universe) == 4
    all_is_over(universe)


def test_a_vm_terminated_by_hand_while_it_boots_is_replaced() -> None:
    universe = world(pending=(timedelta(seconds=20), timedelta(seconds=20)))
    (job_id,) = push(universe)
    until(universe, lambda: booting(universe, job_id))
    universe.ec2.terminate_by_hand(vm_of(universe, job_id))
    universe.run(90)
    assert ends(universe) == {"finished 0": 1}
    assert launched(universe) == 2
    all_is_over(universe)


@pytest.mark.parametrize("way", ["terminate_by_hand", "stop", "lose_host"])
def test_a_vm_that_goes_under_its_agent_is_lost_and_left_to_buildkite(way: str) -> None:
    universe = world()
    (job_id,) = push(universe, seconds=300)
    until(universe, lambda: running(universe, job_id))
    getattr(universe.ec2, way)(vm_of(universe, job_id))
    universe.run(30)
    assert outcomes(universe) == {Outcome.LOST: 1}
    assert universe.buildkite.job(job_id).stack_finish is None
    all_is_over(universe)
    assert launched(universe) == 1
    assert {instance.state for instance in universe.ec2.instances()} == {"terminated"}  # a stopped one is not kept


def test_spot_capacity_taken_back_in_boot_is_replaced_within_the_attempts() -> None:
    universe = world(pending=(timedelta(seconds=20), timedelta(seconds=20)), spot_notice=timedelta(seconds=3))
    job_ids = universe.buildkite.create_build(steps=[Step(agents=["class=spot"], env={"SIM_SECONDS": "3"})]).job_ids
    until(universe, lambda: booting(universe, job_ids[0]))
    universe.ec2.interrupt_spot(vm_of(universe, job_ids[0]))
    universe.run(90)
    assert ends(universe) == {"finished 0": 1}
    assert launched(universe) == 2
    all_is_over(universe)


def test_a_dead_machine_is_told_of_and_left_to_buildkite() -> None:
    universe = world()
    (job_id,) = push(universe, seconds=1_200)
    until(universe, lambda: running(universe, job_id))
    universe.ec2.impaired[vm_of(universe, job_id)] = "system-status.status"
    universe.run(400)
    assert not universe.telemetry.peaks.get(Metric.VMS_IMPAIRED)  # young ones fail checks on their way up
    universe.run(600)
    assert 3 <= universe.telemetry.messages().count("vm_impaired") <= 15
    asked = sum(call.action == "DescribeInstanceStatus" for call in universe.ec2.calls())
    assert asked <= 30  # two requests a minute for each of two processes
    assert (running(universe, job_id), ended_by_us(universe)) == (True, [])
    universe.run(300)
    assert ends(universe) == {"finished 0": 1}
    all_is_over(universe)


# --- records ---


def test_throttled_records_cost_time_only() -> None:
    universe = world()
    (quick, long) = (*push(universe, seconds=5), *push(universe, seconds=100))
    until(universe, lambda: booting(universe, quick))
    universe.judge = lambda p: Fate.REFUSED if p.startswith(("tracker ledger", "tracker mailbox")) else Fate.GOES_ON
    universe.run(60)
    assert ended_by_us(universe) == []
    universe.judge = lambda _: Fate.GOES_ON
    universe.run(90)
    assert ends(universe) == {"finished 0": 2}
    assert universe.buildkite.job(long).exit_status == 0
    all_is_over(universe)


def rolled_back(values: dict[str, Any]) -> dict[str, Any]:
    """A run as a version would have written it that had only what a run cannot do without."""
    needed = {"state", "state_entered_at", "version", "attempt", "priority", "queue_key", "class_name", "baton"}
    binding = {"instance_id", "instance_arn", "market", "launched_at"}
    return {name: value for name, value in values.items() if name in needed | binding | {"reserved_until"}}


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """A run as a version of the future would write it."""
    return {**values, "invented_later": "whatever", "told": {*(values.get("told") or ()), "a notice of the future"}}


@pytest.mark.parametrize("rewrite", [rolled_back, upgraded], ids=["from N-1", "from N+1"])
def test_an_upgrade_or_rollback_disturbs_no_live_run(rewrite: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    universe = world(settings={"MAX_INSTANCES": "2"})
    first = push(universe, seconds=40)
    until(universe, lambda: running(universe, first[0]))
    rest = push(universe, 3, seconds=5)
    until(universe, lambda: any(booting(universe, job_id) for job_id in rest))
    states = {run.state for run in universe.store.runs.values()}
    assert {RunState.BOOTING, RunState.RUNNING} <= states
    for job_id, run in universe.store.runs.items():
        values = {"pk": items.shard("run", job_id), "sk": job_id, **rewrite(items.run_values(run))}
        universe.store.runs[job_id] = items.read_run(items.packed(values))
    universe.run(120)
    assert ends(universe) == {"finished 0": 4}
    assert launched(universe) == 4
    all_is_over(universe)


# --- Buildkite ---


def test_a_job_that_answers_leave_out_is_kept() -> None:
    universe = world()
    (booted, ran) = push(universe, 2, seconds=60)
    until(universe, lambda: running(universe, ran))
    for job_id in (booted, ran):
        universe.buildkite.withhold(job_id, withheld=True)
    universe.run(100)
    assert ended_by_us(universe) == []
    assert [job.stack_finish for job in universe.buildkite.jobs()] == [None, None]
    for job_id in (booted, ran):
        universe.buildkite.withhold(job_id, withheld=False)
    universe.run(30)
    assert ends(universe) == {"finished 0": 2}
    all_is_over(universe)


@pytest.mark.parametrize("moment", ["unbound", "booting", "credential taken", "running", "over"])
def test_a_job_cancelled_in_any_state_ends_and_takes_its_vm_along(moment: str) -> None:
    unbound = {"INSTANCE_BURST": "1", "MAX_INSTANCES": "1"} if moment == "unbound" else {}
    universe = world(settings=unbound, jitter_seconds=PUNCTUAL)
    if moment == "unbound":
        universe.ec2.faults.errors_in_answer("InsufficientInstanceCapacity", times=1_000)
    (job_id,) = push(universe, seconds=2 if moment == "over" else 200)
    reached: dict[str, Callable[[], bool]] = {
        "unbound": lambda: run_of(universe, job_id) is not None,
        "booting": lambda: booting(universe, job_id),
        "credential taken": lambda: any(vm.job_id == job_id for vm in universe.vms.values()),
        "running": lambda: running(universe, job_id),
        "over": lambda: universe.buildkite.job(job_id).state is JobState.FINISHED,
    }
    until(universe, reached[moment])
    universe.buildkite.cancel_job(job_id)
    universe.run(60)
    job = universe.buildkite.job(job_id)
    assert job.state is (JobState.FINISHED if moment == "over" else JobState.CANCELED)
    assert job.stack_finish is None
    assert not universe.store.runs
    assert launched(universe) <= 1
    if moment in {"unbound", "booting"}:
        assert ended_by_us(universe) == [instance.instance_id for instance in universe.ec2.instances()]
    all_is_over(universe)


def test_an_agent_that_finds_its_job_not_acquirable_is_followed_by_another() -> None:
    universe = world()
    universe.buildkite.faults.fail(Operation.AGENT_ACQUIRE_JOB, status=422)
    push(universe)
    universe.run(90)
    assert any("27 not acquirable" in line for line in universe.kernel.trace)
    assert ends(universe) == {"finished 0": 1}
    assert launched(universe) == 2
    all_is_over(universe)


def test_a_reservation_that_lapses_in_boot_is_regained() -> None:
    universe = world(temper=Temper(boot=(35.0, 38.0)), settings={"RESERVATION_SECONDS": "20"})
    (job_id,) = push(universe)
    until(universe, lambda: booting(universe, job_id))
    universe.judge = lambda point: Fate.DIES_BEFORE if point.startswith("tracker") else Fate.GOES_ON
    until(universe, lambda: universe.buildkite.job(job_id).state is JobState.SCHEDULED)
    universe.judge = lambda _: Fate.GOES_ON
    universe.wake("tracker", 0.1)
    universe.run(120)
    assert ends(universe) == {"finished 0": 1}
    assert launched(universe) == 1
    all_is_over(universe)


def test_a_reservation_that_somebody_else_got_ends_our_vm_and_not_their_job() -> None:
    universe = world(temper=Temper(hangs=1.0), settings={"RESERVATION_SECONDS": "30"}, jitter_seconds=PUNCTUAL)
    (job_id,) = push(universe)
    until(universe, lambda: booting(universe, job_id))
    universe.judge = lambda point: Fate.DIES_BEFORE if not point.endswith("launch") else Fate.GOES_ON
    until(universe, lambda: universe.buildkite.job(job_id).state is JobState.SCHEDULED)
    another_stack_reserves(universe, job_id)
    universe.judge = lambda _: Fate.GOES_ON
    universe.run(60)
    assert outcomes(universe) == {Outcome.RELEASED: 1}
    assert len(ended_by_us(universe)) == 1
    job = universe.buildkite.job(job_id)
    assert (job.state, job.stack_finish) == (JobState.RESERVED, None)


def another_stack_reserves(universe: Universe, job_id: str) -> None:
    ask = partial(universe.http.request, headers={"Authorization": f"Token {universe.buildkite.agent_token}"})
    stack = {"key": "another", "type": "custom", "queue_key": "default", "metadata": {}}
    ask("POST", "/stacks/register", json=stack).raise_for_status()
    body = {"job_uuids": [job_id], "reservation_expiry_seconds": 3600}
    ask("PUT", "/stacks/another/scheduled-jobs/batch-reserve", json=body).raise_for_status()


# --- VMs ---


def test_a_vm_whose_records_are_cut_off_keeps_its_ten_minute_job() -> None:
    universe = world()
    (job_id,) = push(universe, seconds=600)
    until(universe, lambda: booting(universe, job_id) and bool(universe.vms))
    until(universe, lambda: any(vm.job_id == job_id for vm in universe.vms.values()))
    for vm in universe.vms.values():
        vm.mute = True
    universe.run(500)
    assert running(universe, job_id)
    assert (launched(universe), ended_by_us(universe)) == (1, [])
    universe.run(200)
    assert ends(universe) == {"finished 0": 1}
    all_is_over(universe)
    assert launched(universe) == 1


@pytest.mark.parametrize("stage", [BootStage.FAILED, BootStage.AGENT_EXITED, BootStage.CREDENTIAL_LOST])
def test_a_job_that_lies_in_its_vms_mailbox_gains_nothing(stage: BootStage) -> None:
    universe = world()
    (job_id,) = push(universe, seconds=60)
    until(universe, lambda: universe.buildkite.job(job_id).state is JobState.RUNNING)
    (box,) = universe.store.boxes.values()
    universe.store.report(box.letter.instance_arn, stage, "please give me another VM")
    universe.run(90)
    assert ends(universe) == {"finished 0": 1}
    assert (launched(universe), box.reissues) == (1, 0)
    all_is_over(universe)


def test_a_vm_that_hangs_is_replaced_and_its_job_ends_with_the_reason_when_all_do() -> None:
    universe = world(temper=Temper(hangs=1.0))
    (job_id,) = push(universe)
    universe.run(400)
    assert launched(universe) == 3
    finish = universe.buildkite.job(job_id).stack_finish
    assert finish is not None
    assert "3 attempts" in finish.detail
    all_is_over(universe)


def test_a_burst_of_terminations_keeps_to_the_brake() -> None:
    universe = world(settings={"MAX_TERMINATIONS_PER_TICK": "2"}, temper=Temper(hangs=1.0))
    job_ids = push(universe, 6)
    until(universe, lambda: all(booting(universe, job_id) for job_id in job_ids))
    for job_id in job_ids:
        universe.buildkite.cancel_job(job_id)
    universe.run(60)
    calls = [call.request["InstanceIds"] for call in universe.ec2.calls() if call.action == "TerminateInstances"]
    assert max(map(len, calls)) <= 2
    assert sum(map(len, calls)) == 6
    assert "terminations_held_back" in universe.telemetry.messages("WARNING")
    all_is_over(universe)


def test_the_same_world_without_news_and_with_them_ends_alike() -> None:
    quiet, told = world(), world()
    news(told, lambda _: [0.3])
    for universe in (quiet, told):
        push(universe, 3, seconds=20)
        universe.run(120)
    assert ends(quiet) == ends(told)
    assert outcomes(quiet) == outcomes(told)
