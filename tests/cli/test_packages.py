"""Installed without a checkout, the command finds every package that it imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = {"agent_stack", "agent_stack_cli"}


def test_every_import_of_the_command_is_declared_for_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split(r"[><=\[]", line)[0].lower()
        for line in (*project["dependencies"], *project["optional-dependencies"]["cli"])
    }
    brought = declared | {"botocore", "mypy-boto3-cloudformation"}  # boto3's own; stubs are for type checkers only
    of = packages_distributions()
    for path in (ROOT / "scripts" / "agent_stack_cli").rglob("*.py"):
        for module in imported(path):
            if module not in OURS and module not in sys.stdlib_module_names and not module.startswith("mypy_boto3"):
                assert {name.lower() for name in of[module]} & brought, f"{path.name} imports {module}"


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain} | {
        (node.module or "").partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)
    }
