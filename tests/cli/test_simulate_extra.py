"""Without the extra, simulate says which package is missing and how to get it."""

import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_stack_cli.app import app
from agent_stack_cli.simulation.app import EXTRA

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@pytest.mark.parametrize("package", sorted(EXTRA))
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in sys.modules if one.startswith("agent_stack_cli.simulation.verb")]:
        monkeypatch.delitem(sys.modules, name)

    class Without:
        """Finds nothing of what simulate needs."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "agent_stack_cli.simulation.verb":
                raise ModuleNotFoundError(f"No module named {package}.axes", name=f"{package}.axes")

    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    done = CliRunner().invoke(app, ["simulate", "--load", "burst"])
    assert done.exit_code == 1
    assert f"simulate needs the package {package}.axes" in done.stderr
    assert "agent-stack-ec2[cli,simulate]" in done.stderr


def test_the_extra_is_that_of_the_distribution() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["simulate"]
    assert {one.partition(">")[0] for one in extras} == EXTRA
