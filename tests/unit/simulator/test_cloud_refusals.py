"""What the fake EC2 refuses, as data: of a pool, of an answer, of a whole request, and for how long."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulator.cloud import Refusal
from tests.unit.simulator.region import SECOND, Region, codes, refusal

GPU = [{"ResourceType": "instance", "Tags": [{"Key": "class", "Value": "gpu"}]}]


def launched(answer: dict[str, Any]) -> int:
    return sum(len(group["InstanceIds"]) for group in answer["Instances"])


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("InternalError", 500, "An internal error has occurred"),
        ("ServiceUnavailable", 503, "unavailable"),
        ("MaxFleetCountExceeded", 400, "quota for maximum Fleet Requests"),
        ("InsufficientInstanceCapacity", 500, "sufficient"),
    ],
)
def test_a_whole_request_is_refused(code: str, status: int, words: str) -> None:
    region = Region(refusals=(Refusal(code=code, where="request"),))
    with pytest.raises(ClientError) as raised:
        region.fleet(2)
    assert refusal(raised) == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert words in raised.value.response["Error"]["Message"]
    assert region.ec2.instances() == ()


def test_a_refusal_of_the_whole_spends_no_token_and_meets_replays() -> None:
    region = Region(refusals=(Refusal(code="InternalError", where="request", times=1),))
    with pytest.raises(ClientError):
        region.fleet(1, ClientToken="t")
    assert launched(region.fleet(1, ClientToken="t")) == 1
    region.ec2.faults.refuse(Refusal(code="ServiceUnavailable", where="request"))
    with pytest.raises(ClientError):
        region.fleet(1, ClientToken="t")


def test_an_error_can_come_without_a_pool() -> None:
    answer = Region(refusals=(Refusal(code="InsufficientInstanceCapacity", where="answer"),)).fleet(2)
    assert (launched(answer), codes(answer)) == (0, ["InsufficientInstanceCapacity"])
    assert "LaunchTemplateAndOverrides" not in answer["Errors"][0]


def test_a_throttle_inside_a_good_answer_leaves_the_rest_unfulfilled_and_spends_the_token() -> None:
    throttle = Refusal(code="RequestLimitExceeded", rest="UnfulfillableCapacity", times=1)
    region = Region(refusals=(throttle,))
    answer = region.fleet(2, types=("m7i.large", "m7a.large", "m6i.large"), ClientToken="t")
    assert launched(answer) == 0
    assert codes(answer) == ["RequestLimitExceeded", "UnfulfillableCapacity", "UnfulfillableCapacity"]
    overrides = [error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] for error in answer["Errors"]]
    assert overrides == ["m7i.large", "m7a.large", "m6i.large"]
    assert launched(region.fleet(2, types=("m7i.large", "m7a.large", "m6i.large"), ClientToken="t")) == 0
    assert launched(region.fleet(2, types=("m7i.large",), ClientToken="other")) == 2


@pytest.mark.parametrize(
    ("what", "refused"),
    [
        ({"pool": "*:m7i.*:*"}, ["m7i.large"]),
        ({"pool": "spot:*"}, []),
        ({"subnet": "subnet-a"}, ["m7i.large", "m7a.large"]),
        ({"image": "ami-2"}, []),
        ({"image": "ami-1"}, ["m7i.large", "m7a.large"]),
        ({"volume_gib_over": 100}, ["m7i.large", "m7a.large"]),
        ({"volume_gib_over": 200}, []),
        ({"tags": {"class": "gpu"}}, ["m7i.large", "m7a.large"]),
        ({"tags": {"class": "default"}}, []),
    ],
)
def test_a_refusal_is_about_what_it_says_and_nothing_else(what: dict[str, Any], refused: list[str]) -> None:
    region = Region(refusals=(Refusal(code="UnauthorizedOperation", **what),))
    disk = {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 200}}]}
    answer = region.fleet(1, types=("m7i.large", "m7a.large"), override=disk, TagSpecifications=GPU)
    overrides = [error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] for error in answer["Errors"]]
    assert overrides == refused
    assert set(codes(answer)) <= {"UnauthorizedOperation"}
    assert launched(answer) == (0 if len(refused) == 2 else 1)


def test_an_authorisation_error_of_one_class_leaves_the_others_alone() -> None:
    region = Region(refusals=(Refusal(code="UnauthorizedOperation", tags={"class": "gpu"}),))
    assert codes(region.fleet(1, TagSpecifications=GPU)) == ["UnauthorizedOperation"]
    assert launched(region.fleet(1)) == 1


def test_a_refusal_begins_and_ends() -> None:
    outage = Refusal(code="Unheard.Of", starts=10 * SECOND, lasts=100 * SECOND)
    region = Region(refusals=(outage,))
    seen = []
    for _ in range(13):
        seen.append(launched(region.fleet(1)))
        region.clock.sleep(10 * SECOND)
    assert seen == [1, *[0] * 10, 1, 1]


def test_a_refusal_that_is_added_counts_from_then_and_can_be_taken_away() -> None:
    region = Region()
    region.clock.sleep(timedelta(hours=1))
    outage = Refusal(code="Unheard.Of", lasts=60 * SECOND)
    region.ec2.faults.refuse(outage)
    assert codes(region.fleet(1)) == ["Unheard.Of"]
    region.clock.sleep(60 * SECOND)
    assert launched(region.fleet(1)) == 1
    region.ec2.faults.refuse(outage)
    region.ec2.faults.stop_refusing(outage)
    assert launched(region.fleet(1)) == 1


def test_a_refusal_can_be_a_matter_of_chance_by_the_seed() -> None:
    def play() -> list[int]:
        region = Region(refusals=(Refusal(code="InternalError", chance=0.5),), throttled=False)
        return [launched(region.fleet(1)) for _ in range(100)]

    assert 30 < sum(play()) < 70
    assert play() == play()


def test_other_actions_are_refused_as_a_whole() -> None:
    region = Region(refusals=(Refusal(code="UnauthorizedOperation", action="DescribeInstances"),))
    with pytest.raises(ClientError) as raised:
        region.client.describe_instances()
    assert refusal(raised) == "UnauthorizedOperation"
    assert region.client.describe_subnets()["Subnets"]


def test_peace_ends_every_refusal() -> None:
    region = Region(refusals=(Refusal(code="InternalError"),))
    region.ec2.faults.clear()
    assert launched(region.fleet(1)) == 1


def test_each_hit_is_told() -> None:
    region = Region(refusals=(Refusal(code="InternalError"), Refusal(code="Blocked", where="request", times=1)))
    notices_sent: list[str] = []
    region.ec2.faults.on_hit = notices_sent.append
    with pytest.raises(ClientError):
        region.fleet(1)
    region.fleet(1)
    assert notices_sent == ["Blocked", "InternalError"]
