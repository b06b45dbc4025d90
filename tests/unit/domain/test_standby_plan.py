"""What is missing, stale or too many of a class's standby VMs. Pure arithmetic."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId
from agent_stack.domain.standby import LAST_MINUTE, NOT_SHOWN_YET, ClassPool, Closing, StandbyVm, in_turn
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.states import VmState
from tests.simulator.clock import EPOCH
from tests.unit.domain.test_standby_schedule import standby, window
from tests.unit.values import a_vm

MINUTE = timedelta(minutes=1)
LEAD = 5 * MINUTE
NOON = EPOCH.replace(hour=12, minute=0, second=0, microsecond=0)


def one(number: int = 1, *, age: float = 30, hold: float = 240, now: datetime = NOON, **changes: Any) -> StandbyVm:  # noqa: ANN401  (a VM's own)
    values: dict[str, Any] = {
        "instance_id": InstanceId(f"i-{number:04}"),
        "arn": InstanceArn(f"arn:i-{number:04}"),
        "class_name": ClassName("small"),
        "launched_at": now - MINUTE * age,
        "hold": MINUTE * hold,
        "shape": "new",
        "state": VmState.RUNNING,
        **changes,
    }
    return StandbyVm(**values)


def pool(*vms: StandbyVm, hot: int = 2, coming: int = 0, now: datetime = NOON, **changes: Any) -> ClassPool:  # noqa: ANN401  (a pool's own)
    values = {"standby": standby(hot=hot), "coming": coming, "shape": "new", "lead": LEAD, **changes}
    return ClassPool(vms=vms, now=now, **values)


def closed(of: ClassPool, **suspended: Any) -> dict[str, Closing]:  # noqa: ANN401  (a plan's own)
    return {vm.instance_id: why for vm, why in of.plan(0.5, **suspended).closing}


def missing(of: ClassPool) -> int:
    return len(of.plan(0.5).holds)


def test_what_is_wanted_and_neither_there_nor_coming_is_missing() -> None:
    assert [missing(pool(hot=3)), missing(pool(one(), hot=3)), missing(pool(one(), hot=3, coming=1))] == [3, 2, 1]
    assert missing(pool(one(), hot=3, coming=5)) == 0


@pytest.mark.parametrize("changes", [{"closing": Closing.AGE}, {"state": VmState.TERMINATED}, {"age": 239.5}])
def test_a_vm_that_is_closed_gone_or_at_its_end_stands_for_none(changes: dict[str, Any]) -> None:
    assert missing(pool(one(**changes), hot=1)) == 1


def test_a_vm_is_replaced_before_its_hold_is_over_and_closed_in_its_last_minute() -> None:
    old = one(age=236)
    assert missing(pool(old, hot=1)) == 1
    assert closed(pool(old, hot=1)) == {}
    assert closed(pool(one(age=239.5), hot=1)) == {"i-0001": Closing.AGE}


def test_an_old_vm_goes_once_its_replacement_is_ready() -> None:
    old = one(1, age=236)
    assert closed(pool(old, one(2, age=3), hot=1)) == {}
    assert closed(pool(old, one(2, age=6), hot=1)) == {"i-0001": Closing.AGE}


def test_a_lower_greatest_age_holds_for_vms_that_are_up_too_and_their_replacements_come_first() -> None:
    lower: dict[str, Any] = {"standby": standby(hot=2, minutes=20)}
    old, young = one(1, age=100), one(2, age=10)
    assert missing(pool(old, young, **lower)) == 1
    assert closed(pool(old, young, **lower)) == {}
    assert closed(pool(old, young, one(3, age=6, hold=20), **lower)) == {"i-0001": Closing.AGE}
    assert missing(pool(one(1, age=1, hold=24 + 5), **lower)) == 1, "so long one may stand by that was asked for early"


def test_stale_vms_are_replaced_one_by_one_and_the_pool_is_never_empty() -> None:
    """A deployment with a full pool, minute by minute."""
    vms = [one(number, age=10, hold=1000, shape="old") for number in range(10)]
    now, launched, fewest = NOON, 100, 10
    for _ in range(120):
        plan = pool(*vms, hot=10, now=now).plan(0.5)
        assert len(plan.holds) + sum(vm.shape == "new" and not vm.is_ready(now, LEAD) for vm in vms) <= 1
        gone = {vm.instance_id for vm, _ in plan.closing}
        vms = [vm for vm in vms if vm.instance_id not in gone]
        for hold in plan.holds:
            launched += 1
            vms.append(one(launched, age=0, hold=hold / MINUTE, now=now))
        fewest = min(fewest, sum(vm.is_ready(now, LEAD) for vm in vms))
        now += MINUTE
    assert fewest >= 9
    assert {vm.shape for vm in vms} == {"new"}
    assert len(vms) == 10


def test_a_lower_number_ends_those_that_are_worth_least() -> None:
    vms = (one(1, hold=240), one(2, hold=300), one(3, age=1, hold=999), one(4, hold=100, shape="old"))
    assert closed(pool(*vms, hot=1)) == {
        "i-0001": Closing.SCALE_DOWN,
        "i-0003": Closing.SCALE_DOWN,
        "i-0004": Closing.STALE,
    }
    assert set(closed(pool(*vms, hot=0)).values()) == {Closing.SCALE_DOWN}


def test_a_class_whose_standby_is_suspended_asks_for_nothing_and_ends_all() -> None:
    suspended = pool(one(1), one(2), hot=5).plan(0.5, suspended=Closing.MISSES)
    assert suspended.holds == ()
    assert len(suspended.closing) == 2


def test_a_window_is_prepared_for_before_it_opens_and_its_vms_end_with_it() -> None:
    opens = standby(window("13:00", "15:00", hot=5, zone=NOON.tzinfo), hot=1)  # type: ignore[arg-type]  # UTC in either form
    at = {minutes: NOON + MINUTE * minutes for minutes in (50, 55, 116 + 60, 178)}
    holds = {m: pool(one(hold=900, now=t), standby=opens, now=t).plan(0.5).holds for m, t in at.items()}
    assert holds[50] == ()
    assert holds[55] == (MINUTE * 125,) * 4
    assert holds[176] == (), "for less than five minutes nothing boots"
    assert holds[178] == ()


def launches(wants: Standby, lead: timedelta, hours: int = 3) -> int:
    """How many VMs are asked for until then, with a plan every five seconds."""
    vms: list[StandbyVm] = []
    now, asked, plans = NOON, 0, 0
    while now < NOON + hours * 60 * MINUTE:
        plan = pool(*vms, standby=wants, lead=lead, now=now).plan(plans % 7 / 7)
        plans += 1  # each plan draws anew, also when it asks for nothing
        gone = {vm.instance_id for vm, _ in plan.closing}
        vms = [vm for vm in vms if vm.instance_id not in gone and now < vm.expires_at]
        for hold in plan.holds:
            asked += 1
            second = now.replace(second=now.second // 2 * 2)  # EC2's times are a little off
            vms.append(one(asked, age=0, hold=hold / MINUTE, now=second))
        now += timedelta(seconds=5)
    return asked


@pytest.mark.parametrize("boot", [1, 3, 5, 10, 30])
def test_a_window_s_vms_are_asked_for_once_however_long_a_boot_may_take(boot: int) -> None:
    """Near its end a new VM would not last either, so the old ones would be replaced with every plan."""
    opens = standby(window("13:00", "14:30", hot=4, zone=NOON.tzinfo), hot=0)  # type: ignore[arg-type]  # UTC in either form
    assert launches(opens, MINUTE * boot) == 4


@pytest.mark.parametrize(("boot", "length"), [(30, 20), (30, 5), (5, 4), (54, 30), (10, 9)])
def test_the_vms_of_a_window_shorter_than_a_boot_may_take_are_ready_in_it(boot: int, length: int) -> None:
    """They are asked for so long before that the window is over when one asked for a little later is ready."""
    opens = standby(window("13:00", f"13:{length:02}", hot=4, zone=NOON.tzinfo), hot=0)  # type: ignore[arg-type]  # UTC in either form
    vms: list[StandbyVm] = []
    asked, ready = 0, []
    for minute in range(60 + length - 1):
        now = NOON + MINUTE * minute
        plan = pool(*vms, standby=opens, lead=MINUTE * boot, now=now).plan(0.5)
        gone = {vm.instance_id for vm, _ in plan.closing}
        vms = [vm for vm in vms if vm.instance_id not in gone]
        vms += [one(asked + n, age=0, hold=hold / MINUTE, now=now) for n, hold in enumerate(plan.holds)]
        asked += len(plan.holds)
        if minute >= 60:
            ready.append(sum(vm.is_ready(now, MINUTE * boot) for vm in vms))
    assert (asked, set(ready)) == (4, {4})


@pytest.mark.parametrize("boot", [9, 11, 54])
def test_a_vm_that_ends_before_its_preparation_may_is_never_asked_for(boot: int) -> None:
    """It would be replaced before it is ready, again and again."""
    assert launches(standby(hot=2, minutes=10), MINUTE * boot) == 0


def test_a_vm_that_outlasts_its_preparation_is_asked_for() -> None:
    assert missing(pool(standby=standby(hot=2, minutes=10), lead=6 * MINUTE)) == 2


def test_a_vm_that_ec2_does_not_show_is_fresh_and_later_gone() -> None:
    unseen = one(age=0, state=VmState.PENDING)
    assert unseen.seen(None, NOON + NOT_SHOWN_YET / 2).state is VmState.PENDING
    assert unseen.seen(None, NOON + NOT_SHOWN_YET).state is VmState.TERMINATED
    assert unseen.seen(a_vm(state=VmState.RUNNING), NOON).state is VmState.RUNNING


def test_jobs_take_ready_vms_first_stale_ones_last_of_them_and_none_that_is_about_to_end() -> None:
    vms = [one(1, age=2), one(2, shape="old", age=90), one(3, age=20), one(4, age=40), one(5, age=239.5)]
    assert [vm.instance_id for vm in in_turn(vms, "new", LEAD, NOON)] == ["i-0004", "i-0003", "i-0002", "i-0001"]


@given(
    st.lists(st.tuples(st.floats(0, 250), st.floats(10, 250), st.booleans()), max_size=12),
    st.integers(0, 8),
    st.integers(0, 4),
)
def test_no_plan_asks_for_more_than_one_above_what_is_wanted_or_closes_what_it_lacks(
    ages: list[tuple[float, float, bool]], hot: int, coming: int
) -> None:
    vms = [one(n, age=age, hold=hold, shape="new" if new else "old") for n, (age, hold, new) in enumerate(ages)]
    plan = pool(*vms, hot=hot, coming=coming).plan(0.5)
    gone = {vm.instance_id for vm, _ in plan.closing}
    left = [vm for vm in vms if vm.instance_id not in gone]
    lasting = [vm for vm in left if vm.expires_at - LAST_MINUTE > NOON + LEAD]
    assert not plan.holds or len(lasting) + len(plan.holds) + coming <= max(hot, 0) + 1
    ready = [vm for vm in vms if vm.is_open(NOON) and vm.is_ready(NOON, LEAD)]
    assert sum(vm in left for vm in ready) >= min(hot, len(ready))
