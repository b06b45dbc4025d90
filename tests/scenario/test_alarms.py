"""Each alarm rings at what it is for, and none in a world in which all is well.

The functions as they are wired in production, on a virtual clock; their metrics as CloudWatch would keep them; the
alarms as infra/observability.yaml has them.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

import pytest

from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG
from agent_stack.domain.measures import Metric
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH
from tests.simulator.cloud.refusals import Refusal
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import Nature, plain_ec2
from tests.simulator.watching.alarms import rings
from tests.simulator.watching.day import CLASSES, SETTINGS
from tests.simulator.watching.template import Rendered
from tests.simulator.watching.world import WatchedUniverse

pytestmark = pytest.mark.share(4)

ALWAYS = 100_000
UNKNOWN_IMAGE = "ami-0fedcba9876543210"


def a_world(
    *,
    settings: Mapping[str, str] | None = None,
    temper: Temper | None = None,
    only: tuple[str, ...] = ("dispatcher", "tracker"),
) -> WatchedUniverse:
    nature = Nature(
        ec2=plain_ec2(unknown_images=frozenset({UNKNOWN_IMAGE})),
        temper=temper or Temper(),
        latency=(0.004, 0.03),
        watched=False,
        only=only,
    )
    return WatchedUniverse(seed=1, nature=nature, settings={**SETTINGS, **(settings or {})}, classes=CLASSES)


def jobs(simulation: WatchedUniverse, count: int, *rules: str, seconds: int = 60) -> None:
    simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)}, agents=list(rules))] * count)


def each_minute(simulation: WatchedUniverse, minutes: int, action: Callable[[], object]) -> None:
    for minute in range(minutes):
        simulation.kernel.after(timedelta(minutes=minute, seconds=20), "", action)  # type: ignore[arg-type]  # nobody reads what it returns


def ringing(simulation: WatchedUniverse, minutes: int, **parameters: str) -> set[str]:
    simulation.run(minutes * 60)
    return {
        name
        for name, alarm in Rendered(**parameters).of_type("CloudWatch::Alarm").items()
        if ("MetricName" in alarm or name == "DailySpend")
        and rings(alarm, simulation.metrics, start=EPOCH, end=simulation.kernel.now())
    }


def orphans(simulation: WatchedUniverse, count: int) -> None:
    for _ in range(count):
        simulation.ec2.launch_orphan(tags={DEPLOYMENT_TAG: "stack"}, subnet_id="subnet-a")


def test_none_rings_while_builds_come_and_go() -> None:
    """Each job is a VM of 2 vCPUs for about two minutes: 32 of them cost 0.13 USD."""
    simulation = a_world()
    each_minute(simulation, 8, partial(jobs, simulation, 4))
    assert ringing(simulation, 14, DailySpendAlarmUsd="1") == set()


def test_none_rings_while_nothing_happens() -> None:
    assert ringing(a_world(), 20) == set()


@pytest.mark.parametrize(("only", "alarm"), [("tracker", "DispatcherSilent"), ("dispatcher", "TrackerSilent")])
def test_silence(only: str, alarm: str) -> None:
    simulation = a_world()
    simulation.run(150)
    simulation.silence("dispatcher" if only == "tracker" else "tracker")
    assert ringing(simulation, 14) == {alarm}


def test_a_first_deployment_rings_nothing_before_its_functions_have_run_once() -> None:
    assert ringing(a_world(only=()), 20) == set()


def test_a_listing_that_fails() -> None:
    simulation = a_world()
    simulation.run(90)
    simulation.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, times=ALWAYS)
    assert ringing(simulation, 10) == {"Errors"}


@pytest.mark.parametrize("mode", ["ignore", "auto"])
def test_a_job_that_no_class_fits(mode: str) -> None:
    simulation = a_world(settings={"UNMATCHED_JOBS": mode})
    jobs(simulation, 1, "gpu=true")
    assert ringing(simulation, 12) == {"JobsUnmatched"}


def test_a_revoked_agent_token() -> None:
    simulation = a_world()
    simulation.run(90)
    for operation in Operation:
        simulation.buildkite.faults.fail(operation, status=401, times=ALWAYS)
    assert ringing(simulation, 8) == {"Errors", "TokenRefused"}


def test_job_tokens_that_are_not_issued() -> None:
    simulation = a_world()
    simulation.buildkite.faults.fail(Operation.ISSUE_ACQUISITION_TOKENS, times=ALWAYS)
    jobs(simulation, 2)
    assert ringing(simulation, 8) == {"Errors", "TokensNotIssued"}


def test_launching_that_an_operator_has_switched_off() -> None:
    simulation = a_world(settings={"LAUNCH_ENABLED": "false"})
    jobs(simulation, 1)
    assert ringing(simulation, 15) == {"JobsWait"}


def test_an_image_that_is_not_there() -> None:
    simulation = a_world()
    jobs(simulation, 1, "class=wrong")
    assert ringing(simulation, 8) == {"BreakerOpen", "JobsFailedByStack"}


def test_an_account_that_may_not_launch() -> None:
    simulation = a_world()
    simulation.ec2.faults.fail("CreateFleet", "PendingVerification", times=ALWAYS)
    jobs(simulation, 1)
    assert ringing(simulation, 6) == {"AccountRefused", "BreakerOpen", "JobsFailedByStack"}


def test_a_permission_that_every_class_lacks() -> None:
    simulation = a_world()
    simulation.ec2.faults.fail("CreateFleet", "UnauthorizedOperation", status=403, times=ALWAYS)
    for vm_class in ("class=default", "class=spot"):
        each_minute(simulation, 8, partial(jobs, simulation, 1, vm_class))
    assert ringing(simulation, 9) >= {"AccountRefused", "BreakerOpen"}


def test_a_permission_that_one_class_lacks() -> None:
    simulation = a_world()
    simulation.ec2.faults.refuse(Refusal(code="UnauthorizedOperation", where="request", tags={CLASS_TAG: "spot"}))
    for vm_class in ("class=default", "class=spot"):
        each_minute(simulation, 4, partial(jobs, simulation, 1, vm_class))
    rung = ringing(simulation, 6)
    assert "BreakerOpen" in rung
    assert "AccountRefused" not in rung


def test_a_full_house() -> None:
    simulation = a_world(settings={"MAX_INSTANCES": "2"})
    jobs(simulation, 2, seconds=1_500)
    assert ringing(simulation, 18) == {"NearMaximum"}


def test_a_leak_of_vms() -> None:
    simulation = a_world(temper=Temper(hangs=1.0), settings={"SWEEP_GRACE_SECONDS": "240"})
    each_minute(simulation, 12, partial(orphans, simulation, 1))
    assert ringing(simulation, 30) == {"Orphans"}


def test_vms_that_nothing_can_end() -> None:
    simulation = a_world(temper=Temper(hangs=1.0), settings={"MAX_LIFETIME_SECONDS": "360"})
    simulation.ec2.faults.fail("TerminateInstances", "OperationNotPermitted", times=ALWAYS)
    orphans(simulation, 1)
    assert ringing(simulation, 15) == {"PastLifetime"}


def test_a_sweep_that_would_end_everything() -> None:
    simulation = a_world(temper=Temper(hangs=1.0))
    orphans(simulation, 30)
    assert ringing(simulation, 10) == {"Errors", "OrphanCleanupLimited"}


def test_vms_that_cost_more_in_a_day_than_somebody_wants_to_pay() -> None:
    simulation = a_world()
    jobs(simulation, 20, seconds=900)
    assert ringing(simulation, 16, DailySpendAlarmUsd="0.5") == {"DailySpend"}


def test_a_vm_that_nothing_ends_costs_while_it_is_up() -> None:
    simulation = a_world(temper=Temper(hangs=1.0), settings={"SWEEP_GRACE_SECONDS": "36000"})
    orphans(simulation, 20)
    assert "DailySpend" in ringing(simulation, 16, DailySpendAlarmUsd="0.5")


def test_the_price_of_a_vcpu_hour_decides_and_nobody_has_to_have_the_alarm() -> None:
    simulation = a_world()
    jobs(simulation, 20, seconds=900)
    assert ringing(simulation, 16) == set()
    assert ringing(simulation, 0, DailySpendAlarmUsd="0.5", VcpuHourUsd="0.006") == set()


def vcpu_seconds(simulation: WatchedUniverse) -> tuple[float, float]:
    """What was counted, and what VMs of two vCPUs each were up."""
    (written,) = [values for (_, name, _), values in simulation.written().items() if name == Metric.VCPU_SECONDS]
    ends = [(one.terminated_at or simulation.kernel.now(), one.launched_at) for one in simulation.ec2.instances()]
    return sum(value for _, value in written), 2 * sum((end - began).total_seconds() for end, began in ends)


def test_what_is_counted_is_what_the_vms_were_up() -> None:
    """Through the handovers of a quarter of an hour; EC2 bills the whole of it."""
    simulation = a_world()
    each_minute(simulation, 8, partial(jobs, simulation, 4, seconds=100))
    simulation.run(15 * 60)
    counted, up = vcpu_seconds(simulation)
    assert 0.9 * up <= counted <= up


def test_a_held_vm_is_counted_although_its_tracker_comes_once_a_minute() -> None:
    simulation = a_world(temper=Temper(fails_booting=1.0), settings={"HOLD_ON_FAILURE_MINUTES": "30"})
    jobs(simulation, 1)
    simulation.run(20 * 60)
    counted, up = vcpu_seconds(simulation)
    assert up >= 2 * 15 * 60, "it is held"
    assert 0.9 * up <= counted <= up
