"""Faults planted in the served world; each is found by `doctor`, with what happens because of it and what to do.

They are planted where they would be: in Buildkite, EC2, IAM, SSM, CloudWatch or the quotas, never in doctor's input.
"""

import json
from collections.abc import Iterator

import pytest

from agent_stack_cli import quota_findings
from tests.cli.conftest import CLASSES
from tests.cli.faults import FAULTS, HEALTHY, changed_class, findings, healthy_world, put
from tests.cli.operator_front import CODES
from tests.cli.served import Served
from tests.simulator.buildkite import AGENT_TOKEN

pytestmark = pytest.mark.share(4)


@pytest.fixture(scope="module")
def healthy() -> Iterator[Served]:
    """A stack whose functions run."""
    with healthy_world(HEALTHY) as served:
        yield served


def test_nothing_is_wrong_with_a_healthy_stack(healthy: Served) -> None:
    assert findings(healthy) == []
    assert "PASS  demo: nothing is wrong." in healthy.ok("doctor")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_with_its_severity_consequence_and_remedy(healthy: Served, fault: str) -> None:
    planted = FAULTS[fault]
    planted.plant(healthy)
    try:
        found = findings(healthy)
        (one,) = [f for f in found if f["check"] == planted.check and planted.problem in f["problem"]]
        assert one["severity"] == planted.severity
        assert planted.effect in one["effect"]
        assert planted.remedy in one["remedy"]
        assert AGENT_TOKEN not in json.dumps(found)
        others = [
            f
            for f in found
            if f is not one and f["check"] not in planted.besides and not f["check"].startswith("log of the ")
        ]
        assert not others, others
    finally:
        planted.repair(healthy)


def test_classes_that_may_not_have_more_vms_need_no_larger_quota(healthy: Served) -> None:
    """Class large needs 16 vCPUs and does not count; four VMs of default need 8."""
    healthy.world.ec2.quotas.ceilings["on-demand:standard"] = 8
    put(healthy, "/classes", changed_class(max_instances=4))
    try:
        assert {f["check"] for f in findings(healthy) if "quota" in f["check"]} == {"quota of class large"}
    finally:
        put(healthy, "/classes", CLASSES)
        healthy.world.ec2.quotas.ceilings.clear()


@pytest.mark.parametrize(
    ("vm", "bucket"),
    [({"instance_types": ["mac2.metal"]}, "on-demand:mac"), ({"instance_types": ["hpc7a.12xlarge"]}, "on-demand:hpc")],
)
def test_a_quota_that_nobody_can_look_up_is_not_examined(
    healthy: Served, vm: dict[str, object], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has no code that this version knows; the other one's is wrong."""
    monkeypatch.setitem(quota_findings.CODES, "on-demand:hpc", "L-00000000")
    put(healthy, "/classes", changed_class(**vm))
    try:
        (one,) = [finding for finding in findings(healthy) if finding["check"] == f"quota {bucket}"]
        assert (one["severity"], one["problem"].partition(":")[0]) == ("warning", "not examined")
        assert one["remedy"]
    finally:
        put(healthy, "/classes", CLASSES)


def test_doctor_asks_for_the_quotas_that_aws_lists() -> None:
    assert {code: bucket for bucket, code in quota_findings.CODES.items()} == CODES


def test_looking_changes_nothing(healthy: Served) -> None:
    def state() -> object:
        calls = healthy.world.ec2.calls()
        return (
            len(healthy.world.ec2.instances()),
            [call for call in calls if call.action == "CreateFleet" and call.code is None],
            healthy.world.ledger_items("run"),
        )

    FAULTS["class document with a misspelt field"].plant(healthy)
    before = state()
    invoked = healthy.world.hosts["dispatcher"].invoke({"agent_stack_inspection": 1})
    assert "max_instance" in json.dumps(invoked.result)
    assert state() == before
    FAULTS["class document with a misspelt field"].repair(healthy)


def test_another_region_is_named(healthy: Served) -> None:
    result = healthy.run("doctor", "--region", "us-east-1")
    assert result.exit_code == 1
    assert "no stack of this project is in us-east-1" in result.stderr
    assert "Next: name another region" in result.stderr
