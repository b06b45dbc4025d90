"""The constants as the product has them: of Python by its syntax, of the boot program by its lines."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SHELL = re.compile(
    r"^[ \t]*(?:local )?([A-Z_]+=(?:\$\(\()?[1-9][^#\n]*)"  # a name that begins with a number
    r"|(\$\{[A-Z_]+:-[1-9][0-9]*\})"  # what a setting is that is not set
    r"|(\btimeout (?:--kill-after=[0-9]+ )?[0-9]+|[a-z]+-(?:time|timeout) (?:= )?[0-9]+)",  # how long one may take
    re.MULTILINE,
)


def of_python(*folders: str, without: str = "") -> Iterator[str]:
    """Constants of modules and attributes of classes that have a number in them; of a table each row.

    Args:
        without: a room of these folders that is left out.
    """
    for folder in folders:
        files = (file for file in (ROOT / folder).rglob("*.py") if file.parent.name != without)
        for file in sorted(files):
            module = ".".join(file.relative_to(ROOT / folder).with_suffix("").parts)
            yield from (f"{module} {line}" for line in _of_body(ast.parse(file.read_text()).body))


def _of_body(body: list[ast.stmt], of: str = "") -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from _of_body(statement.body, f"{of}{statement.name}.")
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from _of_value(of + ", ".join(map(ast.unparse, targets)), statement.value)


def _of_value(name: str, value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Dict):
        for key, one in zip(value.keys, value.values, strict=True):
            yield from _of_value(f"{name}[{'' if key is None else ast.unparse(key)}]", one)
    elif _has_a_number(value):
        yield f"{name} = {' '.join(ast.unparse(value).split())}"


def _has_a_number(value: ast.AST) -> bool:
    """Zero is where counting begins, and what is in brackets or a function is no constant."""
    match value:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float() as number):
            return number != 0
        case ast.Subscript() | ast.Lambda():
            return False
        case _:
            return any(map(_has_a_number, ast.iter_child_nodes(value)))


def of_shell(folder: str) -> Iterator[str]:
    """Names that begin with a number, defaults of settings, and how long programs may take."""
    for file in sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and path.parent.name != "data"):
        lines = (line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
        for found in _SHELL.finditer("\n".join(lines)):
            yield f"{file.relative_to(ROOT / folder)} {found.group().strip()}"
