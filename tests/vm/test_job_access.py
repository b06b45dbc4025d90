"""AWS access of a job: the hook gets a token that Buildkite signs, and SDKs do the rest."""

import hashlib
import json
import re
import sys

import pytest

from tests.simulator.buildkite import Operation
from tests.vm.job_stack import ACCOUNT, REGION
from tests.vm.job_yard import JobYard

pytestmark = [pytest.mark.e2e, pytest.mark.share(5)]

OURS = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME", "AWS_STS_REGIONAL_ENDPOINTS")
IN_PYTHON = """
import boto3
s3 = boto3.client("s3")
s3.put_object(Bucket="artifacts", Key="{own}/x", Body=b"by a job")
print(s3.get_object(Bucket="artifacts", Key="{own}/x")["Body"].read().decode())
try:
    s3.put_object(Bucket="artifacts", Key="other/x", Body=b"")
except Exception as error:
    print(error.response["Error"]["Code"])
print(boto3.client("sts").get_caller_identity()["Arn"])
"""


def test_a_job_acts_as_its_own_pipeline_with_nothing_but_what_the_hook_set(yard: JobYard) -> None:
    job = yard.job()
    (yard.place / "client.py").write_text(IN_PYTHON.format(own=job.pipeline_id))
    done = yard.hooked(job, f"{sys.executable} client.py")
    assert done.out.splitlines() == [
        "by a job",
        "AccessDenied",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/{yard.role.arn.rpartition('/')[2]}/buildkite-job-{job.id}",
    ], done.said
    assert (done.code, done.said) == (0, "")
    assert yard.token_file.stat().st_mode & 0o777 == 0o600
    assert yard.token_file.read_text() in json.loads(f"[{yard.hidden().rstrip(',')}]"), "the log would show it"
    ours = {name: value for name, value in done.env.items() if name in OURS}
    assert set(ours) == set(OURS)
    assert "agent_stack_line" not in done.env


def test_no_branch_keeps_a_job_from_its_session(yard: JobYard) -> None:
    """A session tag takes not every text, so a branch is one of the tags only where AWS takes it."""
    taken = ("main", "main:commit:HEAD:step:x")
    for branch in (None, "", "main!", "main", "\N{ROCKET}" * 3, "b" * 300, "main:commit:HEAD:step:x", "$(id)`id`'\""):
        job = yard.job(branch=branch)
        assert yard.hooked(job).code == 0, branch
        session = yard.session(yard.token_file.read_text())
        assert session.tags["pipeline_id"] == job.pipeline_id
        assert session.tags.get("build_branch") == (branch if branch in taken else None)
        assert branch in taken or not branch or branch not in session.tags.values()


def test_a_renamed_pipeline_is_the_same_one_and_its_old_slug_another(yard: JobYard) -> None:
    def tags(pipeline: str) -> tuple[str, str]:
        assert yard.hooked(yard.job(pipeline)).code == 0
        found = yard.session(yard.token_file.read_text()).tags
        yard.token_file.unlink()
        return found["pipeline_id"], found["pipeline_slug"]

    first, _ = tags("app")
    yard.buildkite.rename_pipeline("app", "application")
    assert tags("application") == (first, "application")
    assert tags("app")[0] != first


@pytest.mark.parametrize(
    "own",
    [
        {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"},
        {"AWS_PROFILE": "deploy"},
        {"AWS_SHARED_CREDENTIALS_FILE": "/home/deploy/credentials"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/other"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/creds"},
    ],
    ids=lambda own: next(iter(own)),
)
def test_what_the_step_set_to_be_somebody_else_stays(yard: JobYard, own: dict[str, str]) -> None:
    done = yard.hooked(yard.job(), env=own)
    assert done.code == 0
    assert {name: done.env.get(name) for name in own} == own
    assert "AWS_ROLE_ARN" not in done.env
    assert "credentials of its own" in done.said


def test_a_variable_that_the_step_set_is_not_replaced(yard: JobYard) -> None:
    own = {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deploy",
        "AWS_ROLE_SESSION_NAME": "mine",
        "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
        "AWS_REGION": "eu-west-1",
        "BUILDKITE_AGENT_CACHE_STORE_URL": "s3://mine",
        "BUILDKITE_ARTIFACT_UPLOAD_DESTINATION": "s3://mine",
    }
    done = yard.hooked(yard.job(), env=own, job_aws=yard.job_aws(caches="caches"))
    assert done.code == 0
    assert {name: done.env[name] for name in own} == own
    assert done.env["AWS_WEB_IDENTITY_TOKEN_FILE"] == str(yard.token_file), "the step's role, with our token"
    assert yard.hooked(yard.job(), env={"AWS_ROLE_ARN": ""}).env["AWS_ROLE_ARN"] == "", "no role is a choice, too"


def test_tags_and_subject_are_the_operators_where_it_says_so(yard: JobYard) -> None:
    """By the agent's own variables. An empty subject is Buildkite's usual one, as roles for its plugin expect it."""
    own = {"BUILDKITE_OIDC_TOKEN_AWS_SESSION_TAGS": "build_branch", "BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM": ""}
    assert yard.hooked(yard.job(), env=own).code == 0
    identity = yard.claims()
    assert identity["sub"].startswith("organization:simulated:pipeline:app:")
    assert identity["https://aws.amazon.com/tags"]["principal_tags"] == {"build_branch": ["main"]}


def test_the_caches_url_has_the_pipelines_prefix(yard: JobYard) -> None:
    job = yard.job()
    done = yard.hooked(job, job_aws=yard.job_aws(caches="caches"))
    assert done.env["BUILDKITE_AGENT_CACHE_STORE_URL"] == f"s3://caches/{job.pipeline_id}"


@pytest.mark.parametrize("branch", ["main", "feature", "a ! branch"])
def test_buildkit_has_a_place_for_main_and_one_for_the_branch(yard: JobYard, branch: str) -> None:
    job = yard.job(branch=branch)
    env = yard.hooked(job, job_aws=yard.job_aws(caches="caches")).env
    place = f"type=s3,region={REGION},bucket=caches,prefix={job.pipeline_id}"
    own = "main" if branch == "main" else hashlib.sha256(branch.encode()).hexdigest()
    assert env["AGENT_STACK_BUILDKIT_MAIN"] == f"{place}/main/"
    assert env["AGENT_STACK_BUILDKIT_BRANCH"] == f"{place}/{own}/"
    tags = yard.claims()["https://aws.amazon.com/tags"]["principal_tags"]
    assert tags.get("build_branch", ["left out"]) == (["left out"] if "!" in branch else [branch])


def test_a_build_of_a_fork_is_told_of_no_cache(yard: JobYard) -> None:
    fork = {"BUILDKITE_PULL_REQUEST_REPO": "https://git.example/somebody/app.git"}
    done = yard.hooked(yard.job(), env=fork, job_aws=yard.job_aws(caches="caches"))
    assert "BUILDKITE_AGENT_CACHE_STORE_URL" not in done.env
    assert not [name for name in done.env if name.startswith("AGENT_STACK_BUILDKIT_")]
    assert "this build is of a fork, so it gets no caches" in done.said
    assert done.code == 0


def test_without_a_token_the_job_goes_on_and_says_why(yard: JobYard) -> None:
    job = yard.job()
    yard.buildkite.faults.fail(Operation.JOB_OIDC_TOKEN, times=1, status=403, message="OIDC is off")
    done = yard.hooked(job, "echo went on")
    assert (done.code, done.out) == (0, "went on\n")
    assert "no AWS access: Buildkite gave no token for this job" in done.said
    assert "OIDC is off" in done.said
    assert done.env["AWS_WEB_IDENTITY_TOKEN_FILE"] == str(yard.token_file), "the token may come later"


def test_without_a_token_a_job_that_has_secrets_ends(yard: JobYard) -> None:
    job = yard.job()
    yard.buildkite.faults.fail(Operation.JOB_OIDC_TOKEN, times=1, status=403, message="OIDC is off")
    done = yard.hooked(job, "echo went on", job_aws=yard.job_aws(secrets="/ci/pipelines"))
    assert (done.code, done.out) == (1, "")
    assert "OIDC is off" in done.said
    assert done.said.splitlines()[-1] == (
        "agent-stack: the job ends, because it would run without the secrets of its pipeline"
    )


def test_without_a_role_nothing_is_asked_and_nothing_set(yard: JobYard) -> None:
    done = yard.hooked(yard.job(), job_aws="")
    assert not set(OURS) & set(done.env)
    assert not yard.token_file.exists()


def test_an_operator_hook_finds_what_ours_set(yard: JobYard) -> None:
    (yard.place / "hooks" / "environment.operator").write_text('echo "operator sees $AWS_ROLE_ARN"\n')
    assert yard.hooked(yard.job()).out == f"operator sees {yard.role.arn}\n"


def test_variables_that_the_program_has_too_are_the_jobs_to_set(yard: JobYard) -> None:
    """Every name that it assigns, with a text that is no number and no list."""
    job = yard.job()
    text = (yard.place / "agent-stack-aws").read_text()
    names = set(re.findall(r"(?<![\w${])([A-Za-z_][A-Za-z0-9_]*)(?:\[[^]=]*\])?\+?=", text))
    names = {name for name in names - {"IFS"} if not name.startswith(("AWS_", "BUILDKITE_", "AGENT_STACK_"))}
    assert {"deadline", "secrets", "endpoint", "TOKEN", "session"} <= names
    yard.operator("s3").put_object(Bucket="elastic-secrets", Key="app/env", Body=b"OF_THE_BUCKET=1")
    path = f"/ci/pipelines/{job.pipeline_id}/OF_THE_STORE"
    yard.operator("ssm").put_parameter(Name=path, Value="1", Type="SecureString")
    own = dict.fromkeys((*names, "agent_stack_ended", "agent_stack_failed", "agent_stack_line"), "of the step")
    done = yard.hooked(job, env=own, job_aws=yard.job_aws(secrets="/ci/pipelines", bucket="elastic-secrets"))
    assert done.code == 0, done.said
    assert (done.env["OF_THE_BUCKET"], done.env["OF_THE_STORE"]) == ("1", "1")
    assert {name: done.env[name] for name in names} == {name: own[name] for name in names}


KILLED = {
    "the program": "kill -9 $$",
    "and what reads its end": "kill -9 $(sed -n 's/^PPid:[[:space:]]*//p' /proc/$PPID/status) $$",
    "in the middle of a value": "printf 'A='; kill -9 $$",
}


@pytest.mark.parametrize("what", KILLED)
def test_a_program_that_was_killed_has_given_no_secrets(yard: JobYard, what: str) -> None:
    (yard.place / "agent-stack-aws").write_text(f"printf 'TOKEN=x\\0'\n{KILLED[what]}\n")
    env = {"agent_stack_failed": "", "agent_stack_ended": "0"}
    done = yard.hooked(yard.job(), "echo went on", job_aws=yard.job_aws(secrets="/ci/pipelines"), env=env)
    assert (done.code, done.out) == (1, "")
    assert "what prepares AWS access was ended" in done.said


def test_what_is_not_ready_in_time_is_said(yard: JobYard) -> None:
    (yard.place / "bin" / "timeout").write_text("#!/bin/bash\nexit 124\n")
    (yard.place / "bin" / "timeout").chmod(0o755)
    done = yard.hooked(yard.job(), "echo went on", job_aws=yard.job_aws(secrets="/ci/pipelines"))
    assert (done.code, done.out) == (1, "")
    assert "AWS access was not ready after 150 s" in done.said


def test_a_token_that_cannot_be_kept_is_not_buildkites_fault(yard: JobYard) -> None:
    """Docker makes a directory of a file that it is to mount and that is not there."""
    yard.token_file.mkdir()
    done = yard.hooked(yard.job())
    assert f"no AWS access: {yard.token_file} cannot be written" in done.said


def test_a_job_without_a_pipeline_gets_no_path_that_holds_others(yard: JobYard) -> None:
    none = {"BUILDKITE_PIPELINE_ID": "", "BUILDKITE_PIPELINE_SLUG": ""}
    done = yard.hooked(yard.job(), env=none, job_aws=yard.job_aws(caches="caches"))
    assert done.code == 0
    assert "BUILDKITE_AGENT_CACHE_STORE_URL" not in done.env
    for access in ({"secrets": "/ci/pipelines"}, {"bucket": "elastic-secrets"}):
        done = yard.hooked(yard.job(), "echo ran", env=none, job_aws=yard.job_aws(**access))
        assert (done.code, done.out) == (1, "")
        assert "this job names no pipeline (BUILDKITE_PIPELINE_ID is empty)" in done.said


def test_a_hostile_environment_gets_no_more_than_its_own_token(yard: JobYard) -> None:
    """The token is the job's own: whatever a step does to our hook, no other pipeline comes out of it."""
    mine, other = yard.job(), yard.job("other")
    env = {
        "BUILDKITE_PIPELINE_ID": other.pipeline_id,
        "BUILDKITE_PIPELINE_SLUG": "other",
        "BUILDKITE_JOB_ID": mine.id,
        "BUILDKITE_OIDC_TOKEN_CLAIMS": "organization_id,pipeline_id",
    }
    assert yard.hooked(mine, env=env).code == 0
    assert yard.session(yard.token_file.read_text()).tags["pipeline_id"] == mine.pipeline_id
    yard.token_file.unlink()
    done = yard.hooked(mine, env={"BUILDKITE_JOB_ID": other.id})
    assert "no AWS access" in done.said
    assert not yard.token_file.exists()
