"""A baked image holds no credential: neither of the builder's environment nor of any setting of the stack."""

import base64
import binascii
import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra.baked_program import IMAGE
from tests.infra.image_yard import Yard
from tests.infra.stacks import REQUIRED, deployed, template

WHOLE = ("Component", "Program", "ProgramRest", "Additions", "Pulls")
"""Every component of ours, in the recipe's order."""

ENVIRONMENT = {
    name: f"planted-{name}"
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "BUILDKITE_AGENT_TOKEN", "GITHUB_TOKEN"),
        *("DOCKER_AUTH_CONFIG", "HTTPS_PROXY", "NETRC", "PACKAGES", "REPOSITORIES", "IMAGES"),
    )
}

IN_THE_IMAGE = {
    "AgentVersion",
    "AgentDownloadUrl",
    "BakeImageDockerImages",
    "BakeImagePackages",
    "BakeImageRepositories",
}
"""What is to be in it. Their patterns leave no room for a user, a password or a query."""

SHAPES = ("{}", "/ci/{}", "{}=x", "https://{}.example/x", "http://{}.example:3128", "s3://ci-files/{}")


def planted() -> dict[str, tuple[str, str]]:
    """By parameter, a mark and a value that holds it; those that take no free text have none."""
    found: dict[str, tuple[str, str]] = {}
    for number, (name, declared) in enumerate(template()["Parameters"].items()):
        for mark in (f"planted-{number:03}-it", f"planted{number:03}it"):
            for shape in SHAPES:
                if "AllowedPattern" in declared and re.fullmatch(declared["AllowedPattern"], shape.format(mark)):
                    found.setdefault(name, (mark, shape.format(mark)))
    return found


def texts(content: bytes) -> Iterator[bytes]:
    """The file, and what is packed in it."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    for word in re.findall(rb"[A-Za-z0-9+/]{12,}={0,2}", content):
        try:
            yield base64.b64decode(word)
        except binascii.Error:
            continue


def left(files: Mapping[str, bytes], marks: Mapping[str, str]) -> set[tuple[str, str]]:
    """Names of marks with the files that hold them."""
    return {
        (name, file)
        for file, content in files.items()
        for text in texts(content)
        for name, mark in marks.items()
        if mark.encode() in text
    }


def bake(path: Path, system: str, settings: Mapping[str, str]) -> Yard:
    outer = dict(deployed({**settings, "BakeImage": system}).resources["Image"]["Properties"]["Parameters"])
    agent = f"{outer['AgentDownloadUrl']}/{outer['AgentVersion']}/buildkite-agent-linux-amd64"
    tools = {"sha256sum": "cat >/dev/null\n"}  # digests are test_image_tools' concern
    answers = {agent: b"an agent", f"{agent}.sha256": b"0" * 64 + b"  agent\n"}
    for plugin, file in re.findall(r" plugin (\w+) (v\S+) [0-9a-f]{64}\n", IMAGE.read_text()):
        answers[f"https://github.com/docker/{plugin}/releases/download/{file}"] = b"a plugin"
    yard = Yard(path, system, answers=answers, tools=tools)
    done = yard.bake(WHOLE, ENVIRONMENT, **outer)
    assert done.returncode == 0, done.stderr
    return yard


@pytest.mark.parametrize("system", ["amazon-linux-2023", "ubuntu-server-24-lts"])
def test_no_file_of_a_baked_image_holds_a_credential(tmp_path: Path, system: str) -> None:
    settings = {name: value for name, (_, value) in planted().items()}
    marks = {name: mark for name, (mark, _) in planted().items()}
    assert {"GitCredentialsParameter", "JobEnvironmentParameter", "AgentEnvironment", "HooksUrl"} <= set(marks)
    yard = bake(tmp_path, system, {**REQUIRED, **settings, "AgentVersion": "4.0.3"})
    files = yard.files()
    assert any(name.endswith("bin/buildkite-agent") for name in files), "the components did their work"
    assert left(files, ENVIRONMENT) == set()
    there = {name for name, _ in left(files, marks)}
    assert there <= IN_THE_IMAGE
    assert "BakeImageDockerImages" in there, "what is to be there is found"
    assert not any(name.startswith(("root/", "etc/docker/")) for name in files), "nothing of a login"


@pytest.mark.parametrize(
    "leak",
    [
        "env >/etc/environment",
        "mkdir -p /etc/x && echo $AWS_SECRET_ACCESS_KEY | base64 >/etc/x/y",
        "env | gzip >/var/lib/env.gz",
        'echo "$GITHUB_TOKEN" | docker login --password-stdin registry.example',
    ],
)
def test_the_test_finds_what_a_component_leaves(tmp_path: Path, leak: str) -> None:
    yard = Yard(tmp_path)
    yard.bake(())
    assert yard.run(leak, ENVIRONMENT).returncode == 0
    assert left(yard.files(), ENVIRONMENT) != set()
