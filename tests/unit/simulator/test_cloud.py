"""The fake EC2 keeps to what is documented of the real one, through real botocore without sockets."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.simulator.cloud import StateChange
from tests.unit.simulator.region import SECOND, Computers, Region, refusal


def test_an_instance_takes_its_time_to_run_and_to_end() -> None:
    region = Region()
    (instance_id,) = region.launch()
    assert region.states() == ["pending"]
    region.clock.sleep(20 * SECOND)
    assert region.states() == ["running"]
    region.client.terminate_instances(InstanceIds=[instance_id])
    assert region.states() == ["shutting-down"]
    region.clock.sleep(30 * SECOND)
    assert region.states() == ["terminated"]
    region.clock.sleep(timedelta(hours=1, seconds=1))
    assert region.states() == []


def test_a_token_launches_once_and_never_something_else() -> None:
    region = Region()
    first, second = region.launch(2, ClientToken="t"), region.launch(2, ClientToken="t")
    assert first == second
    assert len(region.ec2.instances()) == 2
    with pytest.raises(ClientError) as raised:
        region.launch(3, ClientToken="t")
    assert refusal(raised) == "IdempotentParameterMismatch"


def test_a_replayed_answer_names_instances_that_are_dead_by_now() -> None:
    region = Region()
    (instance_id,) = region.launch(ClientToken="t")
    region.client.terminate_instances(InstanceIds=[instance_id])
    region.clock.sleep(60 * SECOND)
    assert region.launch(ClientToken="t") == [instance_id]


def test_a_dry_pool_is_an_error_inside_a_good_answer() -> None:
    region = Region(capacity={"on-demand:m7i.large:zone-a": 1})
    answer = region.fleet(3)
    assert [len(group["InstanceIds"]) for group in answer["Instances"]] == [1]
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InsufficientInstanceCapacity"]


def test_an_image_that_is_not_there_is_refused_at_launch() -> None:
    region = Region(unknown_images=frozenset({"ami-1"}))
    answer = region.fleet()
    assert answer["Instances"] == []
    assert answer["Errors"][0]["ErrorCode"] == "InvalidAMIID.NotFound"


def test_two_subnets_of_one_zone_are_one_pool_twice() -> None:
    with pytest.raises(ClientError) as raised:
        Region().fleet(subnets=("subnet-a", "subnet-a2"))
    assert refusal(raised) == "InvalidFleetConfig"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subnets": ("subnet-z",)}, "InvalidSubnetID.NotFound"),
        ({"ClientToken": "x" * 65}, "InvalidParameterValue"),
        ({"TagSpecifications": [{"ResourceType": "spot-instances-request", "Tags": []}]}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_request_is_refused_as_a_whole(change: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        Region().fleet(**change)
    assert refusal(raised) == code


def test_requests_and_instances_come_out_of_buckets() -> None:
    region = Region()
    assert len(region.launch(1_200)) == 1_000
    assert region.fleet(10)["Errors"][0]["ErrorCode"] == "RequestLimitExceeded"
    region.clock.sleep(5 * SECOND)
    assert len(region.launch(20)) == 10
    for _ in range(49):  # 50 at once; the second between brought five more than the two that were used
        region.fleet(1)
    with pytest.raises(ClientError) as raised:
        region.fleet(1)
    assert refusal(raised) == "RequestLimitExceeded"


def test_a_throttle_can_hide_inside_a_good_answer() -> None:
    region = Region()
    region.ec2.faults.errors_in_answer("RequestLimitExceeded")
    answer = region.fleet(ClientToken="t")
    assert (answer["Instances"], answer["Errors"][0]["ErrorCode"]) == ([], "RequestLimitExceeded")
    assert region.fleet(ClientToken="t")["Instances"] == []


def test_a_fresh_instance_is_missing_for_a_while() -> None:
    region = Region(describe_lag=5 * SECOND)
    (instance_id,) = region.launch()
    assert region.states() == []
    with pytest.raises(ClientError) as raised:
        region.client.terminate_instances(InstanceIds=[instance_id])
    assert refusal(raised) == "InvalidInstanceID.NotFound"
    region.clock.sleep(5 * SECOND)
    assert len(region.states()) == 1


def test_an_answer_can_be_lost_after_the_effect() -> None:
    region = Region()
    region.ec2.faults.lose_answer("CreateFleet")
    with pytest.raises(ConnectionClosedError):
        region.fleet(2)
    assert len(region.ec2.instances()) == 2


def test_one_unknown_id_fails_a_whole_termination() -> None:
    region = Region()
    launched = region.launch(2)
    with pytest.raises(ClientError) as raised:
        region.client.terminate_instances(InstanceIds=[*launched, "i-dead"])
    assert "i-dead" in str(raised.value)
    assert set(region.states()) == {"pending"}


def test_pages_do_not_go_with_ids() -> None:
    region = Region()
    launched = region.launch()
    with pytest.raises(ClientError) as raised:
        region.client.describe_instances(InstanceIds=launched, MaxResults=5)
    assert refusal(raised) == "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda ec2, i: ec2.powered_off(i), "Client.InstanceInitiatedShutdown"),
        (lambda ec2, i: ec2.lose_host(i), "Server.InternalError"),
    ],
)
def test_an_end_has_its_reason(end: Any, reason: str) -> None:  # noqa: ANN401  (one of two)
    region = Region()
    (instance_id,) = region.launch()
    region.clock.sleep(20 * SECOND)
    end(region.ec2, instance_id)
    (instance,) = region.ec2.instances()
    assert (instance.state, instance.reason) == ("shutting-down", reason)


def test_spot_is_taken_back_after_two_minutes_notice() -> None:
    region = Region()
    spot = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}
    (instance_id,) = region.launch(TargetCapacitySpecification=spot)
    assert region.ec2.interrupt_spot(instance_id) == region.clock.now() + 120 * SECOND
    region.clock.sleep(119 * SECOND)
    assert region.states() == ["running"]
    region.clock.sleep(SECOND)
    assert region.states() == ["shutting-down"]
    assert region.ec2.instances()[0].reason == "Server.SpotInstanceTermination"


def test_a_running_instance_boots_its_computer_and_a_terminated_one_stops_it() -> None:
    region = Region()
    (instance_id,) = region.launch()
    assert region.computers.booted == {}
    region.clock.sleep(20 * SECOND)
    region.ec2.advance()
    assert not region.computers.booted[instance_id].stopped
    region.client.terminate_instances(InstanceIds=[instance_id])
    assert region.computers.booted[instance_id].stopped


def _tagged(key: str) -> list[dict[str, Any]]:
    return [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": "60"}]}]


def test_an_instance_finds_its_tags_in_its_metadata_only_where_its_template_says_so() -> None:
    shows, hides = Region(metadata_tags=True), Region()
    for region in (shows, hides):
        region.launch(TagSpecifications=_tagged("agent-stack:hold"))
    assert shows.ec2.instances()[0].metadata_tags == {"agent-stack:hold": "60"}
    assert hides.ec2.instances()[0].metadata_tags is None
    assert hides.launch(TagSpecifications=_tagged("team/name"))
    with pytest.raises(ClientError) as raised:
        shows.launch(TagSpecifications=_tagged("team/name"))
    assert refusal(raised) == "InvalidParameterValue"


def test_what_cannot_boot_ends_with_a_client_error() -> None:
    region = Region(Computers(broken=True))
    region.launch()
    region.clock.sleep(20 * SECOND)
    region.ec2.advance()
    assert region.ec2.instances()[0].reason == "Client.InternalError"


def test_state_changes_are_told_in_order() -> None:
    region = Region()
    heard: list[StateChange] = []
    region.ec2.on_event(heard.append)
    (instance_id,) = region.launch()
    region.clock.sleep(20 * SECOND)
    region.client.terminate_instances(InstanceIds=[instance_id])
    region.clock.sleep(60 * SECOND)
    region.ec2.advance()
    assert [change.instance.state for change in heard] == ["pending", "running", "shutting-down", "terminated"]


def test_the_same_seed_gives_the_same_instances() -> None:
    assert Region().launch(3) == Region().launch(3)


def test_a_launch_that_may_not_use_its_key_never_runs() -> None:
    region = Region(locked_images=frozenset({"ami-1"}))
    (instance_id,) = region.launch()
    region.clock.sleep(20 * SECOND)
    (described,) = region.client.describe_instances()["Reservations"][0]["Instances"]
    assert (described["State"]["Name"], described["StateReason"]["Code"]) == ("shutting-down", "Client.InternalError")
    assert instance_id not in region.computers.booted


def test_the_console_can_be_read_also_after_the_end() -> None:
    region = Region()
    (instance_id,) = region.launch()
    assert region.client.get_console_output(InstanceId=instance_id)["Output"] == ""
    region.clock.sleep(20 * SECOND)
    region.ec2.advance()
    region.client.terminate_instances(InstanceIds=[instance_id])
    region.clock.sleep(60 * SECOND)
    assert region.client.get_console_output(InstanceId=instance_id)["Output"] == "héllo from the console"


def run(region: Region, subnet_id: str = "subnet-a", count: int = 1, token: str = "") -> set[str]:
    request: dict[str, Any] = {
        "ImageId": "ami-1",
        "InstanceType": "m7i.large",
        "SubnetId": subnet_id,
        "MinCount": count,
        "MaxCount": count,
    }
    if token:
        request["ClientToken"] = token
    answer = region.client.run_instances(**request)
    return {instance["InstanceId"] for instance in answer["Instances"]}


def test_a_token_of_run_instances_counts_within_its_zone() -> None:
    region = Region()
    first = run(region, "subnet-a", token="t")
    assert run(region, "subnet-a", token="t") == first
    assert run(region, "subnet-b", token="t") != first
    with pytest.raises(ClientError) as raised:
        run(region, "subnet-a2", token="t")
    assert refusal(raised) == "IdempotentParameterMismatch"


def test_run_instances_has_a_smaller_request_bucket_and_shares_the_instances() -> None:
    region = Region()
    region.launch(996)
    for _ in range(4):
        run(region)
    with pytest.raises(ClientError) as raised:
        run(region)
    assert refusal(raised) == "RequestLimitExceeded"
    region.clock.sleep(SECOND)
    assert len(run(region)) == 1
