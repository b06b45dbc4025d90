"""The tools that a baked image brings: what each system installs, and plugins of docker as they are pinned."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.image_yard import Yard
from tests.infra.test_image_model import SYSTEMS, image

PLUGINS = "/usr/local/lib/docker/cli-plugins"
CURL = """#!/bin/bash
while (($#)); do
  [[ $1 == -o ]] && file=$2 && shift
  url=$1 && shift
done
echo "$url" >>"$ASKED"
echo "a plugin" >"$file"
"""


def steps(system: str, architecture: str, phase: str = "build") -> dict[str, str]:
    """The commands of each step of the image's own component, as Image Builder runs them."""
    resource: Any = image(system, architecture).resources["Component"]
    document = yaml.safe_load(resource["Properties"]["Data"])
    (named,) = [one for one in document["phases"] if one["name"] == phase]
    return {step["name"]: "\n".join(step["inputs"]["commands"]) for step in named["steps"]}


@pytest.mark.parametrize(("system", "architecture"), SYSTEMS)
def test_the_tools_that_people_expect_are_installed_and_asked_for_their_versions(
    system: str, architecture: str
) -> None:
    installed = steps(system, architecture)["Packages"].splitlines()[0].split()
    assert {"git", "git-lfs", "jq", "zip", "unzip"} <= set(installed)
    ubuntu = system.startswith("ubuntu")
    assert {"docker.io", "docker-buildx", "docker-compose-v2"} <= set(installed) if ubuntu else "docker" in installed
    components = image(system, architecture).resources["Recipe"]["Properties"]["Components"]
    managed = [one for one in components if ":aws:component/aws-cli-version-2-linux/" in str(one["ComponentArn"])]
    assert ("awscli-2" in installed, len(managed)) == ((False, 1) if ubuntu else (True, 0)), "from one place each"
    asked = steps(system, architecture, "validate")["Everything"]
    for tool in ("git lfs", "docker buildx", "docker compose", "jq", "zip", "unzip", "buildkite-agent"):
        assert f"{tool} " in asked, tool


@pytest.mark.parametrize("architecture", ["x86", "arm64"])
@pytest.mark.parametrize("case", ["as pinned", "tampered with", "ubuntu"])
def test_a_plugin_of_docker_is_installed_only_with_its_pinned_digest(
    tmp_path: Path, architecture: str, case: str
) -> None:
    program = steps("amazon-linux-2023", architecture)["Plugins"]
    pinned = {word for word in program.split() if len(word) == 64}
    assert len(pinned) == 4, "two plugins on two architectures"
    if case == "as pinned":
        for digest in pinned:
            program = program.replace(digest, hashlib.sha256(b"a plugin\n").hexdigest())
    tools, asked = tmp_path / "bin", tmp_path / "asked"
    tools.mkdir()
    for name, text in {"curl": CURL, **({} if case == "ubuntu" else {"dnf": "#!/bin/bash\n"})}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", program.replace(PLUGINS, str(tmp_path / "plugins"))],
        env={"PATH": f"{tools}:{os.environ['PATH']}", "ASKED": str(asked), "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode == 0) is (case != "tampered with")
    found = sorted(path.name for path in tmp_path.glob("plugins/*"))
    assert found == (["docker-buildx", "docker-compose"] if case == "as pinned" else [])
    if case == "as pinned":
        machine = ("x86_64", "amd64") if architecture == "x86" else ("aarch64", "arm64")
        urls = asked.read_text().splitlines()
        assert all(url.startswith("https://github.com/docker/") and url.endswith(machine) for url in urls)


BUSY = """
echo "${0##*/} $*" >>"$CALLS"
(($(grep -c "^${0##*/} " "$CALLS") > BUSY_FOR)) || { echo "E: Could not get lock" >&2; exit 100; }
"""


@pytest.mark.parametrize("system", ["amazon-linux-2023", "ubuntu-server-24-lts"])
@pytest.mark.parametrize(("busy_for", "baked"), [(2, True), (9, False)])
def test_a_lock_or_a_mirror_that_is_busy_for_a_while_fails_no_bake(
    tmp_path: Path, system: str, busy_for: int, *, baked: bool
) -> None:
    manager = "apt-get" if system.startswith("ubuntu") else "dnf"
    yard = Yard(tmp_path, system, tools={manager: BUSY.replace("BUSY_FOR", str(busy_for))})
    yard.bake(())
    done = yard.run(steps(system, "x86")["Packages"])
    assert (done.returncode == 0) is baked
    asked = [call for call in yard.calls if call.startswith(manager)]
    calls = 2 if manager == "apt-get" else 1
    assert len(asked) == (busy_for + calls if baked else 5)
