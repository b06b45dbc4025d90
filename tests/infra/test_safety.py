"""What keeps a stack safe over its life: nothing is lost, unencrypted, unnamed or bound to one partition."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from infra import user_data
from infra.template_yaml import loads
from tests.infra.stacks import EVERYTHING, KEY, REGION, deployed, template
from tests.simulator.deployment import Resolved, as_text

STACK = deployed(EVERYTHING)
STATEFUL = {
    "LedgerTable": [("pk", "HASH"), ("sk", "RANGE")],
    "MailboxTable": [("instance_arn", "HASH")],
}
"""Logical ids and keys that no version may change: CloudFormation would replace the table, and running jobs be lost."""


def of_type(kind: str, stack: Resolved = STACK) -> dict[str, Mapping[str, Any]]:
    return {name: made["Properties"] for name, made in stack.resources.items() if made["Type"] == kind}


def test_tables_stay_what_they_are_from_version_to_version() -> None:
    tables = of_type("AWS::DynamoDB::Table")
    keys = {name: [(key["AttributeName"], key["KeyType"]) for key in t["KeySchema"]] for name, t in tables.items()}
    assert keys == STATEFUL
    assert not any("TableName" in table for table in tables.values()), "a name of its own would forbid a replacement"


def test_no_change_of_a_parameter_changes_a_tables_identity() -> None:
    """KeySchema, attributes and name are all that replaces a table."""
    plain = of_type("AWS::DynamoDB::Table", deployed())
    for name, table in of_type("AWS::DynamoDB::Table").items():
        for part in ("KeySchema", "AttributeDefinitions", "TableName"):
            assert table.get(part) == plain[name].get(part)


def test_whatever_keeps_something_says_what_becomes_of_it() -> None:
    kinds = {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::CloudFormation::Stack"}
    kept = {name: made for name, made in template()["Resources"].items() if made["Type"] in kinds}
    assert all({"DeletionPolicy", "UpdateReplacePolicy"} <= set(made) for made in kept.values())
    assert kept["LedgerTable"]["UpdateReplacePolicy"] == "Retain"


def test_what_an_account_has_once_stays_but_for_a_rollback() -> None:
    """One that a failed first deployment left behind would make the second one fail."""
    provider = template()["Resources"]["JobOidcProvider"]
    assert (provider["DeletionPolicy"], provider["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_what_a_queue_cannot_deliver_is_kept_for_two_weeks() -> None:
    queues = of_type("AWS::SQS::Queue")
    assert queues["FailedEvents"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    for name in queues.keys() - {"FailedEvents"}:
        redrive = queues[name]["RedrivePolicy"]
        assert redrive["deadLetterTargetArn"] == STACK.arn("FailedEvents")
        tries = redrive["maxReceiveCount"] * queues[name]["VisibilityTimeout"]
        assert queues[name]["MessageRetentionPeriod"] >= tries, "or it would be gone before it was seen to fail"


def test_what_no_function_took_is_kept() -> None:
    invocations = of_type("AWS::Lambda::EventInvokeConfig").values()
    assert len(invocations) == 2
    for invocation in invocations:
        assert invocation["DestinationConfig"]["OnFailure"]["Destination"] == STACK.arn("FailedEvents")
    for schedule in of_type("AWS::Scheduler::Schedule").values():
        assert schedule["Target"]["DeadLetterConfig"]["Arn"] == STACK.arn("FailedEvents")


def test_everything_at_rest_is_encrypted_with_the_operators_key_or_one_of_awss() -> None:
    for stack, key in ((STACK, KEY), (deployed(), None)):
        for table in of_type("AWS::DynamoDB::Table", stack).values():
            assert table["SSESpecification"]["SSEEnabled"] is True
            assert table["SSESpecification"].get("KMSMasterKeyId") == key
        for queue in of_type("AWS::SQS::Queue", stack).values():
            assert queue.get("KmsMasterKeyId") == key
            assert queue.get("SqsManagedSseEnabled") is (None if key else True)
        for group in of_type("AWS::Logs::LogGroup", stack).values():
            assert group.get("KmsKeyId") == key
        for function in of_type("AWS::Lambda::Function", stack).values():
            assert function["Environment"]["Variables"]["VOLUME_KEY_ARN"] == (key or "")


def test_every_log_ends() -> None:
    assert all(int(group["RetentionInDays"]) == 30 for group in of_type("AWS::Logs::LogGroup").values())
    named = {function["LoggingConfig"]["LogGroup"] for function in of_type("AWS::Lambda::Function").values()}
    assert named <= {group["LogGroupName"] for group in of_type("AWS::Logs::LogGroup").values()}


def test_functions_reserve_nothing_unless_asked_and_never_less_than_two() -> None:
    for function in of_type("AWS::Lambda::Function", deployed()).values():
        assert "ReservedConcurrentExecutions" not in function
        assert "VpcConfig" not in function
    for function in of_type("AWS::Lambda::Function", deployed({"ReservedConcurrency": "2"})).values():
        assert function["ReservedConcurrentExecutions"] == "2"
    for mapping in of_type("AWS::Lambda::EventSourceMapping").values():
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_every_role_has_the_path_and_the_boundary_that_are_asked_for() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    stack = deployed(
        {**EVERYTHING, "RolePath": "/ci/", "PermissionsBoundary": boundary, "BakeImage": "amazon-linux-2023"}
    )
    roles = of_type("AWS::IAM::Role", stack)
    assert len(roles) >= 4
    for role in roles.values():
        assert (role["Path"], role["PermissionsBoundary"]) == ("/ci/", boundary)
    for kind in ("AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy"):
        assert {made["Path"] for made in of_type(kind, stack).values()} == {"/ci/"}
    image = stack.resources["Image"]["Properties"]["Parameters"]
    assert (image["RolePath"], image["PermissionsBoundary"]) == ("/ci/", boundary)
    nested = loads((user_data.ROOT / "infra" / "image.yaml").read_text())["Resources"].values()
    for role in (made["Properties"] for made in nested if made["Type"] == "AWS::IAM::Role"):
        assert role["Path"] == {"Ref": "RolePath"}
        assert "PermissionsBoundary" in role


def test_everything_that_can_have_tags_has_ours() -> None:
    """By the providers' own schemas; what CloudFormation makes of a stack's own tags comes on top."""
    for name, made in STACK.resources.items():
        if made["Type"].startswith(("Custom::", "AWS::CloudFormation::CustomResource")):
            continue
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, made["Type"]).schema
        tagging = schema.get("tagging", {})
        if "Tags" in schema["properties"] and tagging.get("taggable", True) and made["Type"] not in NOT_WORTH_A_TAG:
            assert "agent-stack:deployment" in as_text(made["Properties"].get("Tags")), name


NOT_WORTH_A_TAG = {
    "AWS::Events::Rule": "costs nothing and does nothing of its own",
    "AWS::Lambda::EventSourceMapping": "part of its function",
}
"""Types without our tag, and why."""


def test_vms_volumes_and_interfaces_are_tagged_by_the_launch_template() -> None:
    (data,) = of_type("AWS::EC2::LaunchTemplate").values()
    tagged = {spec["ResourceType"]: spec["Tags"] for spec in data["LaunchTemplateData"]["TagSpecifications"]}
    assert set(tagged) == {"instance", "volume", "network-interface"}
    assert all({"Key": "agent-stack:deployment", "Value": "ci"} in tags for tags in tagged.values())


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_a_stack_of_another_partition_names_no_other(partition: str) -> None:
    everything = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in EVERYTHING.items()}
    text = json.dumps(deployed(everything, partition=partition).resources)
    assert f"arn:{partition}:" in text
    assert "arn:aws:" not in text


def test_no_template_names_a_partition() -> None:
    for path in (user_data.TEMPLATE, *sorted((user_data.ROOT / "infra").glob("*.yaml"))):
        assert "arn:aws:" not in path.read_text(), path.name


LONG = {
    "AgentDownloadUrl": "https://example.com/" + "d" * 80,
    "HttpProxy": "http://proxy.example.com:3128",
    "AllowedRepositories": "r" * 200,
    "AllowedPlugins": "p" * 200,
    "BootstrapUrl": "https://example.com/" + "p" * 180,
    "BootstrapSha256": "0" * 64,
    "HooksUrl": "https://example.com/" + "h" * 180,
    "HooksSha256": "0" * 64,
    "GitSshKeyParameter": "/" + "g" * 99,
    "GitCredentialsParameter": "/" + "g" * 99,
    "JobEnvironmentParameter": "/" + "j" * 99,
    "SigningKeyParameter": "/" + "s" * 99,
    "VerificationKeyParameter": "/" + "v" * 99,
    "EcrLogin": "account",
    "EcrAccounts": ",".join(["222222222222"] * 5),
    "DockerLoginsParameter": "/" + "d" * 99,
    "DockerRegistryMirrors": ",".join(["https://mirror.example.com:5000"] * 2),
    "ArtifactBucket": "b" * 63,
    "GitMirrorSeedBucket": "b" * 63,
    "VmLogs": "cloudwatch",
}
"""Of parameters without a longest value, one that is longer than usual."""

LONGEST = {
    "AgentEnvironment": "A=" + "b" * 1998,
    "GitKnownHosts": "git.example ssh-ed25519 AAAA".ljust(1200, "k"),
    "GitMirrors": "git@git.example:acme/app.git,".ljust(500, "g"),
}


def test_user_data_fits_with_the_longest_values() -> None:
    declared = loads(user_data.TEMPLATE.read_text())["Parameters"]
    used = {name: declared[name] for name in user_data.SETTINGS.values() if name in declared} | {
        name: declared[name] for name in LONGEST
    }
    numbers = {
        name: max(str(parameter["MinValue"]), str(parameter["MaxValue"]), key=len)
        for name, parameter in used.items()
        if parameter["Type"] == "Number"
    }
    assert numbers
    bounded = {name: int(parameter["MaxLength"]) for name, parameter in used.items() if "MaxLength" in parameter}
    assert bounded == {name: len(value) for name, value in (LONGEST | LONG).items() if name in bounded}
    (launch,) = of_type("AWS::EC2::LaunchTemplate", deployed({**LONG, **LONGEST, **numbers})).values()
    assert len(base64.b64decode(launch["LaunchTemplateData"]["UserData"])) <= user_data.MAX_BYTES


def test_every_skipped_check_has_its_reason_beside_it() -> None:
    skips = [
        skip
        for path in (user_data.TEMPLATE, *sorted((user_data.ROOT / "infra").glob("*.yaml")))
        for resource in loads(path.read_text())["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert skips
    assert all(len(skip["comment"].split()) > 4 for skip in skips)
