"""Standby VMs in one situation each: hot starts, bursts, preemption, and every way in which an idle VM ends."""

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_stack.adapters.ec2.requests import CLASS_TAG, HOLD_TAG
from agent_stack.domain.measures import Metric
from agent_stack.domain.standby import Closing
from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Instance
from tests.simulator.cloud.instance import UP
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.simulation import CLASSES_PARAMETER, QUICK, Nature, Simulation, plain_ec2

IMAGE = "ami-0123456789abcdef0"
SETTINGS = {
    **QUICK,
    "MAX_INSTANCES": "100",
    "IDLE_POLL_SECONDS": "0.5",
    "LAUNCH_DEADLINE_SECONDS": "300",
    "RESERVATION_SECONDS": "480",
}
TIMES = {"pending": (timedelta(seconds=5), timedelta(seconds=5)), "shutting_down": timedelta(seconds=20)}
STEADY: dict[str, Any] = {"launch_latency": (1.0, 1.0), "latency": (0.05, 0.05), "temper": Temper(boot=(2.0, 2.0))}
"""What a start takes does not vary, so that starts can be compared."""

SHAPE = {"instance_types": ["m7i.large"], "image": IMAGE, "boot_timeout_seconds": 60}
OTHER = {**SHAPE, "instance_types": ["c7i.large"]}


def document(hot: int = 2, minutes: int = 240, **standby: object) -> str:
    default = {**SHAPE, "standby": {"hot": hot, "max_age_minutes": minutes, **standby}}
    return json.dumps({"classes": {"default": default, "other": OTHER}, "default_class": "default"})


class World(Simulation):
    """A deployment with idle VMs."""

    def __init__(
        self,
        classes: str | None = None,
        *,
        settings: dict[str, str] | None = None,
        ec2: dict[str, Any] | None = None,
        seconds: float = 130,
        **nature: Any,  # noqa: ANN401  (a nature's own)
    ) -> None:
        super().__init__(
            seed=1,
            nature=Nature(ec2=plain_ec2(**{**TIMES, **(ec2 or {})}), **{**STEADY, **nature}),
            settings={**SETTINGS, **(settings or {})},
            classes=classes or document(),
        )
        self.deliver_wake_ups()
        self.run(seconds)

    def push(self, count: int = 1, *, seconds: int = 20, rules: tuple[str, ...] = ()) -> list[str]:
        step = Step(env={"SIM_SECONDS": str(seconds)}, agents=list(rules))
        return list(self.buildkite.create_build(steps=[step] * count).job_ids)

    def push_one(self) -> None:
        self.push(seconds=5)

    def up(self, *, name: str = "default", standby: bool = True) -> list[Instance]:
        return [
            one
            for one in self.ec2.instances()
            if one.state in UP and (HOLD_TAG in one.tags) == standby and one.tags.get(CLASS_TAG) == name
        ]

    def idle(self, name: str = "default") -> list[Instance]:
        open_ids = {vm.instance_id for vm in self.store.standby.values() if vm.closing is None}
        return [one for one in self.up(name=name) if one.instance_id in open_ids]

    def fleets(self, since: datetime) -> list[tuple[datetime, int, bool]]:
        """CreateFleet calls: when, for how many, and whether they are to stand by."""
        found = []
        for call in self.ec2.calls():
            if call.action == "CreateFleet" and call.at > since:
                request: Any = call.request
                tags = {tag["Key"] for tag in request["TagSpecifications"][0]["Tags"]}
                count = request["TargetCapacitySpecification"]["TotalTargetCapacity"]
                found.append((call.at, count, HOLD_TAG in tags))
        return found

    def said(self, message: str) -> list[dict[str, Any]]:
        return [dict(fields) for _, told, fields in self.telemetry.records if told == message]

    def until(self, job_id: str, state: JobState, seconds: float = 60) -> float:
        """How long it takes until the job is in that state."""
        began = self.kernel.now()
        while self.buildkite.job(job_id).state is not state:
            assert (self.kernel.now() - began).total_seconds() < seconds, self.buildkite.job(job_id).state
            self.run(0.25)
        return (self.kernel.now() - began).total_seconds()


def test_a_job_takes_a_standby_vm_starts_in_seconds_and_another_vm_takes_its_place() -> None:
    world = World()
    assert len(world.idle()) == 2
    since = world.kernel.now()
    (job,) = world.push(seconds=100)
    assert world.until(job, JobState.RUNNING) <= 4
    world.run(10)
    assert [(count, standby) for _, count, standby in world.fleets(since)] == [(1, True)]
    world.run(60)
    assert any("Took standby VM" in one.detail for one in world.buildkite.job(job).notifications)
    assert world.telemetry.counts[Metric.STANDBY_HITS] == 1


def test_a_burst_takes_the_ten_hot_vms_and_asks_for_forty_in_one_request_and_then_for_ten_to_stand_by() -> None:
    world = World(document(hot=10))
    assert len(world.idle()) == 10
    since = world.kernel.now()
    jobs = world.push(50, seconds=120)
    world.run(12)
    launches = world.fleets(since)
    assert [(count, standby) for _, count, standby in launches] == [(40, False), (10, True)]
    assert (launches[1][0] - launches[0][0]).total_seconds() <= 5, "the missing ten are asked for soon"
    assert (launches[1][0] - launches[0][0]).total_seconds() >= 0, "and no job waits behind them"
    world.run(40)
    assert {world.buildkite.job(job).state for job in jobs} == {JobState.RUNNING}
    assert len(world.idle()) == 10


def cold_start(**nature: Any) -> float:  # noqa: ANN401  (a world's own)
    world = World(document(hot=0), seconds=130, **nature)
    (job,) = world.push(rules=("class=other",))
    return world.until(job, JobState.RUNNING)


def test_a_job_of_another_class_starts_within_five_seconds_of_a_cold_start_where_idle_vms_fill_the_deployment() -> None:
    world = World(document(hot=4), settings={"MAX_INSTANCES": "4"})
    assert len(world.idle()) == 4
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING) <= cold_start() + 5
    assert [one["reason"] for one in world.said("standby_closed")] == [Closing.PREEMPTED]
    assert len(world.idle()) == 3
    world.run(30)
    assert len(world.idle()) == 3, "the job is there still: nothing takes its room"


def test_the_same_for_a_quota_that_idle_vms_fill() -> None:
    ec2 = {"quotas": {"on-demand:standard": 8}}  # four VMs of two vCPUs
    world = World(document(hot=4), ec2=ec2)
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING, 90) <= cold_start() + 5
    assert [one["reason"] for one in world.said("standby_closed")] == [Closing.PREEMPTED]


def test_the_same_for_max_vcpus() -> None:
    world = World(document(hot=4), settings={"MAX_VCPUS": "8"})
    assert len(world.idle()) == 4
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING) <= cold_start() + 5
    assert len(world.up()) + len(world.up(name="other", standby=False)) <= 4


def test_no_vm_is_launched_to_stand_by_while_jobs_wait_for_a_place() -> None:
    world = World(document(hot=2), settings={"MAX_INSTANCES": "3"})
    since = world.kernel.now()
    world.push(9, seconds=30, rules=("class=other",))
    world.run(60)
    assert not [launch for launch in world.fleets(since) if launch[2]]


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.0, 1.4, 2.0])
def test_a_bind_against_a_closing_whichever_comes_first(seconds: float) -> None:
    """The operator wants no VM any more, and a job comes at that moment: it runs, on this VM or on another one."""
    world = World(document(hot=1))
    world.parameters.values[CLASSES_PARAMETER] = document(hot=0)
    world.kernel.after(timedelta(seconds=seconds), "", world.push_one)
    world.run(60)
    (job,) = world.buildkite.jobs()
    assert (job.state, job.exit_status) == (JobState.FINISHED, 0)
    assert not world.store.closed & world.store.boxes.keys()
    assert world.up() == []


def calls_of_the_end(kind: str) -> list[str]:
    world = World(document(hot=2), settings={"MAX_INSTANCES": "2"})
    begin = len(world.points)
    end_an_idle_vm(world, kind)
    world.push(1, seconds=5)
    world.run(40)
    return world.points[begin:]


def end_an_idle_vm(world: World, kind: str) -> None:
    victim = world.idle()[0]
    match kind:
        case "scale-down":
            world.parameters.values[CLASSES_PARAMETER] = document(hot=1)
        case "preempted":
            world.push(rules=("class=other",), seconds=5)
        case "host lost":
            world.ec2.lose_host(victim.instance_id)
        case "ends itself":
            world.vms[victim.instance_id]._off()
        case _:
            world.ec2.terminate_by_hand(victim.instance_id)


@pytest.mark.parametrize("kind", ["scale-down", "preempted", "host lost", "ends itself", "by hand"])
def test_whichever_way_an_idle_vm_ends_and_whenever_a_process_dies_the_job_runs_once(kind: str) -> None:
    points = calls_of_the_end(kind)
    effects = [n for n, point in enumerate(points) if point.rpartition(".")[2] in {"bind", "close", "add", "remove"}]
    assert effects
    for number in effects:
        for fate in (Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.ANSWER_LOST):
            world = World(document(hot=2), settings={"MAX_INSTANCES": "2"})
            begin = len(world.points)

            def judge(_: str, at: int = begin + number, fate: Fate = fate, world: World = world) -> Fate:
                return fate if len(world.points) - 1 == at else Fate.GOES_ON

            world.judge = judge
            end_an_idle_vm(world, kind)
            world.push(1, seconds=5)
            world.settle(900)
            ends = Counter((job.state, job.exit_status) for job in world.buildkite.jobs())
            assert set(ends) == {(JobState.FINISHED, 0)}, (points[number], fate)
            assert not world.store.closed & world.store.boxes.keys()


def test_a_new_launch_template_replaces_a_full_pool_one_by_one_and_never_empties_it() -> None:
    world = World(document(hot=3), seconds=200)
    before = {one.instance_id for one in world.idle()}
    changed = json.loads(document(hot=3))
    changed["classes"]["default"]["volume_gib"] = 50
    world.parameters.values[CLASSES_PARAMETER] = json.dumps(changed)
    fewest, most = 3, 3
    for _ in range(600):
        world.run(1)
        idle = world.idle()
        ready = [one for one in idle if (world.kernel.now() - one.launched_at).total_seconds() >= 60]
        fewest, most = min(fewest, len(ready)), max(most, len(idle))
        if not before & {one.instance_id for one in idle} and len(ready) == 3:
            break
    assert not before & {one.instance_id for one in world.idle()}
    assert (fewest, most) == (3, 4)


def test_vms_that_are_too_old_are_replaced_before_they_end() -> None:
    world = World(document(hot=2, minutes=10), seconds=200)
    fewest = 2
    for _ in range(1500):
        world.run(1)
        fewest = min(fewest, len(world.idle()))
    assert fewest >= 2
    ages = [vm.expires_at - vm.launched_at for vm in world.store.standby.values()]
    assert all(timedelta(minutes=8) <= age <= timedelta(minutes=12) for age in ages)
    assert {one["reason"] for one in world.said("standby_closed")} == {Closing.AGE}


@pytest.mark.parametrize("function", ["dispatcher", "tracker"])
def test_what_a_dead_function_can_cost_is_bounded_by_the_hold(function: str) -> None:
    """Dead for six hours. A dead dispatcher asks for nothing more; without a tracker the VMs end themselves."""
    world = World(document(hot=2, minutes=60))
    world.judge = lambda point: Fate.DIES_BEFORE if point.startswith(f"{function} ") else Fate.GOES_ON
    world.run(80 * 60)
    if function == "dispatcher":
        assert world.up() == []
    spent = sum(
        ((one.terminated_at or world.kernel.now()) - one.launched_at).total_seconds()
        for one in world.ec2.instances()
        if HOLD_TAG in one.tags
    )
    assert spent <= 2 * 82 * 60 + 4 * 15 * 60


def test_a_dead_hot_vm_costs_its_job_twenty_seconds_and_the_job_gets_a_cold_one() -> None:
    world = World(document(hot=1), seconds=200)
    world.vms[world.idle()[0].instance_id].stop()  # it hangs, and EC2 shows it running
    (job,) = world.push()
    took = world.until(job, JobState.RUNNING, 120)
    assert 20 <= took <= 20 + 3 + cold_start(), "the dispatcher woke the tracker, which is asleep while VMs are idle"
    (run,) = [run for run in world.store.runs.values() if run.job_id == job]
    assert run.binding is not None
    assert not run.binding.standby
    assert run.attempt == 2


def test_three_misses_in_a_row_suspend_the_class_and_its_jobs_start_cold() -> None:
    world = World(document(hot=3), seconds=200)
    for one in world.idle():
        world.vms[one.instance_id].stop()
    jobs = world.push(3, seconds=5)
    world.run(100)
    assert {world.buildkite.job(job).state for job in jobs} == {JobState.FINISHED}
    assert len(world.said("standby_suspended")) == 1
    assert world.telemetry.peaks[Metric.STANDBY_SUSPENDED] == 1
    world.run(60)
    assert world.idle() == []
    world.run(16 * 60)
    assert len(world.idle()) == 3, "after a quarter of an hour it tries again"


def test_vms_that_end_unprepared_are_asked_for_ever_more_slowly_with_the_reason() -> None:
    world = World(document(hot=1), temper=Temper(fails_booting=1.0, boot=(2.0, 2.0)), seconds=60)
    since = world.kernel.now()
    world.run(3600)
    assert 4 <= len(world.fleets(since)) <= 16
    reasons = {one["reason"] for one in world.said("standby_unprepared")}
    assert all("powered itself off before it was prepared" in reason for reason in reasons)
    assert max(one["pause_seconds"] for one in world.said("standby_unprepared")) == 900


def test_a_pause_launches_nothing_to_stand_by_and_keeps_what_is_there() -> None:
    world = World(document(hot=2))
    world.store.pause(at=world.kernel.now())
    world.run(6)
    since = world.kernel.now()
    world.ec2.lose_host(world.idle()[0].instance_id)
    world.run(120)
    assert world.fleets(since) == []
    assert len(world.idle()) == 1
    world.store.resume(at=world.kernel.now())
    world.run(60)
    assert len(world.idle()) == 2


def test_with_launches_off_there_is_nothing_to_stand_by_for() -> None:
    world = World(document(hot=2), settings={"LAUNCH_ENABLED": "false"})
    assert world.fleets(world.kernel.now() - timedelta(hours=1)) == []


def test_observe_only_asks_for_no_vm_and_no_list() -> None:
    world = World(document(hot=2), settings={"OBSERVE_ONLY": "true"})
    assert not [point for point in world.points if "standby" in point or "launch" in point]


def test_without_a_class_that_wants_them_nothing_is_asked_for_them() -> None:
    world = World(json.dumps({"classes": {"default": SHAPE, "other": OTHER}, "default_class": "default"}))
    world.push(2, seconds=5)
    world.run(60)
    assert not [point for point in world.points if " standby." in point]


def test_idle_vms_keep_no_tracker_busy_and_cost_next_to_no_calls() -> None:
    world = World(document(hot=10), seconds=240)
    world.billed["tracker"].clear()
    begin = len(world.points)
    world.run(600)
    assert sum(world.billed["tracker"]) <= 10 * 2, "one short invocation a minute"
    calls = Counter(point for point in world.points[begin:])
    assert calls["dispatcher standby.listed"] <= 600 / 30 + 12 * 2
    assert calls["dispatcher ledger.active_runs"] <= 600 / 30 + 12 * 2
    assert calls["tracker standby.listed"] <= 12


def test_a_job_has_its_whole_lifetime_on_a_vm_that_stood_by_for_long() -> None:
    """The VM is older than MaxLifetimeSeconds when it gets the job."""
    world = World(document(hot=1, minutes=60), seconds=130)
    world.run(1000)
    old = world.idle()[0]
    assert (world.kernel.now() - old.launched_at).total_seconds() > 900
    (job,) = world.push(seconds=600)
    world.run(620)
    assert (world.buildkite.job(job).state, world.buildkite.job(job).exit_status) == (JobState.FINISHED, 0)


def test_a_forged_status_of_an_idle_vm_changes_nothing() -> None:
    """A VM may write its own mailbox once there is one. Before a job there is none, so there is nothing to believe."""
    world = World(document(hot=1))
    idle = world.idle()[0]
    world.vms[idle.instance_id]._report("agent_started", "I have a job")  # type: ignore[arg-type]  # a forgery
    world.run(60)
    assert [one.instance_id for one in world.idle()] == [idle.instance_id]


def test_classes_that_want_none_any_more_lose_their_idle_vms() -> None:
    world = World(document(hot=2))
    plain = json.dumps({"classes": {"default": SHAPE, "other": OTHER}, "default_class": "default"})
    world.parameters.values[CLASSES_PARAMETER] = plain
    world.run(60)
    assert world.up() == []
