"""What the stages may expect of a fleet: real botocore, over both ways to the fake EC2."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG, INTENT_TAG, MAX_BYTES, MAX_OVERRIDES
from agent_stack.domain.classes import Volume
from agent_stack.domain.errors import GiveUpError, LaunchPausedError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.launching import LaunchErrorClass
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType, VmState
from tests.contract.fleets import NOTHING_SET, SUBNETS, Computers, World, made, settings, templates
from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Ec2, Ec2Server, Settings, Subnet
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.prices import spot as spot_price

Build = Callable[..., World]


@pytest.fixture(params=["attached", "http"], ids=["attached, parsed by botocore", "http, parsed as in production"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(way: str) -> Iterator[Build]:
    servers: list[Ec2Server] = []

    def make(ec2_settings: Settings | None = None, policy: LaunchPolicy = NOTHING_SET) -> World:
        clock = VirtualClock()
        ec2 = Ec2(now=clock.now, settings=ec2_settings or settings(), launch_templates=templates, machines=Computers())
        url = None
        if way == "http":
            servers.append(Ec2Server(ec2))
            url = servers[-1].origin
        return made(ec2, clock, url, policy=policy)

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def world(build: Build) -> World:
    return build()


def test_one_request_launches_them_all_and_tells_where(world: World) -> None:
    outcome = world.fleet.launch(world.fleet.render(world.order(300)))
    assert len(outcome.vms) == 300
    assert outcome.errors == ()
    assert {(vm.state, vm.zone, vm.instance_type, vm.capacity_type) for vm in outcome.vms} == {
        (VmState.PENDING, "eu-central-1a", "m7i.large", CapacityType.ON_DEMAND)
    }
    assert [call.action for call in world.ec2.calls()].count("CreateFleet") == 1


def test_ec2_says_how_many_vcpus_a_vm_has(world: World) -> None:
    world.launch(2)
    assert [vm.vcpus for vm in world.fleet.describe()] == [2, 2]


def test_the_same_text_sent_again_launches_nothing_more(world: World) -> None:
    request = world.fleet.render(world.order(3))
    first, second = world.fleet.launch(request), world.fleet.launch(request)
    assert [vm.instance_id for vm in first.vms] == [vm.instance_id for vm in second.vms]
    assert len(world.ec2.instances()) == 3


def test_a_lost_answer_is_asked_for_again_with_the_same_token(world: World) -> None:
    world.ec2.faults.lose_answer("CreateFleet")
    assert len(world.launch(2)) == 2
    assert len(world.ec2.instances()) == 2


def test_an_answer_lost_for_good_leaves_the_outcome_unknown(world: World) -> None:
    world.ec2.faults.lose_answer("CreateFleet", times=10)
    with pytest.raises(UnknownOutcomeError):
        world.launch(2)
    assert {vm.intent_id for vm in world.fleet.describe()} != {None}


def test_a_throttle_that_lasts_launched_nothing(world: World) -> None:
    world.ec2.faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=10)
    with pytest.raises(RetryError):
        world.launch(1)
    assert not world.ec2.instances()


@pytest.mark.parametrize(("lost", "expected"), [(0, LaunchPausedError), (1, UnknownOutcomeError)])
def test_a_pause_stops_a_launch_between_two_tries(world: World, lost: int, expected: type[Exception]) -> None:
    """A try whose answer was lost may have launched: that stays unknown, paused or not."""
    world.ec2.faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=1 - lost)
    world.ec2.faults.lose_answer("CreateFleet", times=lost)
    answers = iter([True, False])
    with pytest.raises(expected):
        world.fleet.launch(world.fleet.render(world.order(1)), permitted=lambda: next(answers))
    assert [call.action for call in world.ec2.calls()].count("CreateFleet") == 1


def test_a_refusal_is_an_error_of_the_outcome(world: World) -> None:
    world.ec2.faults.fail("CreateFleet", "UnauthorizedOperation")
    outcome = world.fleet.launch(world.fleet.render(world.order(1)))
    assert [error.error_class for error in outcome.errors] == [LaunchErrorClass.CONFIGURATION]


def test_a_dry_pool_is_named_and_the_next_one_takes_the_rest(build: Build) -> None:
    world = build(settings(capacity={"on-demand:m7i.large:eu-central-1a": 2}))
    outcome = world.fleet.launch(world.fleet.render(world.order(5)))
    assert [vm.zone for vm in outcome.vms] == ["eu-central-1a"] * 2 + ["eu-central-1b"] * 3
    assert [(error.error_class, error.pool) for error in outcome.errors] == [
        (LaunchErrorClass.CAPACITY, "on-demand:m7i.large:eu-central-1a")
    ]


def test_a_request_says_of_which_types_it_may_bring_vms(world: World) -> None:
    types = ("c7i.large", "m7i.large")
    assert world.fleet.types_of(world.fleet.render(world.order(1, instance_types=types))) == set(types)
    of_a_number = '{"LaunchTemplateConfigs": [{"Overrides": [{"InstanceType": 5}]}]}'
    for unreadable in ("", "[]", '{"LaunchTemplateConfigs": [{}]}', of_a_number):
        assert world.fleet.types_of(unreadable) == set()


def test_the_operators_order_of_types_is_kept(world: World) -> None:
    outcome = world.fleet.launch(world.fleet.render(world.order(1, instance_types=("c7i.large", "m7i.large"))))
    assert [vm.instance_type for vm in outcome.vms] == ["c7i.large"]


def test_spot_is_asked_for_where_the_class_says_so(world: World) -> None:
    world.launch(1, capacity_type=CapacityType.SPOT)
    assert [vm.capacity_type for vm in world.fleet.describe()] == [CapacityType.SPOT]


ZONES = ("eu-central-1a", "eu-central-1b")
CHEAP, DEAR = sorted(ZONES, key=lambda zone: spot_price("m7i.large", zone))
BETWEEN = Decimal(str((spot_price("m7i.large", CHEAP) + spot_price("m7i.large", DEAR)) / 2))


def test_a_spot_pool_that_costs_more_than_the_limit_is_named_and_the_cheaper_one_is_used(build: Build) -> None:
    world = build(settings(capacity={f"spot:m7i.large:{CHEAP}": 2}), LaunchPolicy(spot_max_price=BETWEEN))
    outcome = world.fleet.launch(world.fleet.render(world.order(3, capacity_type=CapacityType.SPOT)))
    assert [vm.zone for vm in outcome.vms] == [CHEAP] * 2
    assert {(error.code, error.error_class, error.pool) for error in outcome.errors} == {
        ("InsufficientInstanceCapacity", LaunchErrorClass.CAPACITY, f"spot:m7i.large:{CHEAP}"),
        ("SpotMaxPriceTooLow", LaunchErrorClass.CAPACITY, f"spot:m7i.large:{DEAR}"),
    }


@pytest.mark.parametrize(
    ("capacity_type", "limit", "sent"),
    [
        (CapacityType.SPOT, Decimal("0.05"), {"0.05"}),
        (CapacityType.SPOT, Decimal("1E+1"), {"10"}),  # EC2 takes digits only
        (CapacityType.SPOT, None, {None}),
        (CapacityType.ON_DEMAND, Decimal("0.05"), {None}),
    ],
)
def test_a_price_limit_is_sent_with_spot_pools_only(
    build: Build, capacity_type: CapacityType, limit: Decimal | None, sent: set[str | None]
) -> None:
    named = overrides(build(policy=LaunchPolicy(spot_max_price=limit)), capacity_type=capacity_type)
    assert {one.get("MaxPrice") for one in named} == sent


def test_tags_for_the_bill_stand_on_all_that_a_launch_makes_beside_the_stacks_own(build: Build) -> None:
    world = build(policy=LaunchPolicy(cost_tags=("team=ci", "cost-center=a=b", "empty=")))
    rendered = world.fleet.render(world.order(1))
    by_kind = {
        one["ResourceType"]: {t["Key"]: t["Value"] for t in one["Tags"]}
        for one in json.loads(rendered)["TagSpecifications"]
    }
    assert set(by_kind) == {"instance", "volume", "network-interface"}
    for tags in by_kind.values():
        assert tags.items() >= {"team": "ci", "cost-center": "a=b", "empty": ""}.items()
        assert DEPLOYMENT_TAG in tags
    assert len(world.fleet.launch(rendered).vms) == 1


def overrides(world: World, **vm_class: object) -> list[dict[str, Any]]:
    request = json.loads(world.fleet.render(world.order(1, **vm_class)))
    named: list[dict[str, Any]] = request["LaunchTemplateConfigs"][0]["Overrides"]
    return named


def test_a_request_names_as_many_pools_as_ec2_takes_and_the_operators_first(world: World) -> None:
    types = tuple(f"m{number}.large" for number in range(200))
    named = overrides(world, instance_types=types)
    assert len(named) == MAX_OVERRIDES == 300
    assert [one["InstanceType"] for one in named] == [name for name in types[:150] for _ in SUBNETS]
    assert {one["SubnetId"] for one in named} == set(SUBNETS)


def test_an_image_by_parameter_is_left_to_ec2_and_its_root_volume_goes_by_its_own_name(world: World) -> None:
    image = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    named = overrides(world, image=image, root_device="/dev/sda1", volume=Volume(gib=80))
    assert {one["ImageId"] for one in named} == {image}
    (mapping,) = named[0]["BlockDeviceMappings"]
    assert mapping["DeviceName"] == "/dev/sda1"
    assert (mapping["Ebs"]["VolumeSize"], mapping["Ebs"]["Encrypted"]) == (80, True)


def test_the_root_volume_is_encrypted_with_the_operators_key(build: Build) -> None:
    world = build(policy=LaunchPolicy(volume_key_arn="arn:aws:kms:eu-central-1:123456789012:key/ours"))
    (mapping,) = overrides(world, root_device="/dev/xvda")[0]["BlockDeviceMappings"]
    assert mapping["Ebs"]["KmsKeyId"] == "arn:aws:kms:eu-central-1:123456789012:key/ours"


def crowded() -> World:
    """Two subnets in one zone, one in another; few addresses."""
    subnets = {
        "subnet-a": Subnet(zone="eu-central-1a", free_addresses=5),
        "subnet-b": Subnet(zone="eu-central-1b", free_addresses=4),
        "subnet-c": Subnet(zone="eu-central-1a", free_addresses=6),
    }
    clock = VirtualClock()
    ec2 = Ec2(now=clock.now, settings=settings(subnets=subnets), launch_templates=templates)
    return made(ec2, clock, None, subnets=tuple(subnets))


def test_two_subnets_of_one_zone_are_one_pool() -> None:
    assert {one["SubnetId"] for one in overrides(crowded())} == {"subnet-c", "subnet-b"}


def test_all_subnets_of_a_zone_are_used_to_the_last_address() -> None:
    world = crowded()
    for _ in range(3):
        world.launch(5)
    assert not any(world.ec2.network.free.values())


def test_a_subnet_that_is_full_says_nothing_of_a_zone_that_has_another() -> None:
    world = crowded()
    world.fleet.pools(world.order(1).vm_class, CapacityType.ON_DEMAND)
    world.ec2.network.free["subnet-c"] = 0  # another workload took them
    world.ec2.network.free["subnet-b"] = 0
    outcome = world.fleet.launch(world.fleet.render(world.order(3)))
    assert outcome.vms == ()
    assert [error.pool for error in outcome.errors] == ["on-demand:m7i.large:eu-central-1b"]
    assert len(world.launch(3)) == 3
    assert {vm.subnet_id for vm in world.ec2.instances()} == {"subnet-a"}


def test_a_subnet_that_is_gone_is_left_out_of_the_next_request() -> None:
    world = crowded()
    world.fleet.pools(world.order(1).vm_class, CapacityType.ON_DEMAND)
    world.ec2.network.delete("subnet-c")
    order = world.order(3)
    nothing_learnt = world.fleet.launch(world.fleet.render(order))
    assert (nothing_learnt.vms, nothing_learnt.errors) == ((), ())
    assert len(world.launch(3)) == 3
    world.ec2.network.delete("subnet-b")  # the only one of its zone
    outcome = world.fleet.launch(world.fleet.render(order))
    assert [error.code for error in outcome.errors] == ["InvalidSubnetID.NotFound"]
    assert {pool.rpartition(":")[2] for pool in world.fleet.pools(order.vm_class, CapacityType.SPOT)} == {
        "eu-central-1a"
    }
    assert world.telemetry.messages("ERROR") == ["subnet_gone", "subnet_gone"]


@pytest.mark.parametrize("image", ["ami-0123456789abcdef0", f"resolve:ssm:/agent-stack/images/{'x' * 900}"])
def test_a_request_is_bounded_in_bytes_and_keeps_the_first_pools(world: World, image: str) -> None:
    types = tuple(catalogue())[:150]
    request = world.fleet.render(world.order(500, instance_types=types, image=image, root_device="/dev/xvda"))
    assert len(request.encode()) <= MAX_BYTES
    (config,) = json.loads(request)["LaunchTemplateConfigs"]
    kept = [one["InstanceType"] for one in config["Overrides"]]
    assert kept == [name for name in types for _ in SUBNETS][: len(kept)]
    assert len(kept) >= 80


@pytest.mark.parametrize(
    ("vm_class", "option", "strategy"),
    [
        ({"capacity_type": CapacityType.SPOT}, "SpotOptions", "price-capacity-optimized"),
        ({}, "OnDemandOptions", "prioritized"),
        ({"ordered": False}, "OnDemandOptions", "lowest-price"),
    ],
)
def test_ec2_chooses_among_pools_as_the_market_and_the_operators_order_want(
    world: World, vm_class: dict[str, object], option: str, strategy: str
) -> None:
    request = json.loads(world.fleet.render(world.order(1, **vm_class)))
    assert request[option] == {"AllocationStrategy": strategy}
    assert request["Type"] == "instant"
    assert {kind["ResourceType"] for kind in request["TagSpecifications"]} == {
        "instance",
        "volume",
        "network-interface",
    }


def test_a_launch_takes_the_templates_user_data_and_overrides_none(world: World) -> None:
    """IAM has no condition for user data, so only the code can hold to it."""
    request = world.fleet.render(world.order(3, root_device="/dev/xvda", volume=Volume(gib=40)))
    assert "UserData" not in request
    world.fleet.launch(request)
    assert {instance.user_data for instance in world.ec2.instances()} == {b"#!/bin/sh"}


def test_only_our_own_vms_are_shown(world: World) -> None:
    ours = world.launch(2)
    world.ec2.launch_orphan(tags={DEPLOYMENT_TAG: "another"}, subnet_id="subnet-a")
    assert [vm.instance_id for vm in world.fleet.describe()] == ours
    assert [vm.instance_id for vm in world.fleet.describe_by_id(ours[:1])] == ours[:1]


def test_every_page_is_read(build: Build) -> None:
    world = build(settings(throttled=False))
    launched = world.launch(1_500)
    assert len(world.fleet.describe()) == len(launched) == 1_500


def test_a_fresh_vm_may_be_missing_without_an_error(build: Build) -> None:
    world = build(settings(describe_lag=timedelta(seconds=10)))
    launched = world.launch(1)
    assert world.fleet.describe() == world.fleet.describe_by_id(launched) == []
    world.clock.sleep(timedelta(seconds=10))
    assert [vm.instance_id for vm in world.fleet.describe()] == launched


def test_states_and_reasons_follow_the_vm(world: World) -> None:
    (instance_id,) = world.launch(1)
    world.clock.sleep(timedelta(seconds=20))
    assert [vm.state for vm in world.fleet.describe()] == [VmState.RUNNING]
    assert world.fleet.terminate([instance_id]) == {}
    assert [(vm.state, vm.reason) for vm in world.fleet.describe()] == [
        (VmState.SHUTTING_DOWN, "Client.UserInitiatedShutdown")
    ]
    world.clock.sleep(timedelta(seconds=40))
    assert [vm.state for vm in world.fleet.describe_by_id([instance_id])] == [VmState.TERMINATED]


def test_those_that_ended_are_shown_only_to_who_asks_for_them(build: Build) -> None:
    """At 1.5 jobs of three minutes a second, 5,000 VMs of the last hour would hide behind 270 live ones."""
    world = build(settings(throttled=False))
    ended, live = world.launch(450), world.launch(2)
    world.fleet.terminate(ended)
    world.clock.sleep(timedelta(seconds=60))

    def looks() -> int:
        return sum(call.action == "DescribeInstances" for call in world.ec2.calls())

    assert [vm.instance_id for vm in world.fleet.describe()] == live
    assert looks() == 1
    again = world.fleet.describe_by_id(ended)
    assert [vm.instance_id for vm in again] == ended
    assert {vm.state for vm in again} == {VmState.TERMINATED}
    assert looks() == 4  # EC2 takes 200 values of a filter


def test_everything_that_becomes_a_vm_is_read(world: World) -> None:
    (instance_id,) = world.launch(1, capacity_type=CapacityType.SPOT, instance_types=("c7i.large",))
    (instance,) = world.ec2.instances()
    world.ec2.interrupt_spot(instance_id)
    world.clock.sleep(timedelta(minutes=2))
    (vm,) = world.fleet.describe()
    assert (vm.instance_type, vm.zone, vm.capacity_type) == ("c7i.large", "eu-central-1a", CapacityType.SPOT)
    assert vm.launched_at == instance.launched_at
    assert vm.intent_id == instance.tags[INTENT_TAG]
    assert vm.arn.endswith(f":instance/{instance_id}")
    assert (vm.state, vm.reason) == (VmState.SHUTTING_DOWN, "Server.SpotInstanceTermination")


def test_a_page_that_fails_leaves_no_half_answer(build: Build) -> None:
    world = build(settings(throttled=False))
    world.launch(1_500)
    world.ec2.faults.fail("DescribeInstances", "RequestLimitExceeded", status=503, times=10)
    with pytest.raises(RetryError):
        world.fleet.describe()


def test_machines_that_fail_either_check_are_found(world: World) -> None:
    first, second, third = world.launch(3)
    world.clock.sleep(timedelta(seconds=20))
    world.ec2.impaired |= {first: "system-status.status", second: "instance-status.status"}
    assert world.fleet.impaired() == {first, second}
    world.fleet.terminate([first, third])
    assert world.fleet.impaired() == {second}


def test_many_unknown_ids_do_not_spare_the_others_either(build: Build) -> None:
    world = build(settings(throttled=False))
    launched = world.launch(1_200)
    unknown = [InstanceId(f"i-{number:017x}") for number in range(30)]
    mixed = sorted([*launched, *unknown])
    assert set(world.fleet.terminate(mixed)) == set(unknown)
    assert {vm.state for vm in world.fleet.describe()} == {VmState.SHUTTING_DOWN}
    assert sum(call.action == "TerminateInstances" for call in world.ec2.calls()) <= 4


def test_one_unknown_id_does_not_spare_the_others(world: World) -> None:
    launched = world.launch(3)
    unknown = InstanceId("i-0000000000000dead")
    refused = world.fleet.terminate([*launched, unknown])
    assert {instance_id: type(error) for instance_id, error in refused.items()} == {unknown: GiveUpError}
    assert {vm.state for vm in world.fleet.describe()} == {VmState.SHUTTING_DOWN}


def test_a_console_can_be_read_while_it_is_up_and_after_its_end(world: World) -> None:
    (instance_id,) = world.launch(1)
    assert world.fleet.console_output(instance_id) == ""
    world.clock.sleep(timedelta(seconds=20))
    world.ec2.advance()
    assert world.fleet.console_output(instance_id) == "héllo\r\nfrom the console"
    world.fleet.terminate([instance_id])
    world.clock.sleep(timedelta(seconds=60))
    assert world.fleet.console_output(instance_id) == "héllo\r\nfrom the console"


def test_the_console_of_an_unknown_vm_is_a_refusal_and_a_throttle_may_pass(world: World) -> None:
    with pytest.raises(GiveUpError):
        world.fleet.console_output(InstanceId("i-0000000000000dead"))
    (instance_id,) = world.launch(1)
    world.ec2.faults.fail("GetConsoleOutput", "RequestLimitExceeded", status=503, times=10)
    with pytest.raises(RetryError):
        world.fleet.console_output(instance_id)


def test_a_fleet_that_was_warmed_up_asks_for_no_subnet_when_the_first_job_comes(world: World) -> None:
    world.fleet.warm_up()
    assert [call.action for call in world.ec2.calls()] == ["DescribeSubnets"]
    world.launch(1)
    assert [call.action for call in world.ec2.calls()] == ["DescribeSubnets", "CreateFleet"]


def test_a_warm_up_that_fails_raises_nothing_and_is_made_up_for(world: World) -> None:
    world.ec2.faults.fail("DescribeSubnets", "RequestLimitExceeded", times=10)
    world.fleet.warm_up()
    world.ec2.faults.clear()
    world.clock.sleep(timedelta(seconds=10))
    assert len(world.launch(1)) == 1
