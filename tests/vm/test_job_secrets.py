"""Secrets of a pipeline: read with the job's own role before the checkout, hidden in the log, and nobody else's."""

import json

import pytest

from tests.vm.job_stack import ACCESS, job_role
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob
from tests.vm.test_private_work import yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

PATH = "/ci/pipelines"
MANAGER = "/aws/reference/secretsmanager/ci/pipelines"


def keep(yard: JobYard, job: RunningJob, **values: str) -> None:
    for name, value in values.items():
        path = f"{PATH}/{job.pipeline_id}/{name.replace('__', '-')}"
        yard.operator("ssm").put_parameter(Name=path, Value=value, Type="SecureString", Overwrite=True)


def hidden(yard: JobYard) -> list[str]:
    read: list[str] = json.loads(f"[{yard.hidden().rstrip(',')}]")
    return read


def test_parameters_under_the_pipelines_id_are_the_jobs_variables(yard: JobYard) -> None:
    """More than a page of them, with whatever characters; another pipeline's are not among them."""
    job, other = yard.job(), yard.job("other")
    strange = 'a "quoted" \\ value=\n$(id) `id` \N{ROCKET}\tend'
    keep(yard, job, TOKEN="s3cr3t-value", STRANGE=strange, **{f"N{number}": f"value-{number}" for number in range(12)})
    keep(yard, other, OTHERS="of another pipeline")
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=PATH))
    assert (done.code, done.said) == (0, "")
    assert done.env["TOKEN"] == "s3cr3t-value"
    assert done.env["STRANGE"] == strange
    assert [done.env[f"N{number}"] for number in range(12)] == [f"value-{number}" for number in range(12)]
    assert "OTHERS" not in done.env
    assert {"s3cr3t-value", strange, 'a "quoted" \\ value='} <= set(hidden(yard)), "each line by itself, too"


def test_a_variable_of_the_step_stays_and_a_bad_secret_stops_no_other(yard: JobYard) -> None:
    job = yard.job()
    keep(yard, job, TOKEN="of the pipeline", PATH="/evil", LD_PRELOAD="evil", BUILDKITE_X="evil", UID="0", GOOD="taken")
    keep(yard, job, **{"not.a.name": "x", "deeper/NAME": "x"})
    done = yard.hooked(job, env={"TOKEN": "of the step"}, job_aws=yard.job_aws(secrets=PATH))
    assert done.code == 0
    assert (done.env["TOKEN"], done.env["GOOD"]) == ("of the step", "taken")
    assert "evil" not in done.env.values()
    assert "/evil" not in done.env["PATH"]
    for name in ("PATH", "LD_PRELOAD", "BUILDKITE_X", "UID", "not.a.name"):
        assert f"secret {name} is left out" in done.said


def test_a_pipelines_ssh_key_and_git_credentials(yard: JobYard) -> None:
    job = yard.job()
    key = yard_key(yard.place / "never-written")
    keep(yard, job, ssh__key=key, git__credentials="https://x:s3cr3t@git.example")
    script = """
ssh-add -l | cut -d' ' -f3
printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill | grep password
ssh-agent -k >/dev/null 2>&1; pkill -f "ssh-agent -a $SSH_AUTH_SOCK"; true
"""
    done = yard.hooked(job, script, job_aws=yard.job_aws(secrets=PATH))
    assert done.out.splitlines() == ["of-the-tests", "password=s3cr3t"], done.said
    assert any("s3cr3t" in text for text in hidden(yard))


def test_one_secret_of_secrets_manager_holds_a_pipelines_pairs(yard: JobYard) -> None:
    yard.sts.roles[yard.role.arn] = job_role({**ACCESS, "JobSecretsPath": MANAGER})
    job, other = yard.job(), yard.job("other")
    pairs = {"TOKEN": "s3cr3t-value", "NUMBER": 5, "QUOTED": 'a "b" \\ c\nd'}
    manager = yard.operator("secretsmanager")
    manager.create_secret(Name=f"ci/pipelines/{job.pipeline_id}", SecretString=json.dumps(pairs))
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=MANAGER))
    assert done.code == 0
    assert (done.env["TOKEN"], done.env["QUOTED"]) == (pairs["TOKEN"], pairs["QUOTED"])
    assert "secret NUMBER is left out: its value in secret" in done.said
    assert "NUMBER" not in done.env
    theirs = yard.hooked(other, job_aws=yard.job_aws(secrets=MANAGER))
    assert "TOKEN" not in theirs.env


def test_a_pipeline_without_secrets_goes_on(yard: JobYard) -> None:
    done = yard.hooked(yard.job(), "echo ran", job_aws=yard.job_aws(secrets=PATH))
    assert (done.code, done.out) == (0, "ran\n"), done.said
    assert "no parameter is under" in done.said


@pytest.mark.parametrize("fault", ["the role is not trusted", "the role reads no secrets", "STS is down"])
def test_secrets_that_cannot_be_read_end_the_job_with_the_reason(yard: JobYard, fault: str) -> None:
    job = yard.job()
    if fault == "the role is not trusted":
        yard.sts.roles.clear()
    elif fault == "the role reads no secrets":
        yard.sts.roles[yard.role.arn] = job_role({**ACCESS, "JobSecretsPath": ""})
    else:
        yard.sts.down = True
    env = {"PATIENCE_SECONDS": "5"}
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=PATH), env=env)
    assert (done.code, done.out) == (1, "")
    assert {"the role is not trusted": "Not authorized", "STS is down": "down"}.get(fault, "AccessDenied") in done.said
    assert "without the secrets of its pipeline" in done.said
    assert "instance metadata" not in done.said, "whom this program never asks"


def put(yard: JobYard, **files: str) -> None:
    for name, body in files.items():
        yard.operator("s3").put_object(Bucket="elastic-secrets", Key=name, Body=body.encode())


def test_the_secrets_bucket_of_an_elastic_stack_is_read_by_the_slug(yard: JobYard) -> None:
    files = {"env": "export SHARED=1\nexport BOTH=shared", "app/env": "BOTH=of-app", "other/env": "export OTHERS=1"}
    secret_files = {"app/secret-files/API_TOKEN": "t0ken-value\n", "secret-files/ALL_TOKEN": "for-all"}
    put(yard, **files, **secret_files, **{"git-credentials": "https://x:y@git.example"})
    done = yard.hooked(yard.job(), job_aws=yard.job_aws(bucket="elastic-secrets"))
    assert done.code == 0, done.said
    assert (done.env["SHARED"], done.env["BOTH"]) == ("1", "of-app")
    assert (done.env["API_TOKEN"], done.env["ALL_TOKEN"]) == ("t0ken-value", "for-all")
    assert "OTHERS" not in done.env
    assert "whoever makes a pipeline with the slug app gets these secrets" in done.said


def test_a_slug_that_was_another_pipelines_gives_nothing(yard: JobYard) -> None:
    first = yard.job()
    put(yard, **{"app/env": "export X=1", "app/pipeline-id": f"{first.pipeline_id}\n", "env": "export SHARED=1"})
    mine = yard.hooked(first, job_aws=yard.job_aws(bucket="elastic-secrets"))
    assert (mine.env["X"], mine.said) == ("1", "")
    (yard.place / "run" / "aws" / "env").unlink()
    yard.buildkite.rename_pipeline("app", "renamed")
    reused = yard.hooked(yard.job("app"), job_aws=yard.job_aws(bucket="elastic-secrets"))
    assert "X" not in reused.env
    assert reused.env["SHARED"] == "1"
    assert f"are those of pipeline {first.pipeline_id}, which had this slug before" in reused.said
    (yard.place / "run" / "aws" / "env").unlink()
    renamed = yard.hooked(yard.job("renamed"), job_aws=yard.job_aws(bucket="elastic-secrets"))
    assert "X" not in renamed.env
    assert "A pipeline that was renamed finds its files by the old slug no more" in renamed.said
