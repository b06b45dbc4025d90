"""Docker's logins and mirrors, as root leaves them for the job: text in, docker's own files out."""

import base64
import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from infra.user_data import VM
from tests.vm import readers

HUB = "https://index.docker.io/v1/"
ANSWER = json.dumps(
    {"authorizationData": [{"authorizationToken": "QVdTOng=", "proxyEndpoint": "https://1.dkr.ecr.x.amazonaws.com"}]}
)


def auths(text: str) -> dict[str, str]:
    """By registry, user and password."""
    return {name: base64.b64decode(one["auth"]).decode() for name, one in json.loads(text)["auths"].items()}


@pytest.mark.parametrize(
    ("line", "registry", "login"),
    [
        ("https://acme:tok3n@docker.io", HUB, "acme:tok3n"),
        ("https://acme:tok3n@index.docker.io/", HUB, "acme:tok3n"),
        ("https://acme:a@b:c/d%20@ghcr.io", "ghcr.io", "acme:a@b:c/d%20"),
        ('https://_json_key:{"a": "b@c", "d": "e\\n"}@gcr.io', "gcr.io", '_json_key:{"a": "b@c", "d": "e\\n"}'),
        ("https://x:$(reboot)`y`'\"@registry.example:5000", "registry.example:5000", "x:$(reboot)`y`'\""),
        (f"https://x:{'y' * 3000}@registry.example", "registry.example", f"x:{'y' * 3000}"),
    ],
)
def test_a_line_is_a_login_of_dockers_own(line: str, registry: str, login: str) -> None:
    read = readers.docker_logins(f"# logins\r\n{line}\r\n")
    assert (read.refused, auths(read.text)) == ("", {registry: login})


def test_registries_stand_beside_each_other_and_a_later_line_of_one_counts() -> None:
    read = readers.docker_logins("https://a:1@ghcr.io\nhttps://b:2@docker.io\nhttps://c:3@ghcr.io")
    assert auths(read.text) == {"ghcr.io": "c:3", HUB: "b:2"}


@pytest.mark.parametrize("line", ["ghcr.io", "https://ghcr.io", "https://user@ghcr.io", "https://a:b@", "http://a:b@c"])
def test_a_line_that_is_no_login_is_refused_with_its_number_and_not_its_text(line: str) -> None:
    said = readers.docker_logins(f"https://a:1@ghcr.io\n{line}\n").refused
    assert said == "parameter /ci/docker, line 2 is not https://user:password@registry"


def test_other_accounts_of_ecr_have_the_same_login() -> None:
    read = readers.registry_login(ANSWER, accounts="222222222222,333333333333")
    names = ("1", "222222222222", "333333333333")
    assert auths(read.text) == {f"{name}.dkr.ecr.x.amazonaws.com": "AWS:x" for name in names}


MIRRORS = "https://mirror.example/,https://other.example:5000"
URLS = ["https://mirror.example", "https://other.example:5000"]


@pytest.mark.parametrize(
    "there", ["", "{}", " {\n}\n", '{"debug": true, "bip": "10.0.0.1/24"}', '\n{\n "a": {"b": []}\n}\n']
)
def test_docker_and_buildkit_get_the_mirrors_beside_what_is_there(tmp_path: Path, there: str) -> None:
    daemon = tmp_path / "daemon.json"
    if there:
        daemon.write_text(there)
    said = readers.configure_mirrors(MIRRORS, tmp_path)
    assert (said.refused, said.text.splitlines()[-1]) == ("", "systemctl reload docker")
    assert json.loads(daemon.read_text()) == {"registry-mirrors": URLS, **json.loads(there or "{}")}
    assert daemon.stat().st_mode & 0o777 == 0o644
    builder = tomllib.loads((tmp_path / ".docker/buildx/buildkitd.default.toml").read_text())
    assert builder == {"registry": {"docker.io": {"mirrors": ["mirror.example", "other.example:5000"]}}}


@pytest.mark.parametrize(
    ("there", "why"), [('{"registry-mirrors": []}', "of its own, and they stay"), ("[]", "holds no JSON object")]
)
def test_what_an_image_wrote_stays_and_that_is_told(tmp_path: Path, there: str, why: str) -> None:
    (tmp_path / "daemon.json").write_text(there)
    said = readers.configure_mirrors(MIRRORS, tmp_path).text
    assert said.startswith("DockerRegistryMirrors: ")
    assert why in said
    assert (tmp_path / "daemon.json").read_text() == there


def test_without_mirrors_nothing_is_written(tmp_path: Path) -> None:
    assert readers.configure_mirrors("", tmp_path).text == ""
    assert list(tmp_path.iterdir()) == []


DOCKER = """#!/bin/bash
printf '%s %s\\n' "$*" "$(cat)" >>"$CALLS"
[[ $* != *broken* ]]
"""


def test_logins_are_added_one_by_one_to_settings_that_are_there(tmp_path: Path) -> None:
    """By the hook, with docker's own command; one that docker refuses does not stop the others."""
    home, private, tools = (tmp_path / name for name in ("home", "private", "bin"))
    for path in (home / ".docker", private / "docker", tools):
        path.mkdir(parents=True)
    (home / ".docker/config.json").write_text('{"credsStore": "pass"}')
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    logins = readers.docker_logins("https://a:1@broken.example\nhttps://b:2:x@docker.io\nhttps://c:3@ghcr.io\n").text
    (private / "docker/config.json").write_text(logins)
    done = subprocess.run(
        ["bash", "-euc", f"source {VM}/hooks/environment; compgen -v agent_stack || true"],
        env={
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(home),
            "AGENT_STACK_PRIVATE": str(private),
            "CALLS": str(tmp_path / "calls"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "calls").read_text().splitlines() == [
        "login --username a --password-stdin broken.example 1",
        "login --username c --password-stdin ghcr.io 3",
        f"login --username b --password-stdin {HUB} 2:x",
    ]
    assert done.stderr == "agent-stack: docker could not be logged in to broken.example\n"
    assert done.stdout == "", "no password is left in a variable"
