"""What EC2 refuses affects what it is about, and no job is finished by a misreading. On the virtual clock."""

from datetime import timedelta

import pytest

from tests.bench.refusals import (
    SETTINGS,
    a_bad_class,
    mixed_architectures,
    of_class,
    spot_fails_as_a_whole,
    unlisted_codes,
    world,
)
from tests.simulator.cloud.refusals import Refusal

pytestmark = pytest.mark.share(6)

WHOLE = (
    "InternalError",
    "ServiceUnavailable",
    "InsufficientInstanceCapacity",
    "MaxFleetCountExceeded",
    "UnfulfillableCapacity",
)


def test_right_types_that_are_unavailable_do_not_make_a_mixed_class_wrong() -> None:
    played = mixed_architectures()
    assert (played.ran(), played.reasons()) == (3, [])


@pytest.mark.parametrize("code", [*WHOLE, "RequestLimitExceeded", "UnauthorizedOperation"])
def test_a_spot_class_that_may_falls_back_within_half_a_minute(code: str) -> None:
    played = spot_fails_as_a_whole(code, "spot")
    assert (played.ran(), played.reasons()) == (3, [])
    (job, *_) = played.jobs("spot")
    vms = [vm for vm in played.simulation.ec2.instances() if vm.capacity_type == "on-demand"]
    assert len(vms) == 3
    assert max((vm.launched_at - job.scheduled_at).total_seconds() for vm in vms) < 30


@pytest.mark.parametrize("code", [*WHOLE, "RequestLimitExceeded"])
def test_without_fallback_ten_minutes_cost_sixty_requests_and_the_page_says_why(code: str) -> None:
    played = spot_fails_as_a_whole(code, "spot-only")
    assert len(played.fleets) <= 60
    assert played.reasons() == []
    assert code in played.told("spot-only")
    played.until_over(300)
    assert played.ran() == 3


def test_all_classes_in_which_nothing_works_share_thirty_requests_a_minute() -> None:
    classes = {f"c{n}": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"} for n in range(12)}
    refusal = Refusal(code="ServiceUnavailable", where="request")
    played = world(classes=classes, refusals=(refusal,))
    for name in classes:
        played.push(1, name)
    played.run(60)
    before = len(played.fleets)
    played.run(300)
    assert len(played.fleets) - before <= 5 * 30


@pytest.mark.parametrize("zones", ["*", "a"])
def test_codes_that_no_document_lists_finish_no_job(zones: str) -> None:
    played = unlisted_codes(zones)
    assert (played.ran(), played.reasons()) == (5, [])


BAD = {
    "policy, whole": Refusal(code="UnauthorizedOperation", where="request", tags=of_class("bad")),
    "policy, by pool": Refusal(code="UnauthorizedOperation", tags=of_class("bad")),
    "image": Refusal(code="InvalidAMIID.NotFound", tags=of_class("bad")),
    "image, whole": Refusal(code="InvalidAMIID.Unavailable", where="request", tags=of_class("bad")),
    "root device": Refusal(code="InvalidBlockDeviceMapping", tags=of_class("bad")),
    "architecture": Refusal(code="InvalidParameterValue", tags=of_class("bad")),
    "unlisted": Refusal(code="SomethingNew", tags=of_class("bad")),
    "unlisted, whole": Refusal(code="SomethingNew", where="request", tags=of_class("bad")),
    "without a place": Refusal(code="InvalidParameterValue", where="answer", tags=of_class("bad")),
    "fleet count": Refusal(code="MaxFleetCountExceeded", where="request", tags=of_class("bad")),
    "server": Refusal(code="InternalError", where="request", tags=of_class("bad")),
}


@pytest.mark.parametrize("cold", [False, True], ids=["in a running process", "at a cold start"])
@pytest.mark.parametrize("kind", BAD)
def test_one_refused_class_delays_no_job_of_another_and_is_told_in_ec2s_words(kind: str, cold: bool) -> None:  # noqa: FBT001  (a parameter)
    played = a_bad_class(BAD[kind], cold=cold)
    (job,) = played.jobs("default")
    (vm, *_) = [vm for vm in played.simulation.ec2.instances() if vm.instance_type == "m7i.large"]
    assert played.ran("default") == 1
    assert (vm.launched_at - job.scheduled_at).total_seconds() < 12  # a poll, a reservation, a launch; no waiting
    assert BAD[kind].code in played.told("bad") + "".join(played.reasons("bad"))
    assert BAD[kind].code not in played.told("default")


def test_a_definite_refusal_finishes_the_jobs_of_its_class_with_ec2s_words_after_a_minute() -> None:
    played = a_bad_class(BAD["image"])
    assert len(played.reasons("bad")) == 10
    assert all("InvalidAMIID.NotFound" in reason for reason in played.reasons("bad"))


def test_an_unlisted_code_of_a_class_finishes_its_jobs_only_at_their_deadline() -> None:
    played = a_bad_class(BAD["unlisted"])
    assert played.reasons("bad") == []
    played.run(400)
    assert all("SomethingNew" in reason for reason in played.reasons("bad"))


def test_iam_that_is_not_consistent_yet_finishes_no_job_of_a_new_deployment() -> None:
    refusal = Refusal(code="UnauthorizedOperation", where="request", lasts=timedelta(seconds=200))
    played = world(refusals=(refusal,))
    played.push(2)
    played.push(2, "large")
    played.until_over(600)
    assert (played.ran(), played.reasons()) == (4, [])


def test_what_every_class_is_refused_is_the_accounts() -> None:
    played = world(settings={**SETTINGS, "LAUNCH_DEADLINE_SECONDS": "3000"})
    for _ in range(2):  # a handover while a launch is in flight loses what its answer teaches
        played.push(1)
        played.push(1, "gpu")
        played.run(30)
    assert played.simulation.store.launching.worked_at is not None
    played.simulation.ec2.faults.refuse(Refusal(code="UnauthorizedOperation", where="request"))
    played.run(301)
    played.push(2)
    played.run(20)
    assert "account_refused" not in played.simulation.telemetry.messages("ERROR")
    played.push(2, "gpu")
    played.run(30)
    assert "account_refused" in played.simulation.telemetry.messages("ERROR")


def test_a_throttle_beside_other_codes_teaches_nothing_of_pools_that_were_not_tried() -> None:
    refusal = Refusal(code="RequestLimitExceeded", rest="UnfulfillableCapacity", times=1)
    played = world(refusals=(refusal,))
    played.push(2)
    assert played.until_over(120) < 60
    assert not played.simulation.store.launching.unavailable_pools


@pytest.mark.parametrize("where", ["pool", "request"])
def test_a_subnet_that_is_gone_costs_its_zone_and_nothing_else(where: str) -> None:
    gone = Refusal(
        code="InvalidSubnetID.NotFound",
        message="The subnet ID 'subnet-a' does not exist",
        where="pool" if where == "pool" else "request",
        subnet="subnet-a",
    )
    played = world(refusals=(gone,))
    played.push(4)
    played.push(2, "large")
    assert played.until_over(200) < 90
    assert (played.ran(), played.reasons()) == (6, [])
    assert {vm.zone for vm in played.simulation.ec2.instances()} == {"eu-central-1b"}


def test_an_outcome_that_is_not_known_is_asked_about_with_backoff() -> None:
    played = world()
    played.simulation.ec2.faults.lose_answer("CreateFleet", times=200)
    played.push(2)
    played.run(120)
    assert len(played.fleets) <= 14
    played.simulation.ec2.faults.clear()
    played.until_over(300)
    assert played.ran() == 2
