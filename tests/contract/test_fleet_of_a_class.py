"""What a class says of its disk and of spot, as the simulated EC2 understands it."""

import json
from decimal import Decimal
from typing import Any

import pytest

from agent_stack.adapters.ec2.requests import LaunchTemplate, shape
from agent_stack.adapters.ssm.class_document import ClassEntry
from agent_stack.domain.classes import VmClass, Volume
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType, SpotStrategy
from tests.contract.fleets import World, made, settings, templates
from tests.simulator.catalog import NoShapes
from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Ec2
from tests.simulator.cloud.images import Image
from tests.simulator.cloud.prices import spot as spot_price

ZONES = ("eu-central-1a", "eu-central-1b")
CHEAP, DEAR = sorted(ZONES, key=lambda zone: spot_price("m7i.large", zone))
BETWEEN = Decimal(str((spot_price("m7i.large", CHEAP) + spot_price("m7i.large", DEAR)) / 2))
DISK = {"Encrypted": True, "DeleteOnTermination": True}


def world(policy: LaunchPolicy | None = None, **changes: object) -> World:
    clock = VirtualClock()
    ec2 = Ec2(now=clock.now, settings=settings(**changes), launch_templates=templates)
    return made(ec2, clock, None, policy=policy or LaunchPolicy())


def of_entry(**members: object) -> VmClass:
    """The class that a document with these members makes."""
    entry = {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", **members}
    return ClassEntry.model_validate_json(json.dumps(entry)).to_class("default", NoShapes(), shipped=False)


def launched(where: World, vm_class: VmClass, count: int = 1) -> Any:  # noqa: ANN401  (the outcome)
    fields = {name: getattr(vm_class, name) for name in VmClass.__slots__ if name != "name"}
    return where.fleet.launch(where.fleet.render(where.order(count, **fields)))


@pytest.mark.parametrize(
    ("members", "disk"),
    [
        ({}, DISK),
        ({"volume_gib": 40}, {**DISK, "VolumeType": "gp3", "VolumeSize": 40}),
        ({"volume_throughput_mibs": 500}, {**DISK, "VolumeType": "gp3", "Throughput": 500}),
        (
            {"volume_gib": 200, "volume_iops": 16000, "volume_throughput_mibs": 1000},
            {**DISK, "VolumeType": "gp3", "VolumeSize": 200, "Iops": 16000, "Throughput": 1000},
        ),
        ({"volume_type": "gp2"}, {**DISK, "VolumeType": "gp2"}),
        (
            {"volume_type": "io2", "volume_gib": 100, "volume_iops": 64000},
            {**DISK, "VolumeType": "io2", "VolumeSize": 100, "Iops": 64000},
        ),
    ],
)
def test_a_vm_has_the_root_volume_of_its_class(members: dict[str, object], disk: dict[str, object]) -> None:
    where = world()
    outcome = launched(where, of_entry(**members))
    assert outcome.errors == ()
    (instance,) = where.ec2.instances()
    assert instance.volumes == {"/dev/xvda": disk}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"volume_type": "io1"}, "volume_type io1 needs volume_iops; add it, 100 to 64000"),
        ({"volume_type": "gp2", "volume_iops": 3000}, "volume_iops is not for volume_type gp2; leave it out"),
        ({"volume_iops": 2999}, "volume_iops is 2999; for gp3 set 3000 to 80000"),
        (
            {"volume_type": "io2", "volume_iops": 100, "volume_throughput_mibs": 250},
            "volume_throughput_mibs is not for volume_type io2",
        ),
        ({"volume_type": "io1", "volume_gib": 3, "volume_iops": 100}, "volume_gib is 3; for io1 set 4 to 16384"),
        ({"volume_type": "st1"}, "volume_type"),
        ({"volume_throughput_mibs": 2001}, "volume_throughput_mibs"),
        ({"spot_max_price": 0.05}, "spot_max_price is for spot VMs; set market to spot, or leave it out"),
        ({"spot_allocation_strategy": "lowest-price"}, "spot_allocation_strategy is for spot VMs"),
        ({"market": "spot", "spot_allocation_strategy": "diversified"}, "spot_allocation_strategy"),
        ({"market": "spot", "spot_max_price": 0.001}, "spot_max_price"),
        ({"market": "spot", "spot_max_price": "inf"}, "spot_max_price"),
        ({"on_demand_base": 1}, "on_demand_base is for classes with market spot; set market to spot, or leave it out"),
        ({"on_demand_percent": 5, "allow_markets": ["spot"]}, "on_demand_percent is for classes with market spot"),
        ({"market": "spot", "on_demand_percent": 100}, "on_demand_percent"),
    ],
)
def test_what_ec2_makes_for_nobody_is_refused_with_the_remedy(members: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        of_entry(**members)


def test_what_depends_on_the_size_is_refused_by_ec2_in_its_words() -> None:
    where = world()
    outcome = launched(where, of_entry(volume_gib=10, volume_iops=80000))
    assert {error.code for error in outcome.errors} == {"InvalidParameterCombination"}
    assert "ratio of 8000.0 is too high" in outcome.errors[0].message
    assert not where.ec2.instances()


@pytest.mark.parametrize(("gib", "codes"), [(29, {"InvalidBlockDeviceMapping"}), (30, set()), (None, set())])
def test_a_volume_smaller_than_the_image_s_disk_is_refused_by_ec2(gib: int | None, codes: set[str]) -> None:
    where = world()
    where.ec2.images.known["ami-0123456789abcdef0"] = Image(root_gib=30)
    outcome = launched(where, of_entry(**({} if gib is None else {"volume_gib": gib})))
    assert {error.code for error in outcome.errors} == codes
    assert bool(where.ec2.instances()) is not bool(codes)


DEARER, CHEAPER = sorted(("m7i.large", "m7a.large"), key=lambda kind: -min(spot_price(kind, zone) for zone in ZONES))


@pytest.mark.parametrize(
    ("strategy", "wanted"), [("lowest-price", CHEAPER), ("capacity-optimized-prioritized", DEARER), (None, CHEAPER)]
)
def test_spot_pools_are_chosen_by_the_strategy_of_the_class(strategy: str | None, wanted: str) -> None:
    named = {} if strategy is None else {"spot_allocation_strategy": strategy}
    outcome = launched(world(), of_entry(instance_types=[DEARER, CHEAPER], market="spot", **named), 2)
    assert {vm.instance_type for vm in outcome.vms} == {wanted}


def test_a_class_has_a_price_limit_of_its_own_over_that_of_the_stack() -> None:
    where = world(LaunchPolicy(spot_max_price=BETWEEN), capacity={f"spot:m7i.large:{CHEAP}": 0})
    assert launched(where, of_entry(market="spot")).vms == ()
    assert [vm.zone for vm in launched(where, of_entry(market="spot", spot_max_price="1.5")).vms] == [DEAR]


def test_a_job_that_chooses_spot_gets_the_strategy_and_the_price_of_the_class() -> None:
    vm_class = of_entry(allow_markets=["spot"], spot_allocation_strategy="lowest-price", spot_max_price=0.5)
    chosen = vm_class.chosen(instance_type=None, capacity_type=CapacityType.SPOT)
    assert isinstance(chosen, VmClass)
    assert (chosen.spot_strategy, chosen.spot_max_price) == (SpotStrategy.LOWEST_PRICE, Decimal("0.5"))


TEMPLATE = LaunchTemplate(template_id="lt-0123456789abcdef0", version="1")


def test_a_standby_vm_with_another_disk_is_stale_and_one_of_the_version_before_is_not() -> None:
    plain, sized, faster = of_entry(), of_entry(volume_gib=40), of_entry(volume_gib=40, volume_iops=4000)
    assert len({shape(one, TEMPLATE) for one in (plain, sized, faster)}) == 3
    assert shape(of_entry(volume_gib=40, volume_type="gp3"), TEMPLATE) == shape(sized, TEMPLATE)
    assert sized.volume == Volume(gib=40)
