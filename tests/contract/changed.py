"""Which contract suites a change concerns: `python -m tests.contract.changed COMMIT`, for scripts/fast.

A suite is concerned when it, or what it is made of, changed since that commit: its own files, and the packages of
adapters, ports and simulators that they import. The domain is in all of them, and has its unit tests.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / "tests" / "contract"
DOMAIN = "agent_stack.domain"


def concerned(changed: Iterable[str]) -> list[str]:
    """The suites' files.

    Args:
        changed: files, as git names them.
    """
    parts = {_part(_module(file)) for file in changed if file.endswith(".py")} - {DOMAIN}
    return [str(suite.relative_to(ROOT)) for suite in sorted(SUITES.glob("test_*.py")) if parts & _made_of(suite)]


def _made_of(file: Path) -> set[str]:
    """The parts of the repository that a suite imports, by its helpers too."""
    found = {_part(_module(str(file.relative_to(ROOT))))}
    for module in _imports(file):
        if _part(module) in found:
            continue
        helper = SUITES / f"{module.rpartition('.')[2]}.py"
        if module.startswith("tests.contract.") and helper.exists():
            found |= _made_of(helper)
        found.add(_part(module))
    return found


@cache
def _imports(file: Path) -> Sequence[str]:
    """A helper is among the imports of many suites."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return found


def _part(module: str) -> str:
    """`agent_stack.adapters.dynamodb.items` is of `agent_stack.adapters.dynamodb`."""
    words = module.split(".")
    return ".".join(words[: 2 if module.startswith(DOMAIN) else 3])


def _module(file: str) -> str:
    return file.removeprefix("functions/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    files = _git("diff", "--name-only", sys.argv[1]) + _git("ls-files", "--others", "--exclude-standard")
    sys.stdout.write("".join(f"{suite}\n" for suite in concerned(files)))
