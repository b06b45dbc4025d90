"""A job that is root on its VM: it has the VM's role and its own session, and tries what is not its own.

Each attempt is denied, or is without consequence; `reaches` says what the same thing is allowed to do, so that a denial
is no accident of the test.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulator.aws import AwsServer
from tests.vm.attack import TAGS, Attack
from tests.vm.job_stack import ACCOUNT, REGION
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

DENIED = {"AccessDenied", "AccessDeniedException", "InvalidIdentityToken", "ExpiredTokenException", "ExpiredToken"}
MAILBOXES = "MailboxTableId"


@pytest.fixture(scope="module")
def attack(account: AwsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    """One for all: an attempt that is denied changes nothing."""
    yard = JobYard(account, Path(tmp_path_factory.mktemp("yard")))
    made = Attack(yard)
    for job in (made.mine, made.other):
        for bucket in ("artifacts", "caches"):
            yard.operator("s3").put_object(Bucket=bucket, Key=f"{job.pipeline_id}/x", Body=b"secret")
        name = f"/ci/pipelines/{job.pipeline_id}/TOKEN"
        yard.operator("ssm").put_parameter(Name=name, Value="secret", Type="SecureString")
    tags = [{"Key": "agent-stack:pipelines", "Value": made.other.pipeline_id}]
    yard.operator("ssm").put_parameter(Name="/ci/pipelines/shared/TOKEN", Value="x", Type="SecureString", Tags=tags)
    for slug in ("mine", "other"):
        yard.operator("s3").put_object(Bucket="elastic-secrets", Key=f"{slug}/env", Body=b"export X=secret")
    yield made
    yard.close()


def read(attack: Attack, bucket: str, of: RunningJob) -> object:
    return attack.client("s3").get_object(Bucket=bucket, Key=f"{of.pipeline_id}/x")


def secrets(attack: Attack, of: RunningJob) -> object:
    return attack.client("ssm").get_parameters_by_path(Path=f"/ci/pipelines/{of.pipeline_id}", WithDecryption=True)


def item(arn: str) -> dict[str, Any]:
    return {"instance_arn": {"S": arn}}


OTHER_VM = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-2"
Try = Callable[[Attack], object]

WITH_ITS_OWN_SESSION: dict[str, Try] = {
    "read another's artifact": lambda a: read(a, "artifacts", a.other),
    "overwrite another's artifact": lambda a: a.client("s3").put_object(
        Bucket="artifacts", Key=f"{a.other.pipeline_id}/x", Body=b"mine"
    ),
    "list all artifacts": lambda a: a.client("s3").list_objects_v2(Bucket="artifacts"),
    "list another's artifacts": lambda a: a.client("s3").list_objects_v2(
        Bucket="artifacts", Prefix=f"{a.other.pipeline_id}/"
    ),
    "make its artifact public": lambda a: a.client("s3").put_object(
        Bucket="artifacts", Key=f"{a.mine.pipeline_id}/x", Body=b"", ACL="public-read"
    ),
    "leave its prefix by dots": lambda a: a.client("s3").get_object(
        Bucket="artifacts", Key=f"{a.mine.pipeline_id}0/../{a.other.pipeline_id}/x"
    ),
    "read another's cache": lambda a: read(a, "caches", a.other),
    "poison another's cache": lambda a: a.client("s3").put_object(
        Bucket="caches", Key=f"{a.other.pipeline_id}/x", Body=b"mine"
    ),
    "write what builds of main read, on another branch": lambda a: a.client("s3").put_object(
        Bucket="caches", Key=f"{a.mine.pipeline_id}/main/x", Body=b"mine"
    ),
    "list all caches": lambda a: a.client("s3").list_objects_v2(Bucket="caches", MaxKeys=1),
    "read another's secrets": lambda a: secrets(a, a.other),
    "read everybody's secrets": lambda a: a.client("ssm").get_parameters_by_path(Path="/ci/pipelines", Recursive=True),
    "read another's secret by name": lambda a: a.client("ssm").get_parameter(
        Name=f"/ci/pipelines/{a.other.pipeline_id}/TOKEN"
    ),
    "read an alias whose tag names another": lambda a: a.client("ssm").get_parameter(Name="/ci/pipelines/shared/TOKEN"),
    "tag an alias": lambda a: a.client("ssm").add_tags_to_resource(
        ResourceType="Parameter",
        ResourceId="/ci/pipelines/shared/TOKEN",
        Tags=[{"Key": "agent-stack:pipelines", "Value": a.mine.pipeline_id}],
    ),
    "write its own secret": lambda a: a.client("ssm").put_parameter(
        Name=f"/ci/pipelines/{a.mine.pipeline_id}/TOKEN", Value="x", Type="String", Overwrite=True
    ),
    "read the agent's token": lambda a: a.client("ssm").get_parameter(Name="/buildkite/agent-token"),
    "read another slug's files": lambda a: a.client("s3").get_object(Bucket="elastic-secrets", Key="other/env"),
    "list the secrets bucket": lambda a: a.client("s3").list_objects_v2(Bucket="elastic-secrets"),
    "read its VM's mailbox": lambda a: a.client("dynamodb").get_item(TableName=MAILBOXES, Key=item(a.vm.arn)),
    "assume the VM's role": lambda a: a.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/InstanceRoleId", RoleSessionName="attack"
    ),
    "assume its own role again, with other tags": lambda a: a.client("sts").assume_role(
        RoleArn=a.yard.role.arn, RoleSessionName="attack", Tags=[{"Key": "pipeline_id", "Value": a.other.pipeline_id}]
    ),
}

WITH_THE_VMS_ROLE: dict[str, Try] = {
    "assume the jobs' role": lambda a: a.as_vm("sts").assume_role(RoleArn=a.yard.role.arn, RoleSessionName="attack"),
    "read another VM's mailbox": lambda a: a.as_vm("dynamodb").get_item(
        TableName=MAILBOXES, Key=item(OTHER_VM), ProjectionExpression="job_id"
    ),
    "take another VM's credential": lambda a: a.as_vm("dynamodb").update_item(
        TableName=MAILBOXES,
        Key=item(OTHER_VM),
        UpdateExpression="REMOVE credential",
        ConditionExpression="attribute_exists(credential)",
        ReturnValues="UPDATED_OLD",
    ),
    "write the program of all VMs": lambda a: a.as_vm("dynamodb").update_item(
        TableName=MAILBOXES,
        Key=item("program#" + "0" * 64),
        UpdateExpression="SET program = :p",
        ExpressionAttributeValues={":p": {"B": b"evil"}},
    ),
    "read another VM's log": lambda a: a.as_vm("logs").get_log_events(
        logGroupName="/agent-stack/ci/vms", logStreamName="i-2"
    ),
    "delete a log stream": lambda a: a.as_vm("logs").delete_log_stream(
        logGroupName="/agent-stack/ci/vms", logStreamName="i-2"
    ),
    "write into a function's log": lambda a: a.as_vm("logs").put_log_events(
        logGroupName="/agent-stack/ci/tracker", logStreamName="x", logEvents=[{"timestamp": 0, "message": "x"}]
    ),
    "read its own pipeline's artifact": lambda a: a.as_vm("s3").get_object(
        Bucket="artifacts", Key=f"{a.mine.pipeline_id}/x"
    ),
    "read a pipeline's secret": lambda a: a.as_vm("ssm").get_parameters_by_path(
        Path=f"/ci/pipelines/{a.other.pipeline_id}"
    ),
}

WITH_TOKENS: dict[str, Try] = {
    "a token for another audience": lambda a: a.assume(audience="https://vault.example"),
    "a token for Buildkite's own audience": lambda a: a.assume(audience=None),
    "a token without tags": lambda a: a.assume(aws_session_tags=[]),
    "a token without a pipeline": lambda a: a.assume(aws_session_tags=["organization_id"]),
    "a token with the usual subject": lambda a: a.assume(subject_claim=None),
    "a token whose subject is the job": lambda a: a.assume(subject_claim="job_id"),
    "a token of a job without a pipeline": lambda a: a.without("pipeline_id", "pipeline_slug"),
    "a token of a job without a slug": lambda a: a.without("pipeline_slug"),
    "a token of another key": lambda a: a.forged(),
    "a token of another organisation": lambda a: a.forged(sub="0" * 36),
}


@pytest.mark.parametrize("what", WITH_ITS_OWN_SESSION)
def test_with_its_own_session_a_job_cannot(attack: Attack, what: str) -> None:
    with pytest.raises(ClientError) as raised:
        WITH_ITS_OWN_SESSION[what](attack)
    assert raised.value.response["Error"]["Code"] in DENIED


@pytest.mark.parametrize("what", WITH_THE_VMS_ROLE)
def test_with_the_vms_role_root_cannot(attack: Attack, what: str) -> None:
    with pytest.raises(ClientError) as raised:
        WITH_THE_VMS_ROLE[what](attack)
    assert raised.value.response["Error"]["Code"] in DENIED


@pytest.mark.parametrize("what", WITH_TOKENS)
def test_no_session_comes_of(attack: Attack, what: str) -> None:
    with pytest.raises(ClientError) as raised:
        WITH_TOKENS[what](attack)
    assert raised.value.response["Error"]["Code"] in DENIED


def test_an_expired_token_is_nothing(attack: Attack) -> None:
    said = attack.yard.claims_in(attack.yard.oidc_token(attack.mine, aws_session_tags=list(TAGS)))
    past = int((attack.yard.now() - timedelta(seconds=1)).timestamp())
    with pytest.raises(ClientError, match="ExpiredToken"):
        attack.yard.session(attack.yard.buildkite.sign({**said, "exp": past}))


def test_another_jobs_token_cannot_be_asked_for(attack: Attack) -> None:
    thief = RunningJob(id=attack.other.id, pipeline_id="", token=attack.mine.token, env={})
    assert attack.yard.refused(thief) == 401


def test_what_a_job_says_of_itself_changes_no_tag(attack: Attack) -> None:
    """An agent's tags are the operator's and the job's to choose. They stand beside the others, under own names."""
    tags = [*TAGS, "agent_tag:pipeline_id", "build_branch"]
    session = attack.assume(aws_session_tags=tags)
    assert session.tags["pipeline_id"] == attack.mine.pipeline_id
    assert session.tags["agent_tag:pipeline_id"] == ""


CACHE_TAGS = [*TAGS, "build_branch"]


def caches_into(attack: Attack, place: str, *, branch: str, tags: list[str]) -> None:
    job = attack.yard.job("mine", branch=branch)
    session = attack.assume(job, aws_session_tags=tags)
    key = f"{job.pipeline_id}/{place}/x"
    attack.yard.client("s3", session).put_object(Bucket="caches", Key=key, Body=b"layer")


def test_a_build_of_main_writes_the_caches_that_builds_of_main_read(attack: Attack) -> None:
    caches_into(attack, "main", branch="main", tags=CACHE_TAGS)


@pytest.mark.parametrize("branch", ["feature", "main2", "pull/1/main"])
@pytest.mark.parametrize("tags", [CACHE_TAGS, list(TAGS)], ids=["said", "not said"])
def test_a_build_of_another_branch_writes_caches_and_none_of_mains(
    attack: Attack, branch: str, tags: list[str]
) -> None:
    caches_into(attack, "0" * 64, branch=branch, tags=tags)
    with pytest.raises(ClientError, match="AccessDenied"):
        caches_into(attack, "main", branch=branch, tags=tags)


def test_what_is_its_own_a_job_reaches(attack: Attack) -> None:
    """So that the denials above are no accident."""
    for bucket in ("artifacts", "caches"):
        read(attack, bucket, attack.mine)
    assert secrets(attack, attack.mine)["Parameters"][0]["Value"] == "secret"  # type: ignore[index]
    attack.client("s3").get_object(Bucket="elastic-secrets", Key="mine/env")
    assert attack.assume().tags["pipeline_id"] == attack.mine.pipeline_id
    assert len([*WITH_ITS_OWN_SESSION, *WITH_THE_VMS_ROLE, *WITH_TOKENS]) >= 20
