"""Two versions of the product side by side, and what a deployment of one over the other changes."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.simulator.deployment import TEMPLATE, Deployed
from tests.simulator.world import FUNCTIONS, NAME, World

ROOT = TEMPLATE.parent
PARTS = ("functions", "infra", "template.yaml")


class DrillError(Exception):
    """The drill cannot begin; says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version's files."""

    name: str
    functions: Path
    template: Path


def this_version() -> Version:
    """What stands in this checkout."""
    return Version(name="this checkout", functions=FUNCTIONS, template=TEMPLATE)


def version_at(ref: str, directory: Path) -> Version:
    """What stood in the repository at that commit, unpacked into a directory.

    Raises:
        DrillError: there is no such commit, or its packages cannot be had.
    """
    packed = subprocess.run(["git", "archive", ref, *PARTS], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        said = packed.stderr.decode(errors="replace").strip()
        raise DrillError(
            f"--from {ref}: {said}. Fetch the history (git fetch --unshallow --tags), or name another commit"
        )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    version = Version(name=ref, functions=directory / "functions", template=directory / "template.yaml")
    needed = version.functions / "requirements.txt"
    if needed.read_text() != (FUNCTIONS / "requirements.txt").read_text():
        _install(needed, version.functions)
    return version


def _install(needed: Path, functions: Path) -> None:
    """Its own packages beside its code, as in the artefact."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--target", str(functions), "-r", str(needed)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DrillError(f"{needed} cannot be installed: {done.stderr.strip()[-300:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a deployment of a version over another one changes."""

    version: Version
    deployed: Deployed
    classes: str

    def again(self, *, number: int) -> "Deployment":
        """The same once more, as the deployment of that number."""
        return replace(self, deployed=_numbered(self.deployed, number))

    def take_effect(self, world: World) -> None:
        """All of it at once, as far as anybody can tell."""
        name = world.deployed.physical_ids["DefaultClasses"]
        world._client("ssm").put_parameter(Name=name, Value=self.classes, Overwrite=True)
        world.update(self.deployed, self.version.functions)


def deployment_over(world: World, version: Version, *, number: int) -> Deployment:
    """A deployment over the one that runs, as CloudFormation would do it: resources keep their names and their content.

    Moto cannot update every kind of resource in place, so it makes a second stack. What that one deploys goes into
    effect under the physical names of the first.

    Args:
        number: of the deployment; the launch template gets a version of that number.
    """
    before = world.deployed
    name = f"{NAME}-deployment-{number}"
    made = world.deploy(name, version.template)
    renamed = _renamed(made, before, name=name)
    classes = world._client("ssm").get_parameter(Name=made.physical_ids["DefaultClasses"])["Parameter"]["Value"]
    deployed = _numbered(renamed, number)
    return Deployment(version=version, deployed=deployed, classes=classes)


def _numbered(deployed: Deployed, number: int) -> Deployed:
    """With the launch template's version of that number."""
    environments = {
        function: {**variables, "LAUNCH_TEMPLATE_VERSION": str(number)}
        for function, variables in deployed.environments.items()
    }
    return replace(deployed, environments=environments, launch_template_version=str(number))


def _renamed(made: Deployed, before: Deployed, *, name: str) -> Deployed:
    """All of a deployment, under the names of the stack and its resources that were there before."""
    known = before.physical_ids
    names = {new: known[logical] for logical, new in made.physical_ids.items() if new.strip() and logical in known}
    longest_first = sorted([*names.items(), (name, NAME)], key=lambda pair: -len(pair[0]))

    def text(value: str) -> str:
        for new, old in longest_first:
            value = value.replace(new, old)
        return value

    def inside(value: Any) -> Any:  # noqa: ANN401  (any part of a document)
        return json.loads(text(json.dumps(value)))

    def each(values: Mapping[str, str]) -> dict[str, str]:
        return {name: text(value) for name, value in values.items()}

    return replace(
        made,
        environments={function: each(variables) for function, variables in made.environments.items()},
        user_data=text(made.user_data.decode()).encode(),
        launch_template=inside(made.launch_template),
        launch_template_id=before.launch_template_id,
        mailbox_table=before.mailbox_table,
        ledger_table=before.ledger_table,
        vm_policies=tuple(inside(policy) for policy in made.vm_policies),
        function_policies={name: tuple(map(inside, policies)) for name, policies in made.function_policies.items()},
        function_names=before.function_names,
        vm_role=before.vm_role,
        physical_ids={**made.physical_ids, **before.physical_ids},
    )
