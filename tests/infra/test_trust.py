"""Who may act as a role and who may send to a queue: exactly these, each on its conditions."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.stacks import EVERYTHING, ORGANIZATION, deployed
from tests.simulator.deployment import ACCOUNT

PIPELINE = "0184990a-4782-42b5-afc1-16715b10b1f0"
STACK = deployed({**EVERYTHING, "GitMirrorPipelineId": PIPELINE})
ISSUER = "agent.buildkite.com"
A_UUID = "????????-????-????-????-????????????"
SIGNED = {
    f"{ISSUER}:aud": "sts.amazonaws.com",
    f"{ISSUER}:sub": ORGANIZATION,
    "aws:RequestTag/organization_id": ORGANIZATION,
}
BY_TOKEN = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]
A_JOB = {
    "aws:RequestTag/pipeline_id": A_UUID,
    "aws:RequestTag/pipeline_slug": "?*",
    "aws:RequestTag/job_id": A_UUID,
}
A_SEED = {**SIGNED, "aws:RequestTag/pipeline_id": PIPELINE, "aws:RequestTag/build_branch": "main"}
TRUSTED: Mapping[str, tuple[str, Any, Mapping[str, Any]]] = {
    "InstanceRole": ("ec2.amazonaws.com", "sts:AssumeRole", {}),
    "DispatcherRole": ("lambda.amazonaws.com", "sts:AssumeRole", {}),
    "TrackerRole": ("lambda.amazonaws.com", "sts:AssumeRole", {}),
    "SchedulerRole": (
        "scheduler.amazonaws.com",
        "sts:AssumeRole",
        {"StringEquals": {"aws:SourceAccount": ACCOUNT}},  # else any account's schedules could use it
    ),
    "JobRole": (ISSUER, BY_TOKEN, {"StringEquals": SIGNED, "StringLike": A_JOB}),
    "SeedRole": (ISSUER, BY_TOKEN, {"StringEquals": A_SEED}),
}
"""By role: the service or the issuer, how, and on which conditions. All organisations of Buildkite share one issuer."""


def of_type(kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: made["Properties"] for name, made in STACK.resources.items() if made["Type"] == kind}


def test_each_role_is_trusted_to_one_and_all_conditions_hold() -> None:
    assert of_type("AWS::IAM::Role").keys() == TRUSTED.keys()


@pytest.mark.parametrize("role", TRUSTED)
def test_a_role_is_assumed_by_nobody_else(role: str) -> None:
    who, how, conditions = TRUSTED[role]
    (statement,) = of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    if who == ISSUER:
        assert statement["Principal"].keys() == {"Federated"}
        assert STACK.resources["JobOidcProvider"]["Properties"]["Url"] == f"https://{ISSUER}"
    else:
        assert statement["Principal"] == {"Service": who}
    assert (statement["Effect"], statement["Action"]) == ("Allow", how)
    assert statement.get("Condition", {}) == conditions


def test_a_queue_takes_messages_of_the_rules_that_send_to_it_and_of_no_other() -> None:
    senders: dict[str, set[str]] = {}
    for name, rule in of_type("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            senders.setdefault(target["Arn"], set()).add(STACK.arn(name))
    allowed: dict[str, set[str]] = {}
    for policy in of_type("AWS::SQS::QueuePolicy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sqs:SendMessage")
        ((operator, condition),) = statement["Condition"].items()
        assert operator == "ArnEquals"
        sources = condition["aws:SourceArn"]
        allowed[statement["Resource"]] = {sources} if isinstance(sources, str) else set(sources)
    assert allowed == senders
    assert len(senders) == 2


def test_what_wakes_a_function_is_what_its_filter_knows() -> None:
    rules = of_type("AWS::Events::Rule")
    kinds = {name: set(rule["EventPattern"]["detail-type"]) for name, rule in rules.items()}
    assert kinds == {
        "InstanceChanges": {"EC2 Instance State-change Notification", "EC2 Spot Instance Interruption Warning"},
        "JobsScheduled": {"Job Scheduled"},
        "JobsEnded": {"Job Finished", "Agent Lost"},
    }


def test_a_bucket_is_nobody_elses_and_keeps_no_part_of_a_broken_upload() -> None:
    stack = deployed({**EVERYTHING, "CacheBucket": "", "CreateCacheBucket": "true"})
    buckets = [made["Properties"] for made in stack.resources.values() if made["Type"] == "AWS::S3::Bucket"]
    assert buckets
    for bucket in buckets:
        assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert {rule["Status"] for rule in rules} == {"Enabled"}
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
