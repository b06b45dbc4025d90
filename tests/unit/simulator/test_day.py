"""A simulated day: what is skipped changes nothing, and what it says is what the simulated services saw."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.simulator.day.outcome import outcome
from tests.simulator.day.request import AskedJob, Boots, Request, default_classes
from tests.simulator.day.world import DayWorld

JOBS = (
    AskedJob(at=30, seconds=40),
    AskedJob(at=31, seconds=50),
    AskedJob(at=33, seconds=600, cancel_at=95),
    AskedJob(at=34, seconds=60, cancel_at=36),
    AskedJob(at=420, seconds=20, agents=("class=no-such",), cancel_at=560),
    AskedJob(at=620.25, seconds=20, agents=("class=default",), priority=3, pipeline="other"),
)


def a_request(**changes: Any) -> Request:  # noqa: ANN401  (its own fields)
    values: dict[str, Any] = {
        "parameters": {},
        "classes": default_classes(),
        "jobs": JOBS,
        "boots": Boots(pending=(5, 19), quantiles=(15, 25, 60)),
        "start": datetime(2026, 1, 6, tzinfo=UTC),
        "seconds": 720,
        "tail_seconds": 600,
        "seed": 3,
        **changes,
    }
    return Request(**values)


def played(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (a request's)
    world = DayWorld(a_request(**changes))
    for _ in world.play():
        pass
    return outcome(world)


@pytest.fixture(scope="module")
def day() -> dict[str, Any]:
    return played()


def test_a_day_with_skipped_cycles_is_the_day_without_them(day: dict[str, Any]) -> None:
    whole = played(skips=False)
    assert whole.pop("skipped_cycles") == 0
    skipped = dict(day)
    assert skipped.pop("skipped_cycles") > 300
    assert skipped == whole


def test_every_job_has_its_moments_in_order(day: dict[str, Any]) -> None:
    ran = [job for job in day["jobs"] if job["state"] == "finished"]
    assert len(ran) == 3
    for job in ran:
        moments = [job["scheduled"], *job["moments"], job["started"], job["ended"]]
        assert None not in moments[:3]
        known = [moment for moment in moments if moment is not None]
        assert known == sorted(known)


def test_a_job_that_is_cancelled_ends_soon_with_and_without_an_agent(day: dict[str, Any]) -> None:
    with_an_agent, without = (next(j for j in day["jobs"] if j["scheduled"] == at) for at in (33, 34))
    assert (with_an_agent["state"], without["state"]) == ("canceled", "canceled")
    assert 95 <= with_an_agent["ended"] < 98
    assert (without["started"], without["ended"]) == (None, 36)


def test_a_boot_takes_what_the_distribution_says(day: dict[str, Any]) -> None:
    took = [job["started"] - job["moments"][1] for job in day["jobs"] if job["started"] is not None]
    assert took
    assert all(15 - 3 <= seconds <= 60 + 3 for seconds in took)


def test_a_job_runs_as_long_as_the_load_says_however_long_that_is() -> None:
    lengths = {10: 59.0, 11: 170.5, 12: 185.0, 13: 1234.0}
    found = played(jobs=tuple(AskedJob(at=at, seconds=seconds) for at, seconds in lengths.items()))
    for job in found["jobs"]:
        asked = lengths[job["scheduled"]]
        assert asked <= job["ended"] - job["started"] < asked + 1 + 0.1
        assert (job["state"], job["lost"]) == ("finished", False)
        (vm,) = [vm for vm in found["vms"] if vm["id"] == job["vm"]]
        assert job["ended"] <= vm["ended"] < job["ended"] + 5


def test_a_job_that_outlasts_its_vm_is_lost_once_buildkite_has_heard_nothing_of_its_agent_for_so_long() -> None:
    found = played(parameters={"MaxLifetimeSeconds": "600"}, jobs=(AskedJob(at=10, seconds=3000),))
    (job,) = found["jobs"]
    (vm,) = found["vms"]
    assert job["lost"]
    assert 590 <= vm["ended"] - vm["running"] < 610
    assert vm["ended"] + 100 < job["ended"] <= vm["ended"] + 181


def test_a_job_that_nothing_will_ever_start_ends_the_day_after_an_hour_in_vain_and_says_why() -> None:
    jobs = (AskedJob(at=10, seconds=20), AskedJob(at=11, seconds=20, agents=("class=no-such",)))
    found = played(jobs=jobs, seconds=60, tail_seconds=86_400)
    ran, waits = found["jobs"]
    assert (ran["state"], waits["state"]) == ("finished", "scheduled")
    assert 3600 <= found["seconds"] - ran["ended"] < 3600 + 120
    assert "no-such" in waits["told"]


def test_boots_are_straight_between_two_quantiles() -> None:
    boots = Boots(pending=(1, 2), quantiles=(10, 20, 60))
    assert [boots.seconds(fraction) for fraction in (0, 0.25, 0.5, 0.75, 1)] == [10, 15, 20, 40, 60]


def test_parameters_reach_the_functions() -> None:
    one_at_a_time = played(parameters={"MaxInstances": "1"}, jobs=JOBS[:2])
    first, second = one_at_a_time["vms"]
    assert second["launched"] > first["ended"]


def test_a_class_that_is_wrong_is_named_and_the_others_go_on() -> None:
    document = '{"classes": {"good": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"}, "bad": {}}, '
    document += '"default_class": "good"}'
    found = played(classes=document, classes_source="ci.json", jobs=JOBS[:1])
    assert found["classes"] == ["good"]
    assert list(found["broken_classes"]) == ["bad"]
    assert found["broken_classes"]["bad"].startswith("ci.json: classes.bad.")
    assert found["jobs"][0]["state"] == "finished"


@pytest.mark.parametrize("alias", ["_default", "__default__"])
def test_a_stack_may_call_the_default_queue_by_its_alias(alias: str) -> None:
    found = played(parameters={"Queues": alias}, jobs=(AskedJob(at=1, seconds=5, queue=alias),), seconds=60)
    assert found["jobs"][0]["started"] is not None


def test_standby_vms_are_played_and_a_job_takes_one() -> None:
    hot = default_classes().replace('"volume_gib": 40', '"volume_gib": 40, "standby": {"hot": 1}')
    found = played(classes=hot, jobs=(AskedJob(at=300, seconds=20),), seconds=420)
    (job,) = found["jobs"]
    assert job["standby"]
    assert job["started"] - job["scheduled"] < 10
    assert sum(vm["standby"] for vm in found["vms"]) >= 2
