"""Logins during a bake: private docker images are in the image, and nothing of a login is."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.image_yard import Yard
from tests.infra.stacks import EVERYTHING, KEY, deployed
from tests.infra.test_image_credentials import texts
from tests.infra.test_image_model import image
from tests.simulator.iam.policy import Asked, Policies

HUB = "https://index.docker.io/v1/"
PASSWORD = "s3cret:with=@signs"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
OTHER = ECR.replace("123456789012", "222222222222")
TOKEN = base64.b64encode(b"AWS:ecr-session").decode()
PLACE = "arn:aws:ssm:eu-central-1:123456789012:parameter"


def form(user: str, password: str = PASSWORD) -> str:
    """Docker's own form of a login."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def yard(path: Path, *, lines: str | None = None, ecr: bool = True, system: str = "amazon-linux-2023") -> Yard:
    answers = {"aws_ecr_get-authorization-token": f"{TOKEN}\thttps://{ECR}\n".encode()} if ecr else {}
    if lines is not None:
        answers["aws_ssm_get-parameter"] = f"{lines}\n".encode()
    private = {HUB: form("acme"), "ghcr.io": form("bot"), ECR: TOKEN, OTHER: TOKEN}
    return Yard(path, system, answers=answers, private=private, secrets=f"s3cret|{form('acme')}|{form('bot')}|{TOKEN}")


LINES = f"# for pulls\r\n\nhttps://acme:{PASSWORD}@docker.io\nhttps://bot:{PASSWORD}@ghcr.io/"
IMAGES = f"acme/app:1, ghcr.io/acme/ci, {ECR}/tools, {OTHER}/tools"
GIVEN = {
    "DockerImages": IMAGES,
    "DockerLogins": "/ci/docker",
    "EcrLogin": "account",
    "EcrAccounts": "222222222222,333333333333",
}


@pytest.mark.parametrize("system", ["amazon-linux-2023", "ubuntu-server-24-lts"])
def test_private_docker_images_are_in_the_image_and_nothing_of_a_login_is(tmp_path: Path, system: str) -> None:
    made = yard(tmp_path, lines=LINES, system=system)
    done = made.bake(("Pulls",), {}, **GIVEN)
    assert (done.returncode, made.lacks) == (0, [])
    assert (made.root / "var/lib/docker/pulled").read_text().split() == IMAGES.replace(",", "").split()
    assert [call for call in made.calls if call.startswith("on the disk")] == [], "not while docker pulls either"
    secrets = ("s3cret", form("acme"), form("bot"), TOKEN)
    left = [
        name
        for name, content in made.files().items()
        for text in texts(content)
        for one in secrets
        if one.encode() in text
    ]
    assert left == [], "no configuration, history or temporary file"
    assert list((made.root / "dev/shm").iterdir()) == []
    assert not any(secret in done.stdout + done.stderr for secret in secrets), "the build's log"
    assert not any(secret in call for secret in secrets for call in made.calls), "no argument that processes show"


def test_the_test_finds_a_login_on_the_disk(tmp_path: Path) -> None:
    made = yard(tmp_path, lines=LINES)
    made.bake(())
    planted = f"echo {form('acme')} >/etc/login; DOCKER_CONFIG=/etc docker pull ghcr.example/public"
    assert made.run(planted).returncode == 0
    assert any(call.startswith("on the disk") for call in made.calls)


@pytest.mark.parametrize(
    ("given", "lines", "ecr", "why"),
    [
        (
            {},
            None,
            "ecr",
            "; DockerLoginsParameter=/ci/docker cannot be read: An error occurred (AccessDeniedException)",
        ),
        ({"DockerLogins": "/ci/{queue}/docker"}, LINES, "ecr", "a bake has no queue: name a parameter without {queue}"),
        (
            {},
            f"acme:{PASSWORD}\nhttps://bot:{PASSWORD}@ghcr.io",
            "ecr",
            "/ci/docker, line 1 is not https://user:password@",
        ),
        ({"DockerLogins": ""}, LINES, "", "; EcrLogin=account: no login can be had: An error occurred"),
        ({"DockerLogins": "", "EcrLogin": "none"}, LINES, "ecr", "pull access denied"),
    ],
)
def test_a_pull_that_fails_says_which_login_was_not_used_and_why(
    tmp_path: Path,
    given: Mapping[str, str],
    lines: str | None,
    ecr: str,
    why: str,
) -> None:
    made = yard(tmp_path, lines=lines, ecr=bool(ecr))
    done = made.bake(
        ("Pulls",), {}, **{**GIVEN, "DockerImages": "acme/app:1,ghcr.io/acme/ci,public.example/x", **given}
    )
    assert done.returncode == 0
    assert made.lacks[0].startswith("BakeImageDockerImages=acme/app:1 is not in this image: Error response from daemon")
    assert why in made.lacks[0]
    assert "s3cret" not in done.stdout + done.stderr + "".join(made.lacks)
    assert "public.example/x" in (made.root / "var/lib/docker/pulled").read_text(), "the others are there"
    if lines is not None and "line 1" in why:
        assert len(made.lacks) == 1, "a wrong line stops no other"


def test_nobody_is_asked_for_a_login_where_none_is_set(tmp_path: Path) -> None:
    made = yard(tmp_path)
    made.bake(("Pulls",), DockerImages="public.example/x")
    assert [call for call in made.calls if call.startswith("aws")] == []


def policies(**settings: str) -> Policies:
    """Of the builder, besides AWS's own."""
    outer: dict[str, Any] = dict(
        deployed({**EVERYTHING, "BakeImage": "amazon-linux-2023", **settings}).resources["Image"]["Properties"][
            "Parameters"
        ]
    )
    made = image(outer.pop("OperatingSystem"), outer.pop("Architecture"), **outer).resources
    found = [one["Properties"] for one in made.values() if one["Type"] == "AWS::IAM::Policy"]
    assert all(one["Roles"] == [made_role] for one in found for made_role in one["Roles"])
    return Policies([one["PolicyDocument"] for one in found])


def test_the_builder_may_read_these_logins_and_pull_and_nothing_else() -> None:
    may = policies(BakeImageDockerImages="ghcr.io/acme/ci", DockerLoginsParameter="/ci/docker")
    assert may.allow(Asked(action="ssm:GetParameter", resource=f"{PLACE}/ci/docker"))
    assert not may.allow(Asked(action="ssm:GetParameter", resource=f"{PLACE}/ci/signing-key"))
    decrypt = {"kms:ViaService": ["ssm.eu-central-1.amazonaws.com"]}
    assert may.allow(Asked(action="kms:Decrypt", resource=KEY, context=decrypt))
    assert not may.allow(Asked(action="kms:Decrypt", resource=KEY))
    repository = "arn:aws:ecr:eu-central-1:{}:repository/app"
    for account, allowed in (("123456789012", True), ("222222222222", True), ("444444444444", False)):
        context = {"aws:ResourceAccount": [account]}
        asked = Asked(action="ecr:BatchGetImage", resource=repository.format(account), context=context)
        assert may.allow(asked) is allowed
    secret = policies(BakeImageDockerImages="a/b", DockerLoginsParameter="/aws/reference/secretsmanager/docker")
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:docker-AbCdEf"
    assert secret.allow(Asked(action="secretsmanager:GetSecretValue", resource=arn))
    none = policies()
    assert list(none.statements) == [], "without a docker image to pull"
