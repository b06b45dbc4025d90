"""What EC2 teaches, and for how long it is believed."""

from datetime import timedelta

import pytest

from agent_stack.domain.backoff import CALLS_OF_A_LAUNCH, CALLS_PER_MINUTE, CALLS_PER_MINUTE_OF_ALL
from agent_stack.domain.breakers import ACCOUNT, BREAKER_FIRST, BREAKER_LAST, MAX_BREAKERS, opened
from agent_stack.domain.budgets import BATCH_WINDOW, Budget
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchErrorClass
from agent_stack.domain.lessons import MAX_WORDS, failed
from agent_stack.domain.states import CapacityType
from agent_stack.domain.unavailable import UNAVAILABLE_FOR, choose_capacity_type
from tests.simulator.clock import EPOCH
from tests.unit.domain.lessons import NAME, OTHER, POOLS, a_class, answered, at

EC2 = Budget(burst=1_000, per_second=2)
SECOND = timedelta(seconds=1)
ON_DEMAND, SPOT = CapacityType.ON_DEMAND, CapacityType.SPOT
OLD = LaunchMemory(began_at=EPOCH - timedelta(hours=1))


def error(code: str, pool: str = "", message: str = "words") -> LaunchError:
    return LaunchError(error_class=LaunchErrorClass.CAPACITY, code=code, message=message, pool=pool)


@pytest.mark.parametrize(
    ("open_pools", "failing", "fallback", "capacity_type"),
    [
        ({SPOT: True, ON_DEMAND: True}, (), False, SPOT),
        ({SPOT: True, ON_DEMAND: True}, (), True, SPOT),
        ({SPOT: False, ON_DEMAND: True}, (), False, None),
        ({SPOT: False, ON_DEMAND: True}, (), True, ON_DEMAND),
        ({SPOT: True, ON_DEMAND: True}, (SPOT,), True, ON_DEMAND),
        ({SPOT: True, ON_DEMAND: True}, (SPOT,), False, None),
        ({SPOT: False, ON_DEMAND: False}, (), True, None),
    ],
)
def test_on_demand_is_asked_only_when_spot_has_nothing_and_the_class_allows_it(
    open_pools: dict[CapacityType, bool],
    failing: tuple[CapacityType, ...],
    fallback: bool,  # noqa: FBT001  (of the class)
    capacity_type: CapacityType | None,
) -> None:
    wanted = a_class(capacity_type=SPOT, fallback=fallback)
    assert choose_capacity_type(wanted, open_pools, frozenset(failing)) is capacity_type


def test_a_wrong_class_is_left_alone_longer_each_time_and_forgiven_at_once() -> None:
    memory, now, rests = OLD, 0.0, []
    for _ in range(6):
        memory = answered(memory, error("InvalidAMIID.NotFound"), after=now)
        breaker = memory.breaker(NAME, at(now))
        assert breaker is not None
        rests.append(breaker.until - at(now))
        now = (breaker.until - EPOCH).total_seconds()
        assert memory.breaker(NAME, at(now)) is None
    assert rests[:3] == [BREAKER_FIRST, 2 * BREAKER_FIRST, 4 * BREAKER_FIRST]
    assert max(rests) == BREAKER_LAST
    assert answered(memory, launched=1, after=now).breakers == {}


def test_several_errors_of_one_class_while_its_breaker_is_open_are_one_failure() -> None:
    first = opened({}, NAME, "first", EPOCH, definite=True)
    assert opened(first, NAME, "second", EPOCH, definite=True) == first
    again = opened(first, NAME, "second", EPOCH + BREAKER_FIRST, definite=True)[NAME]
    assert (again.failures, again.since, again.message) == (2, EPOCH, "second")


def test_breakers_are_bounded_whatever_types_jobs_choose() -> None:
    memory = OLD
    for number in range(200):
        chosen = a_class(ClassName(f"default/m7i.{number}xlarge"))
        memory = answered(memory, error("InvalidAMIID.NotFound"), vm_class=chosen, after=float(number))
    assert len(memory.breakers) == MAX_BREAKERS
    assert len(memory.last_error_by_class) == 1


def test_a_class_is_wrong_only_when_all_of_its_types_are() -> None:
    first, second = POOLS[ON_DEMAND][0], POOLS[ON_DEMAND][2]
    memory = answered(OLD, error("InvalidParameterValue", first), error("InsufficientInstanceCapacity", second))
    assert memory.breakers == {}
    memory = answered(memory, error("InvalidParameterValue", second), after=10)
    assert memory.breaker(NAME, at(10)) is not None


def test_unlisted_codes_make_a_class_suspicious_only_after_a_minute_in_every_pool_and_never_definitely() -> None:
    memory, now = OLD, 0.0
    while now < 60:
        memory = answered(memory, *(error("NeverHeardOf", pool) for pool in POOLS[ON_DEMAND]), after=now)
        assert memory.breaker(NAME, at(now)) is None
        now += 31
    partly = answered(memory, *(error("NeverHeardOf", pool) for pool in POOLS[ON_DEMAND][:3]), after=now + 40)
    assert partly.breaker(NAME, at(now + 40)) is None
    memory = answered(memory, *(error("NeverHeardOf", pool) for pool in POOLS[ON_DEMAND]), after=now)
    breaker = memory.breaker(NAME, at(now))
    assert breaker is not None
    assert not breaker.definite


def test_the_account_is_to_blame_only_when_every_class_that_asked_was_refused_and_none_got_a_vm() -> None:
    other = a_class(OTHER)
    denied = error("UnauthorizedOperation")
    memory = answered(OLD, denied)
    assert ACCOUNT not in memory.breakers
    assert ACCOUNT in answered(memory, denied, vm_class=other, after=60).breakers
    assert ACCOUNT not in answered(memory, denied, vm_class=other, after=301).breakers
    worked = answered(memory, launched=1, vm_class=other, after=30)
    assert ACCOUNT not in answered(worked, denied, vm_class=other, after=60).breakers
    assert ACCOUNT in answered(OLD, denied, other_classes=False).breakers


def test_a_suspicion_about_the_account_keeps_no_class_back_that_was_not_refused() -> None:
    memory = answered(
        answered(OLD, error("UnauthorizedOperation")), error("UnauthorizedOperation"), vm_class=a_class(OTHER)
    )
    assert memory.breaker(ClassName("third"), EPOCH) is None
    definite = answered(OLD, error("PendingVerification"))
    assert definite.breaker(ClassName("third"), EPOCH) is not None


def test_a_new_role_is_given_five_minutes() -> None:
    memory = answered(LaunchMemory(), error("UnauthorizedOperation"))
    assert memory.breakers == {}
    assert answered(memory, error("UnauthorizedOperation"), after=299).breakers == {}
    assert NAME in answered(memory, error("UnauthorizedOperation"), after=300).breakers
    worked = answered(memory, launched=1, after=10)
    assert NAME in answered(worked, error("UnauthorizedOperation"), after=20).breakers


def test_throttles_are_followed_by_longer_pauses_and_forgotten_after_a_success() -> None:
    memory, now, pauses = OLD, 0.0, []
    for _ in range(7):
        memory = answered(memory, error("RequestLimitExceeded"), after=now)
        assert memory.granted(EC2, at(now)) == 0
        assert memory.pause is not None
        pauses.append((memory.pause.until - at(now)).total_seconds())
        assert memory.paused(at(now))
        now = (memory.pause.until - EPOCH).total_seconds()
        assert not memory.paused(at(now))
    assert pauses == [1, 2, 4, 8, 15, 15, 15]
    assert answered(memory, launched=1, after=now).pause is None


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_a_class_in_which_nothing_works_makes_six_calls_a_minute(jitter: float) -> None:
    memory, calls = OLD, []
    for second in range(1_200):
        if memory.may_ask(NAME, ON_DEMAND, at(second)):
            memory = failed(memory, NAME, ON_DEMAND, "no answer", at(second), jitter)
            calls += [second] * CALLS_OF_A_LAUNCH
    assert len(calls) > 10
    for second in range(1_140):
        assert sum(second <= call < second + 60 for call in calls) <= CALLS_PER_MINUTE


def test_all_of_them_together_make_thirty_and_one_that_works_is_not_among_them() -> None:
    memory, calls = OLD, []
    names = [ClassName(f"c{number}") for number in range(20)]
    for second in range(300):
        for name in names:
            if memory.may_ask(name, ON_DEMAND, at(second)):
                memory = failed(memory, name, ON_DEMAND, "no answer", at(second), 0.0)
                calls += [second] * CALLS_OF_A_LAUNCH
    for second in range(60, 240):  # the first call of each class is how it is found out
        assert sum(second <= call < second + 60 for call in calls) <= CALLS_PER_MINUTE_OF_ALL
        assert memory.may_ask(OTHER, ON_DEMAND, at(second))


def test_a_vm_ends_all_backing_off() -> None:
    memory = failed(OLD, NAME, ON_DEMAND, "no answer", EPOCH, 0.5)
    assert answered(memory, launched=1, after=5).backoffs == {}


def test_what_is_remembered_is_bounded() -> None:
    memory = OLD
    for number in range(500):
        vm_class = a_class(ClassName(f"c{number}"))
        memory = answered(
            memory,
            error("InsufficientInstanceCapacity", f"spot:type{number}:a"),
            error("InternalError"),
            vm_class=vm_class,
            after=number / 10,
        )
    assert len(memory.unavailable_pools) == 200
    assert "spot:type499:a" in memory.unavailable_pools
    assert len(memory.last_error_by_class) <= MAX_WORDS
    assert len(memory.seen) <= MAX_WORDS
    assert len(memory.backoffs) <= MAX_WORDS + 1
    assert memory.unavailable(at(50) + UNAVAILABLE_FOR) == frozenset()


def test_both_capacity_types_of_a_class_share_its_six_calls() -> None:
    memory, calls = OLD, []
    for second in range(600):
        for kind in (SPOT, ON_DEMAND):
            if memory.may_ask(NAME, kind, at(second)):
                memory = failed(memory, NAME, kind, "no answer", at(second), 0.0)
                calls += [second] * CALLS_OF_A_LAUNCH
    for second in range(540):
        assert sum(second <= call < second + 60 for call in calls) <= CALLS_PER_MINUTE


def test_what_is_asked_for_comes_out_of_the_bucket_and_grows_back() -> None:
    memory = LaunchMemory().asking(900, EC2, EPOCH)
    assert memory.granted(EC2, EPOCH) == 100
    assert memory.granted(EC2, EPOCH + 10 * SECOND) == 120
    assert memory.granted(EC2, EPOCH, 30 * SECOND) == 160
    assert memory.granted(EC2, EPOCH + timedelta(hours=1)) == 1_000


def test_the_minute_forgets() -> None:
    memory = LaunchMemory().asking(5, EC2, EPOCH).asking(7, EC2, EPOCH + 30 * SECOND)
    assert memory.asked_within_a_minute(EPOCH + 59 * SECOND) == 12
    assert memory.asked_within_a_minute(EPOCH + 60 * SECOND) == 7
    assert len(memory.asking(1, EC2, EPOCH + 90 * SECOND).asked) == 1


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
