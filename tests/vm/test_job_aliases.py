"""Aliases: secrets with a readable name, or for several pipelines. The operator keeps the rows and the tags."""

import json

import pytest

from tests.vm.job_stack import ACCESS, job_role
from tests.vm.job_yard import JobYard
from tests.vm.test_job_secrets import MANAGER, PATH, hidden, keep

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]


def share(yard: JobYard, name: str, value: str, *pipelines: str) -> None:
    tags = [{"Key": "agent-stack:pipelines", "Value": " ".join(pipelines)}] if pipelines else []
    yard.operator("ssm").put_parameter(Name=f"{PATH}/{name}", Value=value, Type="SecureString", Tags=tags)


def test_an_alias_gives_what_its_tag_allows_and_a_bad_one_stops_no_other(yard: JobYard) -> None:
    job, other = yard.job(), yard.job("other")
    rows = "payments/SHARED, payments/OWN\nothers/THEIRS none/GONE ../x $(id) payments/LAST"
    keep(yard, job, OWN="of the pipeline", **{"agent-stack-aliases": rows})
    share(yard, "payments/SHARED", "shared-value", other.pipeline_id, job.pipeline_id)
    share(yard, "payments/OWN", "of the alias", job.pipeline_id)
    share(yard, "others/THEIRS", "of another", other.pipeline_id)
    share(yard, "payments/LAST", "last-value", job.pipeline_id)
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=PATH))
    assert (done.code, done.out) == (0, "ran\n"), done.said
    assert (done.env["SHARED"], done.env["LAST"]) == ("shared-value", "last-value")
    assert done.env["OWN"] == "of the pipeline"
    assert not {"THEIRS", "GONE", "agent-stack-aliases"} & set(done.env)
    assert {"shared-value", "last-value"} <= set(hidden(yard))
    for name in ("others/THEIRS", "none/GONE"):
        assert f"alias {name} is left out: secret {PATH}/{name} is not there, or its tag" in done.said
    assert "alias '../x' is left out: write letters" in done.said
    assert "uid=" not in done.said


def test_a_row_of_ones_own_opens_nothing(yard: JobYard) -> None:
    """Who may write a pipeline's secrets may write its row, and still reads nothing that a tag does not allow."""
    job, other = yard.job(), yard.job("other")
    keep(yard, other, TOKEN="of another")
    keep(yard, job, **{"agent-stack-aliases": f"{other.pipeline_id}/TOKEN"})
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=PATH))
    assert done.code == 0
    assert "TOKEN" not in done.env
    assert f"alias {other.pipeline_id}/TOKEN is left out" in done.said


def test_a_secret_of_secrets_manager_has_aliases_too(yard: JobYard) -> None:
    yard.sts.roles[yard.role.arn] = job_role({**ACCESS, "JobSecretsPath": MANAGER})
    job, other = yard.job(), yard.job("other")
    manager = yard.operator("secretsmanager")
    rows = json.dumps({"OWN": "of the pipeline", "agent-stack-aliases": "payments others"})
    manager.create_secret(Name=f"ci/pipelines/{job.pipeline_id}", SecretString=rows)
    for name, pipeline in (("payments", job), ("others", other)):
        pairs = json.dumps({"OWN": "of the alias", name.upper(): "shared-value"})
        tags = [{"Key": "agent-stack:pipelines", "Value": pipeline.pipeline_id}]
        manager.create_secret(Name=f"ci/pipelines/{name}", SecretString=pairs, Tags=tags)
    done = yard.hooked(job, job_aws=yard.job_aws(secrets=MANAGER))
    assert done.code == 0, done.said
    assert (done.env["OWN"], done.env["PAYMENTS"]) == ("of the pipeline", "shared-value")
    assert "OTHERS" not in done.env
    assert "alias others is left out" in done.said


def test_an_alias_that_cannot_be_asked_for_ends_the_job_with_the_reason(yard: JobYard) -> None:
    """Not there is an answer; a store that is busy is none, and a job would run without its secret."""
    job = yard.job()
    keep(yard, job, **{"agent-stack-aliases": "payments/SHARED"})
    share(yard, "payments/SHARED", "shared-value", job.pipeline_id)
    yard.front.lose_answer = lambda asked: asked.action == "ssm:GetParameter"
    done = yard.hooked(job, "echo ran", job_aws=yard.job_aws(secrets=PATH), env={"PATIENCE_SECONDS": "5"})
    assert (done.code, done.out) == (1, "")
    assert f"secret {PATH}/payments/SHARED cannot be read" in done.said
