"""Answers of EC2 that have the right form and mean nonsense cost one VM at most, and no VM of another is shown."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG, HOLD_TAG, INTENT_TAG
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.states import VmState
from tests.contract.fleets import Computers, World, made, settings, templates
from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Ec2

Change = Callable[[dict[str, Any]], None]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
ODD_TIMES = [LONG_AGO, datetime(2099, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]


@pytest.fixture
def world() -> World:
    clock = VirtualClock()
    ec2 = Ec2(now=clock.now, settings=settings(), launch_templates=templates, machines=Computers())
    return made(ec2, clock, None)


def answers(world: World, operation: str, change: Change) -> None:
    """Each answer to that operation is changed on its way."""

    def changed(parsed: dict[str, Any], **_: object) -> None:
        change(parsed)

    world.fleet.client().meta.events.register(f"after-call.ec2.{operation}", changed)


def instances(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for reservation in parsed["Reservations"] for one in reservation["Instances"]]


def said(world: World) -> list[str]:
    return [str(fields["instance_id"]) for _, message, fields in world.telemetry.records if message == "vm_facts_odd"]


def set_first(name: str, value: object) -> Change:
    def change(parsed: dict[str, Any]) -> None:
        min(instances(parsed), key=lambda one: str(one["InstanceId"]))[name] = value

    return change


def without_tags(parsed: dict[str, Any]) -> None:
    min(instances(parsed), key=lambda one: str(one["InstanceId"])).pop("Tags")


@pytest.mark.parametrize("told", ODD_TIMES, ids=str)
def test_a_launch_time_that_cannot_be_true_counts_from_the_first_look(world: World, told: datetime) -> None:
    first, second = sorted(world.launch(2))
    world.clock.sleep(timedelta(minutes=3))
    began = world.clock.now()
    answers(world, "DescribeInstances", set_first("LaunchTime", told))
    shown = {vm.instance_id: vm.launched_at for vm in world.fleet.describe()}
    assert shown[first] == began, "it is neither ended now nor kept for ever"
    assert shown[second] < began
    world.clock.sleep(timedelta(hours=2))
    assert {vm.instance_id: vm.launched_at for vm in world.fleet.describe()}[first] == began, "it ages"
    assert said(world) == [first]


def test_a_vm_that_ec2_shows_without_our_tag_is_not_ours(world: World) -> None:
    first, second = sorted(world.launch(2))
    answers(world, "DescribeInstances", without_tags)
    for _ in range(2):
        assert [vm.instance_id for vm in world.fleet.describe()] == [second]
    assert said(world) == [first]


@pytest.mark.parametrize(
    ("name", "values", "ours"),
    [(DEPLOYMENT_TAG, ("stack", "other"), False), (DEPLOYMENT_TAG, ("stack", "stack"), True)]
    + [(name, ("1", "2"), True) for name in (INTENT_TAG, HOLD_TAG)],
)
def test_a_tag_that_is_given_twice_says_nothing_unless_both_agree(
    world: World, name: str, values: tuple[str, ...], ours: object
) -> None:
    (vm,) = world.launch(1)
    tags = [{"Key": DEPLOYMENT_TAG, "Value": "stack"}] if name != DEPLOYMENT_TAG else []
    tags += [{"Key": name, "Value": value} for value in values]
    answers(world, "DescribeInstances", set_first("Tags", tags))
    shown = {one.instance_id: one for one in world.fleet.describe()}
    assert set(shown) == ({vm} if ours else set())
    assert all((one.intent_id, one.hold) == (None, None) for one in shown.values())


def test_a_vm_on_two_pages_is_one_as_the_later_page_shows_it(world: World) -> None:
    first, second = sorted(world.launch(2))

    def twice(parsed: dict[str, Any]) -> None:
        again = deepcopy(min(instances(parsed), key=lambda one: str(one["InstanceId"])))
        again["State"] = {"Name": "shutting-down"}
        parsed["Reservations"].append({"Instances": [again]})

    answers(world, "DescribeInstances", twice)
    shown = [(vm.instance_id, vm.state) for vm in world.fleet.describe()]
    assert sorted(one for one, _ in shown) == [first, second]
    assert (first, VmState.SHUTTING_DOWN) in shown


def test_an_id_of_another_form_is_a_vm_like_any_other(world: World) -> None:
    _, second = sorted(world.launch(2))
    answers(world, "DescribeInstances", set_first("InstanceId", "vm/1?x=ü"))
    assert {vm.instance_id for vm in world.fleet.describe()} == {"vm/1?x=ü", second}
    assert set(world.fleet.terminate([InstanceId("vm/1?x=ü"), second])) <= {"vm/1?x=ü"}, "the other one ends"


def test_a_launch_that_names_a_vm_twice_has_it_once(world: World) -> None:
    answers(world, "CreateFleet", lambda parsed: parsed["Instances"].extend(deepcopy(parsed["Instances"])))
    named = world.launch(2)
    assert len(named) == len(set(named)) == 2
    assert not said(world)


def test_a_launch_that_names_more_vms_than_asked_for_has_as_many_as_asked_for(world: World) -> None:
    answers(world, "CreateFleet", lambda parsed: parsed["Instances"][-1]["InstanceIds"].append("i-0eeeeeeeeeeeeeeee"))
    assert len(world.launch(2)) == 2
    assert said(world) == ["i-0eeeeeeeeeeeeeeee"]
