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
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.simulation import Simulation

SETTLES = 900.0
"""Seconds: two boots, the four minutes in which Buildkite misses an agent, and EC2's ten of absence."""


def world(
    settings: dict[str, str] | None = None,
    temper: Temper | None = None,
    jitter_seconds: tuple[float, float] = ANYWHERE,
    **ec2: Any,  # noqa: ANN401  (EC2's settings)
) -> Simulation:
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(**ec2), temper=temper or Temper(), jitter_seconds=jitter_seconds),
        settings={**QUICK, "MAX_LIFETIME_SECONDS": "3600", **(settings or {})},
    )
    simulation.run(52)  # the tracker's next look is near: it went home, for nothing lives
    return simulation


def push(simulation: Simulation, count: int = 1, *, seconds: int = 5) -> tuple[str, ...]:
    return simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)})] * count).job_ids


def until(simulation: Simulation, holds: Callable[[], bool], *, at_most: float = 120) -> None:
    for _ in range(round(at_most / 0.1)):
        if holds():
            return
        simulation.run(0.1)
    raise AssertionError("it never came to that")


def run_of(simulation: Simulation, job_id: str) -> Run | None:
    return simulation.store.runs.get(job_id)  # type: ignore[call-overload, no-any-return]  # a JobId is text


def booting(simulation: Simulation, job_id: str) -> bool:
    run = run_of(simulation, job_id)
    return run is not None and run.state is RunState.BOOTING


def running(simulation: Simulation, job_id: str) -> bool:
    run = run_of(simulation, job_id)
    return run is not None and run.state is RunState.RUNNING


def vm_of(simulation: Simulation, job_id: str) -> str:
    run = run_of(simulation, job_id)
    assert run is not None
    assert run.binding is not None
    return run.binding.instance_id


def launched(simulation: Simulation) -> int:
    return sum(INTENT_TAG in instance.tags for instance in simulation.ec2.instances())


def ended_by_us(simulation: Simulation) -> list[str]:
    """The VMs that the tracker asked EC2 to terminate."""
    calls = (call for call in simulation.ec2.calls() if call.action == "TerminateInstances")
    return [instance_id for call in calls for instance_id in call.request["InstanceIds"]]


def ends(simulation: Simulation) -> Counter[str]:
    return Counter(
        f"{job.state} {job.exit_status}" if job.stack_finish is None else "finished by the stack"
        for job in simulation.buildkite.jobs()
    )


def outcomes(simulation: Simulation) -> Counter[Outcome | None]:
    return Counter(run.outcome for run in simulation.store.history)


def all_is_over(simulation: Simulation) -> None:
    simulation.settle(SETTLES)
    assert simulation.buildkite.violations() == ()


# --- news ---


def news(simulation: Simulation, delays: Callable[[StateChange], Sequence[float]]) -> None:
    """Let EC2's events reach the tracker after these seconds, none of them if there are none."""

    def tell(change: StateChange) -> None:
        for seconds in delays(change):
            simulation.wake("tracker", seconds)

    simulation.ec2.on_event(tell)


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
    simulation = world()
    news(simulation, delays)
    push(simulation, 3)
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 3}
    assert launched(simulation) == 3
    all_is_over(simulation)


# --- the tracker itself ---


def test_an_hour_without_a_tracker_costs_an_hours_tidiness_and_no_job() -> None:
    simulation = world(settings={"MAX_LIFETIME_SECONDS": "7200"})
    simulation.judge = lambda point: Fate.DIES_BEFORE if point.startswith("tracker") else Fate.GOES_ON
    push(simulation, 4, seconds=600)
    simulation.run(3_600)
    assert ends(simulation) == {"finished 0": 4}  # what is running needs nobody
    assert launched(simulation) == 4
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.run(90)
    assert not simulation.store.runs
    assert set(outcomes(simulation)) <= {Outcome.FINISHED, Outcome.RELEASED}  # nobody saw the agents at work
    all_is_over(simulation)


def test_two_trackers_at_once_do_nothing_twice() -> None:
    simulation = world()
    pipeline = push(simulation, 3, seconds=20)

    def again() -> None:
        simulation.store.leases.pop("tracker", None)  # as if it had run out under a slow holder
        simulation.wake("tracker", 0.3)
        if simulation.faulty:
            simulation.kernel.after(timedelta(seconds=3), "", again)

    again()
    until(simulation, lambda: booting(simulation, pipeline[0]))
    simulation.buildkite.cancel_job(pipeline[0])
    simulation.run(100)
    assert ends(simulation) == {"canceled None": 1, "finished 0": 2}
    assert launched(simulation) == 3
    assert max(simulation.laws.notices_sent.values()) == 1
    all_is_over(simulation)


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.parametrize("function", ["tracker", "dispatcher"])
def test_a_clock_that_is_minutes_off_ends_no_running_job(function: str, minutes: int) -> None:
    simulation = world(settings={"UNASSIGNED_TIMEOUT_SECONDS": "900", "SWEEP_GRACE_SECONDS": "900"})
    job_ids = push(simulation, 2, seconds=200)
    until(simulation, lambda: all(running(simulation, job_id) for job_id in job_ids))
    simulation.skew[function] = timedelta(minutes=minutes)
    simulation.run(300)
    assert ends(simulation) == {"finished 0": 2}
    assert launched(simulation) == 2
    simulation.skew.clear()
    all_is_over(simulation)


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.parametrize("function", ["tracker", "dispatcher"])
def test_a_clock_that_is_minutes_off_breaks_no_promise(function: str, minutes: int) -> None:
    """With five minutes too many every boot seems too slow; what is given up then was never started twice."""
    simulation = world()
    simulation.skew[function] = timedelta(minutes=minutes)
    push(simulation, 2, seconds=60)
    simulation.run(400)
    simulation.skew.clear()
    all_is_over(simulation)


# --- EC2 ---


def test_a_zone_that_is_not_shown_is_not_a_zone_that_died() -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=120)
    until(simulation, lambda: running(simulation, job_id))
    for zone in ("eu-central-1a", "eu-central-1b"):
        simulation.ec2.hide_zone(zone, hidden=True)
    simulation.run(100)
    assert running(simulation, job_id)
    assert ended_by_us(simulation) == []
    absences = [value for metric, _, value in simulation.telemetry.measured if metric is Metric.VMS_ABSENT]
    assert sum(absences) > 60
    assert "vm_absent" in simulation.telemetry.messages("INFO")
    for zone in ("eu-central-1a", "eu-central-1b"):
        simulation.ec2.hide_zone(zone, hidden=False)
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 1}
    all_is_over(simulation)


def test_while_ec2_does_not_answer_nothing_is_concluded() -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=60)
    until(simulation, lambda: running(simulation, job_id))
    simulation.ec2.faults.fail("DescribeInstances", "RequestLimitExceeded", status=503, times=10_000)
    simulation.run(45)
    assert running(simulation, job_id)
    assert ended_by_us(simulation) == []
    simulation.run(45)
    assert ends(simulation) == {"finished 0": 1}
    all_is_over(simulation)


def test_vms_that_ec2_shows_late_are_neither_lost_nor_launched_twice() -> None:
    simulation = world(describe_lag=timedelta(seconds=45))
    push(simulation, 4, seconds=30)
    simulation.run(150)
    assert ends(simulation) == {"finished 0": 4}
    assert launched(simulation) == 4
    all_is_over(simulation)


def test_a_vm_terminated_by_hand_while_it_boots_is_replaced() -> None:
    simulation = world(pending=(timedelta(seconds=20), timedelta(seconds=20)))
    (job_id,) = push(simulation)
    until(simulation, lambda: booting(simulation, job_id))
    simulation.ec2.terminate_by_hand(vm_of(simulation, job_id))
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 1}
    assert launched(simulation) == 2
    all_is_over(simulation)


@pytest.mark.parametrize("way", ["terminate_by_hand", "stop", "lose_host"])
def test_a_vm_that_goes_under_its_agent_is_lost_and_left_to_buildkite(way: str) -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=300)
    until(simulation, lambda: running(simulation, job_id))
    getattr(simulation.ec2, way)(vm_of(simulation, job_id))
    simulation.run(30)
    assert outcomes(simulation) == {Outcome.LOST: 1}
    assert simulation.buildkite.job(job_id).stack_finish is None
    all_is_over(simulation)
    assert launched(simulation) == 1
    assert {instance.state for instance in simulation.ec2.instances()} == {"terminated"}  # a stopped one is not kept


def test_spot_capacity_taken_back_in_boot_is_replaced_within_the_attempts() -> None:
    simulation = world(pending=(timedelta(seconds=20), timedelta(seconds=20)), spot_notice=timedelta(seconds=3))
    job_ids = simulation.buildkite.create_build(steps=[Step(agents=["class=spot"], env={"SIM_SECONDS": "3"})]).job_ids
    until(simulation, lambda: booting(simulation, job_ids[0]))
    simulation.ec2.interrupt_spot(vm_of(simulation, job_ids[0]))
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 1}
    assert launched(simulation) == 2
    all_is_over(simulation)


def test_a_dead_machine_is_told_of_and_left_to_buildkite() -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=1_200)
    until(simulation, lambda: running(simulation, job_id))
    simulation.ec2.impaired[vm_of(simulation, job_id)] = "system-status.status"
    simulation.run(400)
    assert not simulation.telemetry.peaks.get(Metric.VMS_IMPAIRED)  # young ones fail checks on their way up
    simulation.run(600)
    assert 3 <= simulation.telemetry.messages().count("vm_impaired") <= 15
    asked = sum(call.action == "DescribeInstanceStatus" for call in simulation.ec2.calls())
    assert asked <= 30  # two requests a minute for each of two processes
    assert (running(simulation, job_id), ended_by_us(simulation)) == (True, [])
    simulation.run(300)
    assert ends(simulation) == {"finished 0": 1}
    all_is_over(simulation)


# --- records ---


def test_throttled_records_cost_time_only() -> None:
    simulation = world()
    (quick, long) = (*push(simulation, seconds=5), *push(simulation, seconds=100))
    until(simulation, lambda: booting(simulation, quick))
    simulation.judge = lambda p: Fate.REFUSED if p.startswith(("tracker ledger", "tracker mailbox")) else Fate.GOES_ON
    simulation.run(60)
    assert ended_by_us(simulation) == []
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 2}
    assert simulation.buildkite.job(long).exit_status == 0
    all_is_over(simulation)


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
    simulation = world(settings={"MAX_INSTANCES": "2"})
    first = push(simulation, seconds=40)
    until(simulation, lambda: running(simulation, first[0]))
    rest = push(simulation, 3, seconds=5)
    until(simulation, lambda: any(booting(simulation, job_id) for job_id in rest))
    states = {run.state for run in simulation.store.runs.values()}
    assert {RunState.BOOTING, RunState.RUNNING} <= states
    for job_id, run in simulation.store.runs.items():
        values = {"pk": items.shard("run", job_id), "sk": job_id, **rewrite(items.run_values(run))}
        simulation.store.runs[job_id] = items.read_run(items.packed(values))
    simulation.run(120)
    assert ends(simulation) == {"finished 0": 4}
    assert launched(simulation) == 4
    all_is_over(simulation)


# --- Buildkite ---


def test_a_job_that_answers_leave_out_is_kept() -> None:
    simulation = world()
    (booted, ran) = push(simulation, 2, seconds=60)
    until(simulation, lambda: running(simulation, ran))
    for job_id in (booted, ran):
        simulation.buildkite.withhold(job_id, withheld=True)
    simulation.run(100)
    assert ended_by_us(simulation) == []
    assert [job.stack_finish for job in simulation.buildkite.jobs()] == [None, None]
    for job_id in (booted, ran):
        simulation.buildkite.withhold(job_id, withheld=False)
    simulation.run(30)
    assert ends(simulation) == {"finished 0": 2}
    all_is_over(simulation)


@pytest.mark.parametrize("moment", ["unbound", "booting", "credential taken", "running", "over"])
def test_a_job_cancelled_in_any_state_ends_and_takes_its_vm_along(moment: str) -> None:
    unbound = {"INSTANCE_BURST": "1", "MAX_INSTANCES": "1"} if moment == "unbound" else {}
    simulation = world(settings=unbound, jitter_seconds=PUNCTUAL)
    if moment == "unbound":
        simulation.ec2.faults.errors_in_answer("InsufficientInstanceCapacity", times=1_000)
    (job_id,) = push(simulation, seconds=2 if moment == "over" else 200)
    reached: dict[str, Callable[[], bool]] = {
        "unbound": lambda: run_of(simulation, job_id) is not None,
        "booting": lambda: booting(simulation, job_id),
        "credential taken": lambda: any(vm.job_id == job_id for vm in simulation.vms.values()),
        "running": lambda: running(simulation, job_id),
        "over": lambda: simulation.buildkite.job(job_id).state is JobState.FINISHED,
    }
    until(simulation, reached[moment])
    simulation.buildkite.cancel_job(job_id)
    simulation.run(60)
    job = simulation.buildkite.job(job_id)
    assert job.state is (JobState.FINISHED if moment == "over" else JobState.CANCELED)
    assert job.stack_finish is None
    assert not simulation.store.runs
    assert launched(simulation) <= 1
    if moment in {"unbound", "booting"}:
        assert ended_by_us(simulation) == [instance.instance_id for instance in simulation.ec2.instances()]
    all_is_over(simulation)


def test_an_agent_that_finds_its_job_not_acquirable_is_followed_by_another() -> None:
    simulation = world()
    simulation.buildkite.faults.fail(Operation.AGENT_ACQUIRE_JOB, status=422)
    push(simulation)
    simulation.run(90)
    assert any("27 not acquirable" in line for line in simulation.kernel.trace)
    assert ends(simulation) == {"finished 0": 1}
    assert launched(simulation) == 2
    all_is_over(simulation)


def test_a_reservation_that_lapses_in_boot_is_regained() -> None:
    simulation = world(temper=Temper(boot=(35.0, 38.0)), settings={"RESERVATION_SECONDS": "20"})
    (job_id,) = push(simulation)
    until(simulation, lambda: booting(simulation, job_id))
    simulation.judge = lambda point: Fate.DIES_BEFORE if point.startswith("tracker") else Fate.GOES_ON
    until(simulation, lambda: simulation.buildkite.job(job_id).state is JobState.SCHEDULED)
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.wake("tracker", 0.1)
    simulation.run(120)
    assert ends(simulation) == {"finished 0": 1}
    assert launched(simulation) == 1
    all_is_over(simulation)


def test_a_reservation_that_somebody_else_got_ends_our_vm_and_not_their_job() -> None:
    simulation = world(temper=Temper(hangs=1.0), settings={"RESERVATION_SECONDS": "30"}, jitter_seconds=PUNCTUAL)
    (job_id,) = push(simulation)
    until(simulation, lambda: booting(simulation, job_id))
    simulation.judge = lambda point: Fate.DIES_BEFORE if not point.endswith("launch") else Fate.GOES_ON
    until(simulation, lambda: simulation.buildkite.job(job_id).state is JobState.SCHEDULED)
    another_stack_reserves(simulation, job_id)
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.run(60)
    assert outcomes(simulation) == {Outcome.RELEASED: 1}
    assert len(ended_by_us(simulation)) == 1
    job = simulation.buildkite.job(job_id)
    assert (job.state, job.stack_finish) == (JobState.RESERVED, None)


def another_stack_reserves(simulation: Simulation, job_id: str) -> None:
    ask = partial(simulation.http.request, headers={"Authorization": f"Token {simulation.buildkite.agent_token}"})
    stack = {"key": "another", "type": "custom", "queue_key": "default", "metadata": {}}
    ask("POST", "/stacks/register", json=stack).raise_for_status()
    body = {"job_uuids": [job_id], "reservation_expiry_seconds": 3600}
    ask("PUT", "/stacks/another/scheduled-jobs/batch-reserve", json=body).raise_for_status()


# --- VMs ---


def test_a_vm_whose_records_are_cut_off_keeps_its_ten_minute_job() -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=600)
    until(simulation, lambda: booting(simulation, job_id) and bool(simulation.vms))
    until(simulation, lambda: any(vm.job_id == job_id for vm in simulation.vms.values()))
    for vm in simulation.vms.values():
        vm.mute = True
    simulation.run(500)
    assert running(simulation, job_id)
    assert (launched(simulation), ended_by_us(simulation)) == (1, [])
    simulation.run(200)
    assert ends(simulation) == {"finished 0": 1}
    all_is_over(simulation)
    assert launched(simulation) == 1


@pytest.mark.parametrize("stage", [BootStage.FAILED, BootStage.AGENT_EXITED, BootStage.CREDENTIAL_LOST])
def test_a_job_that_lies_in_its_vms_mailbox_gains_nothing(stage: BootStage) -> None:
    simulation = world()
    (job_id,) = push(simulation, seconds=60)
    until(simulation, lambda: simulation.buildkite.job(job_id).state is JobState.RUNNING)
    (box,) = simulation.store.boxes.values()
    simulation.store.report(box.assignment.instance_arn, stage, "please give me another VM")
    simulation.run(90)
    assert ends(simulation) == {"finished 0": 1}
    assert (launched(simulation), box.reissues) == (1, 0)
    all_is_over(simulation)


def test_a_vm_that_hangs_is_replaced_and_its_job_ends_with_the_reason_when_all_do() -> None:
    simulation = world(temper=Temper(hangs=1.0))
    (job_id,) = push(simulation)
    simulation.run(400)
    assert launched(simulation) == 3
    finish = simulation.buildkite.job(job_id).stack_finish
    assert finish is not None
    assert "3 attempts" in finish.detail
    all_is_over(simulation)


def test_a_burst_of_terminations_keeps_to_the_brake() -> None:
    simulation = world(settings={"MAX_TERMINATIONS_PER_TICK": "2"}, temper=Temper(hangs=1.0))
    job_ids = push(simulation, 6)
    until(simulation, lambda: all(booting(simulation, job_id) for job_id in job_ids))
    for job_id in job_ids:
        simulation.buildkite.cancel_job(job_id)
    simulation.run(60)
    calls = [call.request["InstanceIds"] for call in simulation.ec2.calls() if call.action == "TerminateInstances"]
    assert max(map(len, calls)) <= 2
    assert sum(map(len, calls)) == 6
    assert "terminations_held_back" in simulation.telemetry.messages("INFO")
    all_is_over(simulation)


def test_the_same_world_without_news_and_with_them_ends_alike() -> None:
    quiet, notices_sent = world(), world()
    news(notices_sent, lambda _: [0.3])
    for simulation in (quiet, notices_sent):
        push(simulation, 3, seconds=20)
        simulation.run(120)
    assert ends(quiet) == ends(notices_sent)
    assert outcomes(quiet) == outcomes(notices_sent)
