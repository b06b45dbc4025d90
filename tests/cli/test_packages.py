"""Installed without a checkout, the command finds every package that it imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = {"agent_stack", "agent_stack_cli"}
SIMULATION = ROOT / "scripts" / "agent_stack_cli" / "simulation"
DAY = "tests.simulator.day.__main__"


def test_every_import_of_the_command_is_declared_for_it() -> None:
    of = packages_distributions()
    for path in (ROOT / "scripts" / "agent_stack_cli").rglob("*.py"):
        brought = declared("cli", "simulate") if path.parent == SIMULATION else declared("cli")
        for module in imported(path):
            if module not in OURS and module not in sys.stdlib_module_names and not module.startswith("mypy_boto3"):
                assert {name.lower() for name in of[module]} & brought, f"{path.name} imports {module}"


def test_the_wheel_holds_every_module_of_a_simulated_day_and_declares_what_they_import() -> None:
    """They lie in it as in a checkout, so that they find each other."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    held = wheel["force-include"]
    assert all(inside == f"agent_stack_simulator/{outside}" for outside, inside in held.items())
    of, brought = packages_distributions(), declared("cli", "simulate")
    left, seen = [DAY], set[str]()
    while left:
        name = left.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        path = path if path.exists() else ROOT / name.replace(".", "/") / "__init__.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        assert any(path.relative_to(ROOT).is_relative_to(outside) for outside in held), f"{path} is not in the wheel"
        for module in modules(path):
            top = module.partition(".")[0]
            if top in {"tests", "infra"}:
                left.append(module)
            elif top not in OURS and top not in sys.stdlib_module_names:
                assert {found.lower() for found in of[top]} & brought, f"{path} imports {module}"
    assert "tests.simulator.simulation.simulation" in seen


def declared(*extras: str) -> set[str]:
    """The packages that an installation with these extras has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    names = {re.split(r"[><=\[]", line)[0].lower() for line in lines}
    return names | {"botocore", "mypy-boto3-cloudformation"}  # boto3's own; stubs are for type checkers only


def modules(path: Path) -> set[str]:
    """What a file imports at its top, with the names that may be modules themselves."""
    found = set[str]()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain} | {
        (node.module or "").partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)
    }
