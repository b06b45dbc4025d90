"""The example pipeline that makes seeds, as a job on a VM, and the next VM that uses them; nobody else can make any."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from infra.user_data import ROOT
from tests.infra.stacks import deployed
from tests.simulator.buildkite import Buildkite, Step
from tests.simulator.iam.sts import Role
from tests.vm.harness import VmHarness
from tests.vm.job_stack import ORGANIZATION
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob
from tests.vm.seeds import commit, git, repository
from tests.vm.test_git_mirrors import BUCKET, name_of, run, url_of

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

EXAMPLE: Mapping[str, Any] = yaml.safe_load((ROOT / "docs" / "examples" / "git-mirror-seeds.yml").read_text())
(STEP,) = EXAMPLE["steps"]
KEY = "git-mirror-seeds/app.tar"


def seed_role(pipeline_id: str) -> Role:
    """The role that the stack makes for that pipeline."""
    parameters = {
        "GitMirrorPipelineId": pipeline_id,
        "GitMirrorSeedBucket": BUCKET,
        "BuildkiteOrganizationId": ORGANIZATION,
    }
    made = deployed(parameters)
    properties = made.resources["SeedRole"]["Properties"]
    policies = [policy["PolicyDocument"] for policy in properties["Policies"]]
    return Role(arn=made.arn("SeedRole"), trust=properties["AssumeRolePolicyDocument"], policies=policies)


def pipeline_of(buildkite: Buildkite) -> str:
    """The id of the pipeline that the harness's jobs are of."""
    return buildkite.create_build(steps=[]).pipeline_id


def make_seed(harness: VmHarness, server: Path, instance_id: str = "i-0951") -> str:
    """What the example's job says."""
    role = harness.aws.sts.add(seed_role(pipeline_of(harness.buildkite)))
    env = {
        **EXAMPLE["env"],
        "SEED_BUCKET": BUCKET,
        "SEED_ROLE": role.arn,
        "REPOSITORY": STEP["env"]["REPOSITORY"].replace("{{matrix}}", url_of(server)),
    }
    job_id, token = harness.reserve(Step(command=STEP["command"], env=env))
    harness.fill(instance_id, job_id, token)
    harness.ended(harness.boot(instance_id))
    assert harness.buildkite.job(job_id).exit_status == 0, harness.output(job_id)
    return harness.output(job_id)


@pytest.fixture
def server(harness: VmHarness, tmp_path: Path) -> Path:
    s3 = harness.aws.client("s3")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return repository(tmp_path / "server")


def test_the_next_job_uses_the_seed_that_the_example_made(harness: VmHarness, server: Path) -> None:
    git(server, "update-ref", "refs/pull/1/head", "main")
    said = make_seed(harness, server)
    assert f"Seed of {url_of(server)}: " in said
    commit(server, {"newer": "newer\n"})
    output, told, console = run(harness, server, url_of(server), "i-0952")
    assert "git-mirrors/" in output, console
    assert "(mirrors 1/1 " in told
    mirror = harness.directory / "i-0952/var/lib/agent-stack/git-mirrors" / name_of(server)
    refs = git(mirror, "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/tags/v1"]  # and none of a pull request


def test_a_repository_that_fsck_refuses_makes_no_seed(harness: VmHarness, server: Path) -> None:
    """The one from before stays."""
    (harness.aws.client("s3")).put_object(Bucket=BUCKET, Key=f"git-mirror-seeds/{name_of(server)}.tar", Body=b"before")
    tree = git(server, "rev-parse", "main^{tree}")
    bad = f"tree {tree}\nauthor a <a@b> 0 +0000\ncommitter a <a@b> 0 +0000 x\n\nbad\n"
    name = git(server, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", given=bad.encode())
    git(server, "update-ref", "refs/heads/bad", name)
    with pytest.raises(AssertionError, match=r"badDate|badTimezone"):
        make_seed(harness, server)
    kept = harness.aws.client("s3").get_object(Bucket=BUCKET, Key=f"git-mirror-seeds/{name_of(server)}.tar")
    assert kept["Body"].read() == b"before"


TAGS = ["organization_id", "pipeline_id", "build_branch"]


@pytest.fixture
def seeds(yard: JobYard) -> RunningJob:
    """A job of the pipeline that may write seeds, on its branch main."""
    job = yard.job("seeds")
    yard.sts.add(seed_role(job.pipeline_id))
    yard.operator("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return job


def writes(yard: JobYard, job: RunningJob, *, key: str = KEY, tags: list[str] = TAGS) -> None:
    token = yard.oidc_token(job, aws_session_tags=tags)
    role = seed_role(job.pipeline_id).arn  # of whichever pipeline, it has the same name
    yard.client("s3", yard.session(token, role)).put_object(Bucket=BUCKET, Key=key, Body=b"seed")


def test_that_pipeline_writes_seeds(yard: JobYard, seeds: RunningJob) -> None:
    writes(yard, seeds)


def denied(yard: JobYard, job: RunningJob, **how: Any) -> None:  # noqa: ANN401  (of writes)
    with pytest.raises(ClientError) as refused:
        writes(yard, job, **how)
    assert refused.value.response["Error"]["Code"] in {"AccessDenied", "InvalidIdentityToken"}


@pytest.mark.share(4)
@pytest.mark.parametrize("branch", ["feature", "pull/1/head", "main2", "Main"])
def test_another_branch_of_that_pipeline_writes_none(yard: JobYard, seeds: RunningJob, branch: str) -> None:
    denied(yard, yard.job("seeds", branch=branch))


@pytest.mark.parametrize("branch", ["main", "feature"])
def test_another_pipeline_writes_none(yard: JobYard, seeds: RunningJob, branch: str) -> None:
    denied(yard, yard.job("app", branch=branch))


def test_a_token_that_does_not_say_its_branch_is_refused(yard: JobYard, seeds: RunningJob) -> None:
    denied(yard, yard.job("seeds", branch="feature"), tags=["organization_id", "pipeline_id"])


@pytest.mark.parametrize("key", ["elsewhere/app.tar", "git-mirror-seed", "x/git-mirror-seeds/app.tar"])
def test_the_role_writes_nothing_but_seeds(yard: JobYard, seeds: RunningJob, key: str) -> None:
    denied(yard, seeds, key=key)


def test_a_job_with_its_own_role_writes_none(yard: JobYard, seeds: RunningJob) -> None:
    """Nor does it with the VM's: the requests of tests/infra/requests/vm.py have that."""
    own = yard.session(
        yard.oidc_token(seeds, aws_session_tags=["organization_id", "pipeline_id", "pipeline_slug", "job_id"])
    )
    with pytest.raises(ClientError):
        yard.client("s3", own).put_object(Bucket=BUCKET, Key=KEY, Body=b"seed")
