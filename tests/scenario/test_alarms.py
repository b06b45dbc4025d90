"""Each alarm rings at what it is for, and none in a world in which all is well.

The functions as they are wired in production, on a virtual clock; their metrics as CloudWatch would keep them; the
alarms as infra/observability.yaml has them.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

import pytest

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH
from tests.simulator.universe.machine import Temper
from tests.simulator.universe.universe import Nature, plain_ec2
from tests.simulator.watching.alarms import rings
from tests.simulator.watching.day import CLASSES, SETTINGS
from tests.simulator.watching.template import Rendered
from tests.simulator.watching.world import WatchedUniverse

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


def jobs(universe: WatchedUniverse, count: int, *rules: str, seconds: int = 60) -> None:
    universe.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)}, agents=list(rules))] * count)


def each_minute(universe: WatchedUniverse, minutes: int, action: Callable[[], object]) -> None:
    for minute in range(minutes):
        universe.kernel.after(timedelta(minutes=minute, seconds=20), "", action)  # type: ignore[arg-type]  # nobody reads what it returns


def ringing(universe: WatchedUniverse, minutes: int) -> set[str]:
    universe.run(minutes * 60)
    return {
        name
        for name, alarm in Rendered().of_type("CloudWatch::Alarm").items()
        if "MetricName" in alarm and rings(alarm, universe.metrics, start=EPOCH, end=universe.kernel.now())
    }


def orphans(universe: WatchedUniverse, count: int) -> None:
    for _ in range(count):
        universe.ec2.launch_orphan(tags={DEPLOYMENT_TAG: "stack"}, subnet_id="subnet-a")


def test_none_rings_while_builds_come_and_go() -> None:
    universe = a_world()
    each_minute(universe, 8, partial(jobs, universe, 4))
    assert ringing(universe, 14) == set()


def test_none_rings_while_nothing_happens() -> None:
    assert ringing(a_world(), 20) == set()


@pytest.mark.parametrize(("only", "alarm"), [("tracker", "DispatcherSilent"), ("dispatcher", "TrackerSilent")])
def test_silence(only: str, alarm: str) -> None:
    assert ringing(a_world(only=(only,)), 10) == {alarm}


def test_a_listing_that_fails() -> None:
    universe = a_world()
    universe.run(90)
    universe.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, times=ALWAYS)
    assert ringing(universe, 10) == {"Errors"}


def test_a_revoked_agent_token() -> None:
    universe = a_world()
    universe.run(90)
    for operation in Operation:
        universe.buildkite.faults.fail(operation, status=401, times=ALWAYS)
    assert ringing(universe, 8) == {"Errors", "TokenRefused"}


def test_job_tokens_that_are_not_issued() -> None:
    universe = a_world()
    universe.buildkite.faults.fail(Operation.ISSUE_ACQUISITION_TOKENS, times=ALWAYS)
    jobs(universe, 2)
    assert ringing(universe, 8) == {"Errors", "TokensNotIssued"}


def test_launching_that_an_operator_has_switched_off() -> None:
    universe = a_world(settings={"LAUNCH_ENABLED": "false"})
    jobs(universe, 1)
    assert ringing(universe, 15) == {"JobsWait"}


def test_an_image_that_is_not_there() -> None:
    universe = a_world()
    jobs(universe, 1, "class=wrong")
    assert ringing(universe, 8) == {"BreakerOpen", "JobsGivenUp"}


def test_an_account_that_may_not_launch() -> None:
    universe = a_world()
    universe.ec2.faults.fail("CreateFleet", "UnauthorizedOperation", status=403, times=ALWAYS)
    jobs(universe, 1)
    assert ringing(universe, 6) == {"AccountRefused", "BreakerOpen", "JobsGivenUp"}


def test_a_full_house() -> None:
    universe = a_world(settings={"MAX_INSTANCES": "2"})
    jobs(universe, 2, seconds=1_500)
    assert ringing(universe, 18) == {"NearMaximum"}


def test_a_leak_of_vms() -> None:
    universe = a_world(temper=Temper(hangs=1.0), settings={"SWEEP_GRACE_SECONDS": "240"})
    each_minute(universe, 12, partial(orphans, universe, 1))
    assert ringing(universe, 30) == {"Orphans"}


def test_vms_that_nothing_can_end() -> None:
    universe = a_world(temper=Temper(hangs=1.0), settings={"MAX_LIFETIME_SECONDS": "360"})
    universe.ec2.faults.fail("TerminateInstances", "OperationNotPermitted", times=ALWAYS)
    orphans(universe, 1)
    assert ringing(universe, 15) == {"PastLifetime"}


def test_a_sweep_that_would_end_everything() -> None:
    universe = a_world(temper=Temper(hangs=1.0))
    orphans(universe, 30)
    assert ringing(universe, 10) == {"Errors", "SweepBraked"}
