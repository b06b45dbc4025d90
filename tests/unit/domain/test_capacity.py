"""What EC2 teaches, and for how long it is believed."""

from datetime import timedelta

import pytest

from agent_stack.domain.capacity import (
    ACCOUNT,
    BATCH_WINDOW,
    BREAKER_FIRST,
    BREAKER_LAST,
    UNAVAILABLE_FOR,
    Budget,
    LaunchMemory,
    choose_capacity_type,
)
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchErrorClass
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH

NAME = ClassName("default")
OTHER = ClassName("other")
EC2 = Budget(burst=1_000, per_second=2)
SECOND = timedelta(seconds=1)
SPOT_POOLS = ("spot:m7i.large:a", "spot:m7i.large:b")
POOLS = {CapacityType.SPOT: SPOT_POOLS, CapacityType.ON_DEMAND: ("on-demand:m7i.large:a",)}


def error(kind: LaunchErrorClass, pool: str = "") -> LaunchError:
    return LaunchError(error_class=kind, code="Code", message="words", pool=pool)


def told(memory: LaunchMemory, *errors: LaunchError, launched: int = 0, after: timedelta = timedelta()) -> LaunchMemory:
    return memory.answered(NAME, launched=launched, errors=errors, now=EPOCH + after, jitter=0.5)


def test_a_dry_pool_rests_for_three_minutes() -> None:
    memory = told(LaunchMemory(), error(LaunchErrorClass.CAPACITY, SPOT_POOLS[0]))
    assert memory.unavailable(EPOCH + UNAVAILABLE_FOR - SECOND) == {SPOT_POOLS[0]}
    assert memory.unavailable(EPOCH + UNAVAILABLE_FOR) == frozenset()


def test_a_full_market_rests_as_a_whole() -> None:
    memory = told(LaunchMemory(), error(LaunchErrorClass.QUOTA, SPOT_POOLS[0]))
    assert memory.unavailable(EPOCH) == {"spot"}


@pytest.mark.parametrize(
    ("unavailable", "fallback", "capacity_type"),
    [
        ((), False, CapacityType.SPOT),
        (SPOT_POOLS[:1], False, CapacityType.SPOT),
        (SPOT_POOLS, False, None),
        (SPOT_POOLS, True, CapacityType.ON_DEMAND),
        (("spot",), True, CapacityType.ON_DEMAND),
        (("spot", "on-demand"), True, None),
        ((*SPOT_POOLS, "on-demand:m7i.large:a"), True, None),
    ],
)
def test_on_demand_is_asked_only_when_spot_rests_and_the_class_allows_it(
    unavailable: tuple[str, ...],
    fallback: bool,  # noqa: FBT001  (of the class)
    capacity_type: CapacityType | None,
) -> None:
    wanted = VmClass(
        name=NAME, instance_types=("m7i.large",), image="ami-1", capacity_type=CapacityType.SPOT, fallback=fallback
    )
    assert choose_capacity_type(wanted, POOLS, frozenset(unavailable)) is capacity_type


def test_a_wrong_class_is_left_alone_longer_each_time_and_forgiven_at_once() -> None:
    memory, at = LaunchMemory(), timedelta()
    rests = []
    for _ in range(6):
        memory = told(memory, error(LaunchErrorClass.CONFIGURATION), after=at)
        breaker = memory.breaker(NAME, EPOCH + at)
        assert breaker is not None
        rests.append(breaker.until - EPOCH - at)
        at = breaker.until - EPOCH
        assert memory.breaker(NAME, EPOCH + at) is None
    assert rests[:3] == [BREAKER_FIRST, 2 * BREAKER_FIRST, 4 * BREAKER_FIRST]
    assert max(rests) == BREAKER_LAST
    assert memory.breaker(OTHER, EPOCH) is None
    assert told(memory, launched=1, after=at).breakers == {}


def test_an_account_that_cannot_launch_holds_back_every_class() -> None:
    memory = told(LaunchMemory(), error(LaunchErrorClass.ACCOUNT))
    assert memory.breaker(OTHER, EPOCH) is memory.breakers[ACCOUNT]


def test_some_vms_and_an_error_open_no_breaker() -> None:
    assert told(LaunchMemory(), error(LaunchErrorClass.CONFIGURATION), launched=1).breakers == {}


def test_an_error_beside_a_dry_pool_opens_no_breaker() -> None:
    """The pool may have some tomorrow; the class is not known to be wrong."""
    pool = "on-demand:m7i.large:eu-central-1a"
    memory = told(LaunchMemory(), error(LaunchErrorClass.UNRECOGNISED), error(LaunchErrorClass.CAPACITY, pool))
    assert memory.breakers == {}
    assert memory.unavailable(EPOCH) == {pool}


def test_what_is_asked_for_comes_out_of_the_bucket_and_grows_back() -> None:
    memory = LaunchMemory().asking(900, EC2, EPOCH)
    assert memory.granted(EC2, EPOCH) == 100
    assert memory.granted(EC2, EPOCH + 10 * SECOND) == 120
    assert memory.granted(EC2, EPOCH, 30 * SECOND) == 160
    assert memory.granted(EC2, EPOCH + timedelta(hours=1)) == 1_000


def test_a_throttle_means_that_the_bucket_is_empty() -> None:
    memory = told(LaunchMemory(), error(LaunchErrorClass.THROTTLE), launched=3)
    assert memory.granted(EC2, EPOCH) == 0


def test_throttles_are_followed_by_longer_pauses_and_forgotten_after_a_success() -> None:
    memory, at, pauses = LaunchMemory(), timedelta(), []
    for _ in range(7):
        memory = told(memory, error(LaunchErrorClass.THROTTLE), after=at)
        assert memory.pause is not None
        pauses.append((memory.pause.until - EPOCH - at).total_seconds())
        assert memory.paused(EPOCH + at)
        at = memory.pause.until - EPOCH
        assert not memory.paused(EPOCH + at)
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    assert told(memory, launched=1, after=at).pause is None
    assert told(memory, error(LaunchErrorClass.THROTTLE), after=at + 2 * timedelta(minutes=1)).pause != memory.pause


def test_a_dry_pool_that_ec2_does_not_name_breaks_no_class() -> None:
    memory = told(LaunchMemory(), error(LaunchErrorClass.CAPACITY), error(LaunchErrorClass.QUOTA))
    assert (memory.breakers, dict(memory.unavailable_pools)) == ({}, {})


def test_the_minute_forgets() -> None:
    memory = LaunchMemory().asking(5, EC2, EPOCH).asking(7, EC2, EPOCH + 30 * SECOND)
    assert memory.asked_within_a_minute(EPOCH + 59 * SECOND) == 12
    assert memory.asked_within_a_minute(EPOCH + 60 * SECOND) == 7
    assert len(memory.asking(1, EC2, EPOCH + 90 * SECOND).asked) == 1


def test_what_is_remembered_of_pools_is_bounded() -> None:
    memory = LaunchMemory()
    for number in range(500):
        memory = told(memory, error(LaunchErrorClass.CAPACITY, f"spot:type{number}:a"), after=number * SECOND / 10)
    assert len(memory.unavailable_pools) == 200
    assert "spot:type499:a" in memory.unavailable_pools


def test_requests_come_out_of_a_bucket_of_their_own() -> None:
    memory = LaunchMemory()
    for _ in range(50):
        memory = memory.asking(1, EC2, EPOCH)
    assert memory.requests_left(EPOCH) == 0
    assert memory.requests_left(EPOCH + SECOND) == 5
    assert LaunchMemory().asking(1_000, EC2, EPOCH, requests=2).requests_left(EPOCH) == 48


def test_launches_that_wait_for_the_budget_are_gathered() -> None:
    spent = LaunchMemory().asking(1_000, EC2, EPOCH)
    gathered = int(EC2.per_second * BATCH_WINDOW.total_seconds())
    before_enough = EPOCH + BATCH_WINDOW - timedelta(seconds=1)
    assert not spent.worth_asking(500, EC2, before_enough)
    assert spent.worth_asking(500, EC2, EPOCH + BATCH_WINDOW)
    assert spent.worth_asking(gathered - 1, EC2, EPOCH + BATCH_WINDOW)


def test_what_can_be_had_whole_is_asked_for_at_once() -> None:
    spent = LaunchMemory().asking(1_000, EC2, EPOCH)
    a_second_later = EPOCH + timedelta(seconds=1)
    assert spent.worth_asking(1, EC2, a_second_later)
    assert not spent.throttled(EPOCH, 0.5).worth_asking(1, EC2, a_second_later - timedelta(milliseconds=1))


def test_a_budget_smaller_than_a_gathering_is_asked_when_it_is_full() -> None:
    tiny = Budget(burst=3, per_second=1)
    spent = LaunchMemory().asking(3, tiny, EPOCH)
    assert not spent.worth_asking(9, tiny, EPOCH + timedelta(seconds=2))
    assert spent.worth_asking(9, tiny, EPOCH + timedelta(seconds=3))
