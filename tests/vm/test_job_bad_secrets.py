"""Secrets that are not as they should be: a bad one stops no other, is not shown in the log, and is named there."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.vm.job_stack import ACCESS, job_role
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob
from tests.vm.test_job_secrets import MANAGER, PATH, hidden, keep, put

pytestmark = [pytest.mark.e2e, pytest.mark.share(5)]

BUCKET = "elastic-secrets"


def in_manager(yard: JobYard, job: RunningJob, text: str, **aliases: Any) -> None:  # noqa: ANN401  (of CreateSecret)
    yard.sts.roles[yard.role.arn] = job_role({**ACCESS, "JobSecretsPath": MANAGER})
    manager = yard.operator("secretsmanager")
    manager.create_secret(Name=f"ci/pipelines/{job.pipeline_id}", SecretString=text)
    tags = [{"Key": "agent-stack:pipelines", "Value": job.pipeline_id}]
    for name, given in aliases.items():
        manager.create_secret(Name=f"ci/pipelines/{name}", Tags=tags, **given)


def test_a_value_that_is_no_text_is_named_and_what_is_inside_of_it_is_not_shown(yard: JobYard) -> None:
    job = yard.job()
    pairs = {
        "LIST": ["in-a-list", "GOOD"],
        "DEEP": {"USER": "in-an-object", "GOOD": ["in-both", {}]},
        "": "without-a-name",
        "@": "of-a-sign",
        "x\n+++ forged": "of-two-lines",
        "NUL": "a\0b",
        "GOOD": "taken",
        "NOTHING": None,
        "LAST": "taken, [too]: {",
        "END": True,
    }
    in_manager(yard, job, json.dumps(pairs))
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=MANAGER))
    assert done.code == 0, done.said
    assert (done.env["GOOD"], done.env["LAST"]) == ("taken", "taken, [too]: {")
    assert "USER" not in done.env
    for name in ("LIST", "DEEP", "NUL", "NOTHING", "END", "@"):
        assert f"secret {name} is left out" in done.said
    for text in ("in-a-list", "in-an-object", "in-both", "without-a-name", "of-a-sign", "of-two-lines", "\n+++"):
        assert text not in done.said


@pytest.mark.parametrize("text", ["hunter2-plain", '["hunter2", "x"]', 'say "hunter2" to "x"', '"hunter2"'])
def test_a_secret_that_holds_no_pairs_ends_the_job_with_the_reason(yard: JobYard, text: str) -> None:
    job = yard.job()
    in_manager(yard, job, text)
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=MANAGER))
    assert (done.code, done.out) == (1, "")
    assert f"secret ci/pipelines/{job.pipeline_id} is no JSON object" in done.said
    assert "hunter2" not in done.said


def test_an_alias_that_is_of_no_use_stops_no_other(yard: JobYard) -> None:
    job = yard.job()
    rows = json.dumps({"agent-stack-aliases": "plain bytes deleted good", "OWN": "of the pipeline"})
    good = {"SecretString": json.dumps({"GOOD": "of-the-alias"})}
    in_manager(
        yard, job, rows, plain={"SecretString": "hunter2"}, bytes={"SecretBinary": b"hunter2"}, deleted=good, good=good
    )
    yard.operator("secretsmanager").delete_secret(SecretId="ci/pipelines/deleted", RecoveryWindowInDays=7)
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=MANAGER))
    assert done.code == 0, done.said
    assert (done.env["OWN"], done.env["GOOD"]) == ("of the pipeline", "of-the-alias")
    assert "alias plain is left out: secret ci/pipelines/plain is no JSON object" in done.said
    assert "alias bytes is left out: it holds bytes" in done.said
    assert "alias deleted is left out: AWS says of secret ci/pipelines/deleted: InvalidRequestException" in done.said
    assert "hunter2" not in done.said


def test_a_pipeline_without_a_secret_of_secrets_manager_goes_on(yard: JobYard) -> None:
    """IAM judges a secret that is not there by an ARN without random characters, and refuses what no policy names."""
    yard.sts.roles[yard.role.arn] = job_role({**ACCESS, "JobSecretsPath": MANAGER})
    job = yard.job()
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=MANAGER))
    assert (done.code, done.out) == (0, "ran\n"), done.said
    assert f"secret ci/pipelines/{job.pipeline_id} is not there" in done.said


def test_what_is_hidden_is_the_value_byte_for_byte(yard: JobYard) -> None:
    job = yard.job()
    strange = "colour\x1b[31m\x01\x1fend\x7f"
    lines = "first-line\r\nsecond-line\r\n"
    keep(yard, job, STRANGE=strange, LINES=lines)
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=PATH))
    assert (done.code, done.env["STRANGE"], done.env["LINES"]) == (0, strange, lines)
    assert {strange, lines, "first-line", "second-line"} <= set(hidden(yard))


def test_a_secret_whose_name_is_taken_is_named(yard: JobYard) -> None:
    """By the step, by the stack, or by what the hook itself sets."""
    job = yard.job()
    names = {"TOKEN": "of-the-secret", "AWS_REGION": "us-east-1", "AWS_ROLE_ARN": "arn:of-the-secret"}
    keep(yard, job, **names)
    done = yard.hooked(job, env={"TOKEN": "of the step"}, job_aws=yard.job_aws(secrets=PATH))
    assert (done.env["TOKEN"], done.env["AWS_ROLE_ARN"]) == ("of the step", yard.role.arn)
    for name in names:
        assert f"secret {name} is left out: the step or the stack sets a variable of this name" in done.said


def test_more_parameters_than_are_read_end_the_job(yard: JobYard) -> None:
    job = yard.job()
    for number in range(201):
        keep(yard, job, **{f"N{number}": "x"})
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=PATH))
    assert (done.code, done.out) == (1, "")
    assert f"more than 200 parameters are under {PATH}/{job.pipeline_id}" in done.said


def deny(yard: JobYard, *keys: str) -> None:
    """As a key of KMS that the role may not use, but for the words."""
    statement = {
        "Effect": "Deny",
        "Action": "s3:GetObject",
        "Resource": [f"arn:aws:s3:::{BUCKET}/{key}" for key in keys],
    }
    policies = [*yard.role.policies, {"Version": "2012-10-17", "Statement": [statement]}]
    yard.sts.roles[yard.role.arn] = replace(yard.role, policies=policies)


def test_a_guard_that_cannot_be_read_guards(yard: JobYard) -> None:
    put(yard, **{"app/env": "export X=1", "app/pipeline-id": "of another", "env": "export SHARED=1"})
    deny(yard, "app/pipeline-id")
    done = yard.hooked(yard.job(), job_aws=yard.job_aws(bucket=BUCKET))
    assert done.code == 0, done.said
    assert "X" not in done.env
    assert done.env["SHARED"] == "1"
    assert "SecretsBucket: app/pipeline-id is left out: AccessDenied" in done.said
    assert "whose the files under app/ are is not known" in done.said


def test_a_file_that_is_there_and_refused_is_named(yard: JobYard) -> None:
    job = yard.job()
    files = {
        "app/env": "export X=1",
        "app/private_ssh_key": "x",
        "app/secret-files/A_TOKEN": "x",
        "app/secret-files/B": "b",
    }
    put(yard, **files, **{"app/pipeline-id": job.pipeline_id})
    deny(yard, "app/private_ssh_key", "app/secret-files/A_TOKEN")
    done = yard.hooked(job, job_aws=yard.job_aws(bucket=BUCKET))
    assert (done.code, done.env["X"], done.env["B"]) == (0, "1", "b"), done.said
    for name in ("app/private_ssh_key", "app/secret-files/A_TOKEN"):
        assert f"SecretsBucket: {name} is left out: AccessDenied" in done.said


def test_a_file_with_a_strange_name_stops_no_other(yard: JobYard) -> None:
    job = yard.job()
    names = ("100%", "a#b", "a?b", "*", "[x]", "a&b", "LD_PRELOAD", "GOOD")
    put(
        yard,
        **{f"app/secret-files/{name}": f"value of {name}" for name in names},
        **{"app/pipeline-id": job.pipeline_id},
    )
    done = yard.hooked(job, job_aws=yard.job_aws(bucket=BUCKET))
    assert (done.code, done.env["GOOD"]) == (0, "value of GOOD"), done.said
    assert "LD_PRELOAD" not in done.env
    assert done.said.count("is left out: its name is none of a variable") == 6


def test_a_bucket_that_cannot_be_listed_is_said_in_s3s_words(yard: JobYard) -> None:
    deny(yard)
    yard.sts.roles[yard.role.arn] = replace(yard.role, policies=[])
    done = yard.hooked(yard.job(), "echo ran", job_aws=yard.job_aws(bucket=BUCKET))
    assert (done.code, done.out) == (1, "")
    assert f"SecretsBucket {BUCKET} cannot be listed: AccessDenied: " in done.said


def test_a_role_that_sts_refuses_is_said_with_what_to_run(yard: JobYard) -> None:
    yard.sts.roles.clear()
    env = {"PATIENCE_SECONDS": "5"}
    for access in ({"secrets": PATH}, {"bucket": BUCKET}):
        done = yard.hooked(yard.job(), job_aws=yard.job_aws(**access), env=env)
        assert "Not authorized to perform sts:AssumeRoleWithWebIdentity. Run agent-stack oidc" in done.said
