"""How the fake EC2 chooses pools, and what images, subnets and disks do to a launch."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulator.cloud import Image, Subnet
from tests.simulator.cloud.prices import on_demand, spot
from tests.unit.simulator.region import SUBNETS, Region, codes, refusal

TYPES = ("m7i.large", "m7g.large", "r7i.large", "m6i.large")
CHEAPEST: dict[str, Any] = {"OnDemandOptions": {"AllocationStrategy": "lowest-price"}}
PRICE_CAPACITY: dict[str, Any] = {
    "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
    "capacity_type": "spot",
}
BOTH_ZONES = ("subnet-a", "subnet-b")


def pools(region: Region) -> list[tuple[str, str]]:
    return [(instance.instance_type, instance.zone) for instance in region.ec2.instances()]


def test_the_cheapest_on_demand_pool_is_taken_first_and_the_next_takes_the_rest() -> None:
    region = Region(capacity={"on-demand:m7g.large:zone-a": 1})
    answer = region.fleet(2, types=TYPES, **CHEAPEST)
    first, second, *_ = sorted(TYPES, key=on_demand)
    assert pools(region) == [(first, "zone-a"), (second, "zone-a")]
    assert codes(answer) == ["InsufficientInstanceCapacity"]


def test_the_operators_order_beats_the_price() -> None:
    region = Region()
    region.fleet(1, types=TYPES)
    assert pools(region) == [("m7i.large", "zone-a")]


def test_spot_takes_the_cheapest_pool_that_has_room_for_all() -> None:
    by_price = sorted(((kind, zone) for kind in TYPES for zone in ("zone-a", "zone-b")), key=lambda p: spot(*p))
    region = Region()
    region.fleet(3, types=TYPES, subnets=BOTH_ZONES, **PRICE_CAPACITY)
    assert pools(region) == [by_price[0]] * 3
    tight = Region(capacity={f"spot:{by_price[0][0]}:{by_price[0][1]}": 2})
    tight.fleet(3, types=TYPES, subnets=BOTH_ZONES, **PRICE_CAPACITY)
    assert pools(tight) == [by_price[1]] * 3
    cheap = Region(capacity={f"spot:{by_price[0][0]}:{by_price[0][1]}": 2})
    cheap.fleet(
        3, types=TYPES, subnets=BOTH_ZONES, capacity_type="spot", SpotOptions={"AllocationStrategy": "lowest-price"}
    )
    assert pools(cheap) == [by_price[0], by_price[0], by_price[1]]


def test_a_price_limit_below_the_price_of_spot_launches_nothing() -> None:
    region = Region()
    assert codes(region.fleet(1, capacity_type="spot", override={"MaxPrice": "0.001"})) == ["SpotMaxPriceTooLow"]
    assert codes(region.fleet(1, capacity_type="spot", override={"MaxPrice": "1.0"})) == []


@pytest.mark.parametrize("limit", ["0.0009", "0", "-1", "cheap", ""])
def test_a_price_limit_that_is_no_price_of_ec2_refuses_the_whole_request(limit: str) -> None:
    region = Region()
    with pytest.raises(ClientError, match="MaxPrice") as raised:
        region.fleet(1, capacity_type="spot", override={"MaxPrice": limit})
    assert refusal(raised) == "InvalidParameterValue"
    assert not region.ec2.instances()


def test_a_type_that_is_not_sold_on_spot_is_unsupported_there() -> None:
    assert codes(Region().fleet(1, types=("hpc7a.96xlarge",))) == []
    assert codes(Region().fleet(1, types=("hpc7a.96xlarge",), capacity_type="spot")) == ["Unsupported"]


def test_a_strategy_that_is_not_simulated_is_refused() -> None:
    with pytest.raises(ClientError, match="diversified"):
        Region().fleet(1, capacity_type="spot", SpotOptions={"AllocationStrategy": "diversified"})


# --- subnets ---


def test_a_subnet_runs_out_of_addresses_and_another_of_its_zone_does_not() -> None:
    region = Region(subnets={**SUBNETS, "subnet-a": Subnet(zone="zone-a", free_addresses=1)})
    answer = region.fleet(2)
    assert codes(answer) == ["InsufficientFreeAddressesInSubnet"]
    assert "'subnet-a'" in answer["Errors"][0]["ErrorMessage"]
    assert len(region.launch(2, subnets=("subnet-a2",))) == 2


def test_free_addresses_go_down_with_each_vm_and_come_back_with_its_end() -> None:
    region = Region(subnets={"subnet-a": Subnet(zone="zone-a", free_addresses=10)})

    def free() -> int:
        return int(region.client.describe_subnets()["Subnets"][0]["AvailableIpAddressCount"])

    ids = region.launch(3)
    assert free() == 7
    region.client.terminate_instances(InstanceIds=ids)
    region.clock.sleep(region.ec2._region.settings.shutting_down)
    assert free() == 10


def test_a_subnet_that_is_gone_fails_a_question_by_id_and_not_one_by_filter() -> None:
    region = Region()
    region.ec2.network.delete("subnet-b")
    with pytest.raises(ClientError) as raised:
        region.client.describe_subnets(SubnetIds=["subnet-a", "subnet-b"])
    assert refusal(raised) == "InvalidSubnetID.NotFound"
    by_filter = [{"Name": "subnet-id", "Values": ["subnet-a", "subnet-b"]}]
    shown = region.client.describe_subnets(Filters=by_filter)["Subnets"]
    assert [one["SubnetId"] for one in shown] == ["subnet-a"]
    with pytest.raises(ClientError) as raised:
        region.fleet(1, subnets=BOTH_ZONES)
    assert refusal(raised) == "InvalidSubnetID.NotFound"


def test_what_runs_in_a_subnet_that_is_gone_can_still_end() -> None:
    region = Region()
    ids = region.launch(1, subnets=("subnet-b",))
    region.ec2.network.delete("subnet-b")
    region.client.terminate_instances(InstanceIds=ids)
    region.clock.sleep(region.ec2._region.settings.shutting_down)
    assert region.states() == ["terminated"]


# --- images ---


@pytest.mark.parametrize(
    ("settings", "image", "code"),
    [
        ({"unknown_images": frozenset({"ami-1"})}, "ami-1", "InvalidAMIID.NotFound"),
        ({"images": {"ami-1": Image(state="disabled")}}, "ami-1", "InvalidAMIID.Unavailable"),
        ({"images": {"ami-1": Image(architecture="arm64")}}, "ami-1", "InvalidParameterValue"),
        ({"parameters": {}}, "resolve:ssm:/image", "InvalidParameterValue"),
        (
            {"parameters": {"/image": "ami-9"}, "unknown_images": frozenset({"ami-9"})},
            "resolve:ssm:/image",
            "InvalidAMIID.NotFound",
        ),
    ],
)
def test_an_image_that_cannot_be_launched_fails_its_pools(settings: dict[str, Any], image: str, code: str) -> None:
    answer = Region(**settings).fleet(1, override={"ImageId": image})
    assert (answer["Instances"], codes(answer)) == ([], [code])


def test_an_image_of_one_architecture_launches_the_types_that_have_it() -> None:
    region = Region(images={"ami-1": Image(architecture="arm64")})
    answer = region.fleet(1, types=("m7i.large", "m7g.large"))
    assert codes(answer) == ["InvalidParameterValue"]
    assert "does not match the architecture 'arm64' of the specified AMI" in answer["Errors"][0]["ErrorMessage"]
    assert pools(region) == [("m7g.large", "zone-a")]


def test_a_parameter_names_the_image_and_can_name_another_later() -> None:
    region = Region(parameters={"/image": "ami-1"})
    region.fleet(1, override={"ImageId": "resolve:ssm:/image"})
    region.ec2.images.parameters = {"/image": "ami-2"}
    region.fleet(1, override={"ImageId": "resolve:ssm:/image"})
    assert [instance.image_id for instance in region.ec2.instances()] == ["ami-1", "ami-2"]


def test_images_are_described_with_their_root_device_and_state() -> None:
    region = Region(images={"ami-2": Image(root_device="/dev/sda1", architecture="arm64", state="pending")})
    first, second = region.client.describe_images(ImageIds=["ami-1", "ami-2"])["Images"]
    assert (first["RootDeviceName"], first["State"]) == ("/dev/xvda", "available")
    assert (second["RootDeviceName"], second["Architecture"], second["State"]) == ("/dev/sda1", "arm64", "pending")
    region.ec2.images.unknown.add("ami-2")
    with pytest.raises(ClientError, match="ami-2"):
        region.client.describe_images(ImageIds=["ami-1", "ami-2"])


@pytest.mark.parametrize(("asked", "disks"), [("/dev/xvda", ["/dev/xvda"]), ("/dev/sda1", ["/dev/xvda", "/dev/sda1"])])
def test_a_volume_under_a_wrong_root_device_is_a_second_disk_and_no_error(asked: str, disks: list[str]) -> None:
    region = Region()
    answer = region.fleet(1, override={"BlockDeviceMappings": [{"DeviceName": asked, "Ebs": {"VolumeSize": 50}}]})
    assert answer["Errors"] == []
    (shown,) = region.client.describe_instances()["Reservations"][0]["Instances"]
    assert [disk["DeviceName"] for disk in shown["BlockDeviceMappings"]] == disks
    assert shown["RootDeviceName"] == "/dev/xvda"
