"""Clients that know nothing of this project, with what the hook set: SDKs, commands, the agent's uploader, a plugin."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.vm.harness import AGENT
from tests.vm.job_stack import ACCOUNT
from tests.vm.job_yard import JobYard

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

CLI = shutil.which("aws")
PLUGIN = os.environ.get("AWS_ROLE_PLUGIN", "")
"""A checkout of the vendor's aws-assume-role-with-web-identity plugin; not part of this repository."""


@pytest.mark.skipif(CLI is None, reason="there is no AWS CLI on this machine")
def test_the_aws_cli(yard: JobYard) -> None:
    job = yard.job()
    script = f"""
echo mine >x
{CLI} s3 cp --quiet x s3://artifacts/{job.pipeline_id}/x && {CLI} s3 cp --quiet s3://artifacts/{job.pipeline_id}/x -
{CLI} s3 cp --only-show-errors x s3://artifacts/other/x 2>&1 | grep -o AccessDenied
{CLI} sts get-caller-identity --query Account --output text
"""
    path = f"{Path(sys.executable).parent}:{yard.environment(job)['PATH']}:{Path(CLI or '/x').parent}"
    done = yard.hooked(job, script, env={"PATH": path})
    assert done.out.split() == ["mine", "AccessDenied", ACCOUNT], done.said


@pytest.mark.skipif(AGENT.name == "agent_stub.py", reason="BUILDKITE_AGENT_BINARY names no real agent")
def test_the_agents_own_uploader(yard: JobYard) -> None:
    """It lists no objects of the bucket first, to see whether it may, and states an ACL."""
    job = yard.job()
    script = f"echo mine >x.txt; {AGENT.resolve()} artifact upload x.txt 2>&1"
    env = {"AGENT_STACK_ARTIFACT_BUCKET": "artifacts", "BUILDKITE_S3_ENDPOINT": yard.front.origin}
    done = yard.hooked(job, script, env=env)
    key = f"{job.pipeline_id}/{job.env['BUILDKITE_BUILD_ID']}/{job.id}/x.txt"
    kept = yard.operator("s3").list_objects_v2(Bucket="artifacts").get("Contents", [])
    assert [one["Key"] for one in kept] == [key], done.out


@pytest.mark.skipif(AGENT.name == "agent_stub.py", reason="BUILDKITE_AGENT_BINARY names no real agent")
def test_the_agent_signs_steps_with_kms_by_the_jobs_session(yard: JobYard) -> None:
    """Without the metadata service, which `JobMetadata=blocked` keeps from jobs: there is none here."""
    job = yard.job()
    policy = {"Statement": [{"Effect": "Allow", "Action": ["kms:Sign", "kms:GetPublicKey"], "Resource": "*"}]}
    key = yard.operator("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    (yard.place / "pipeline.yml").write_text("steps: [{ command: make }]")
    script = f"{AGENT.resolve()} pipeline upload --dry-run pipeline.yml"
    env = {"BUILDKITE_AGENT_AWS_KMS_KEY": key, "AWS_EC2_METADATA_DISABLED": "true"}
    signing = yard.add_role("signing", yard.role.trust, policy)
    done = yard.hooked(job, script, env=env, job_aws=yard.job_aws(role=signing))
    assert done.code == 0, done.said
    (step,) = json.loads(done.out)["steps"]
    assert step["signature"]["algorithm"] == "ES256", done.said
    denied = yard.hooked(job, script, env=env)
    assert denied.code != 0
    assert "AccessDenied" in denied.said, "the role of the stack signs nothing"


@pytest.mark.skipif(not PLUGIN, reason="AWS_ROLE_PLUGIN names no checkout of the vendor's plugin")
@pytest.mark.skipif(CLI is None or shutil.which("jq") is None, reason="the plugin needs aws and jq")
def test_the_vendors_plugin_runs_unchanged_beside_our_hook(yard: JobYard) -> None:
    """It takes a role of its own, by tags of its own, and its credentials come before the file."""
    job = yard.job()
    name = "BUILDKITE_PLUGIN_AWS_ASSUME_ROLE_WITH_WEB_IDENTITY"
    role = {**yard.role.trust["Statement"][0]}
    role["Condition"] = {
        "StringLike": {"agent.buildkite.com:sub": "organization:simulated:*"},
        "StringEquals": {"agent.buildkite.com:aud": "sts.amazonaws.com", "aws:RequestTag/pipeline_slug": "app"},
    }
    theirs = yard.add_role("theirs", {"Statement": [role]})
    env = {
        f"{name}_ROLE_ARN": theirs,
        f"{name}_SESSION_TAGS_0": "pipeline_slug",
        "PATH": f"{yard.environment(job)['PATH']}:{Path(CLI or '/x').parent}",
    }
    script = f"source {PLUGIN}/hooks/environment >&2 && aws sts get-caller-identity --query Arn --output text"
    done = yard.hooked(job, script, env=env)
    assert done.out.strip() == f"arn:aws:sts::{ACCOUNT}:assumed-role/theirs/buildkite-job-{job.id}", done.said


def test_signing_by_kms_and_a_push_to_ecr_need_a_role_of_the_operators_and_no_metadata(yard: JobYard) -> None:
    """As any SDK asks: the session of JobRoleArn signs, and its policies decide."""
    job = yard.job()
    allowed = ["kms:Sign", "kms:GetPublicKey", "ecr:GetAuthorizationToken", "ecr:PutImage"]
    policy = {"Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    role = yard.add_role("operators", yard.role.trust, policy)
    yard.operator("ecr").create_repository(repositoryName="app")
    key = yard.operator("kms").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    (yard.place / "client.py").write_text(
        f"""
import boto3, json
ecr, kms = boto3.client("ecr"), boto3.client("kms")
print(bool(ecr.get_authorization_token()["authorizationData"]))
image = json.dumps({{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}})
print(ecr.put_image(repositoryName="app", imageManifest=image, imageTag="x")["image"]["repositoryName"])
print(bool(kms.sign(KeyId="{key}", Message=b"x", SigningAlgorithm="ECDSA_SHA_256")["Signature"]))
try:
    ecr.delete_repository(repositoryName="app")
except Exception as error:
    print(error.response["Error"]["Code"])
"""
    )
    done = yard.hooked(job, f"{sys.executable} client.py", job_aws=yard.job_aws(role=role))
    assert done.out.split() == ["True", "app", "True", "AccessDeniedException"], done.said
