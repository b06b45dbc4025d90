"""template.yaml: valid before and after the transform, and in step with the code that reads its settings."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from agent_stack.settings import Settings
from infra.user_data import BOOT_PROGRAM, HEADER, MAX_BYTES, TEMPLATE, generated
from tests.simulator.deployment import translated_template

REGION = "eu-central-1"


def resources() -> dict[str, Any]:
    return dict(translated_template(region=REGION)["Resources"])


def environment(function: str) -> dict[str, Any]:
    return dict(resources()[function]["Properties"]["Environment"]["Variables"])


@pytest.mark.parametrize("translated", [False, True], ids=["as written", "as CloudFormation deploys it"])
def test_it_is_valid(translated: bool) -> None:  # noqa: FBT001  (which of the two)
    text = json.dumps(translated_template(region=REGION)) if translated else TEMPLATE.read_text()
    findings = [str(match) for match in lint(text, config=ManualArgs(regions=[REGION]))]
    assert findings == []


def test_the_user_data_is_the_boot_program() -> None:
    template = TEMPLATE.read_text()
    assert generated(template, BOOT_PROGRAM.read_text()) == template


def test_the_header_sets_what_the_boot_program_needs() -> None:
    program = BOOT_PROGRAM.read_text()
    needed = re.search(r"for name in ([A-Z_\s\\]+);", program)
    assert needed is not None
    assert set(re.findall(r"[A-Z_]+", needed.group(1))) <= set(HEADER)


def test_user_data_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        generated(TEMPLATE.read_text(), "#!/bin/bash\n" + "x" * MAX_BYTES)


@pytest.mark.parametrize("function", ["DispatcherFunction", "TrackerFunction"])
def test_every_setting_of_the_code_is_set_and_none_besides(function: str) -> None:
    wanted = {field.alias for field in Settings.model_fields.values()} - {"AWS_REGION"}
    assert set(environment(function)) == wanted | {"POWERTOOLS_SERVICE_NAME"}


def test_handlers_are_where_the_template_says() -> None:
    for name in ("DispatcherFunction", "TrackerFunction"):
        module, _, function = resources()[name]["Properties"]["Handler"].rpartition(".")
        path = Path("functions", *module.split(".")).with_suffix(".py")
        assert f"def {function}(" in (TEMPLATE.parent / path).read_text()


def test_functions_run_the_runtime_they_are_built_for() -> None:
    for name in ("DispatcherFunction", "TrackerFunction"):
        properties = resources()[name]["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])


def test_a_vm_reaches_its_own_mailbox_and_nothing_else() -> None:
    (policy,) = resources()["InstanceRole"]["Properties"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        assert statement["Action"] in {"dynamodb:GetItem", "dynamodb:UpdateItem"}
        condition = statement["Condition"]
        assert condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] == ["${ec2:SourceInstanceARN}"]
        assert condition["Null"] == {"dynamodb:LeadingKeys": "false", "dynamodb:Attributes": "false"}
        if statement["Action"] == "dynamodb:GetItem":
            assert "credential" not in condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]


def test_only_our_own_vms_can_be_terminated() -> None:
    (policy,) = resources()["TrackerRole"]["Properties"]["Policies"]
    (statement,) = (s for s in policy["PolicyDocument"]["Statement"] if s["Action"] == "ec2:TerminateInstances")
    assert "aws:ResourceTag/agent-stack:deployment" in statement["Condition"]["StringEquals"]


def test_vms_answer_to_imdsv2_only_and_terminate_when_they_shut_down() -> None:
    data = resources()["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert "KeyName" not in data
    assert "SecurityGroupIngress" not in resources()["SecurityGroup"]["Properties"]


def test_instances_news_reach_the_tracker_in_batches_only() -> None:
    """One invocation for each event of an account would be thousands, and most are somebody else's."""
    mapping = resources()["TrackerWakes"]["Properties"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert mapping["MaximumBatchingWindowInSeconds"] >= 1
    (target,) = resources()["InstanceChanges"]["Properties"]["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["Wakes", "Arn"]}
    timeout = resources()["TrackerFunction"]["Properties"]["Timeout"]
    assert resources()["Wakes"]["Properties"]["VisibilityTimeout"] >= timeout
