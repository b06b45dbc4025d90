"""What people read: pages, templates' descriptions, what scripts and the command print, notifications, log texts."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROSE_KEYS = re.compile(
    r"^\s*(?:- )?(?:\w*Description|\w+: \{ default|- Label: \{ default|DisplayName|Name: !Sub \$\{Deployment\}/)"
)
CODE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<!-- codes:.*?<!-- end of codes -->", re.DOTALL)
TYPER = "import typer"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, and the line at which it begins."""

    file: str
    line: int
    text: str


def tracked(*patterns: str) -> list[str]:
    """The repository's files of these patterns, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).is_file())


def pages() -> Iterator[Text]:
    """Pages for users, without code. Decisions of the past, and what past releases said, keep their words."""
    for name in tracked("*.md"):
        if name.startswith(("docs/adr/", "tests/")):
            continue
        whole = (ROOT / name).read_text().partition("\n## 0.1.0")[0]
        bare = CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), whole)
        yield from (Text(name, number, line) for number, line in enumerate(bare.splitlines(), start=1))


def templates() -> Iterator[Text]:
    """Descriptions, labels, names of queries and the dashboard's texts."""
    for name in ("template.yaml", *tracked("infra/*.yaml")):
        indent = -1
        for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1):
            depth = len(line) - len(line.lstrip())
            if PROSE_KEYS.match(line):
                indent = depth if line.endswith(">-") else -1
                yield Text(name, number, line)
            elif indent >= 0 and (depth > indent or not line):
                yield Text(name, number, line)
            else:
                indent = -1
                for said in re.findall(r'"(?:title|label|markdown)": "([^"]*)"', line):
                    yield Text(name, number, said)


def python() -> Iterator[Text]:
    """Strings of several words. Docstrings only of the command's verbs, which show them as help."""
    for name in tracked("functions/*.py", "scripts/*.py", "infra/*.py", "tests/simulator/demo/*.py"):
        source = (ROOT / name).read_text()
        tree = ast.parse(source)
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and TYPER not in source
        }
        bare = (
            {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)} if TYPER not in source else set()
        )
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if " " in node.value and id(node) not in docs | bare:
                yield Text(name, node.lineno, CODE.sub(" ", node.value))


def shell() -> Iterator[Text]:
    """The comments that a script shows as its help, and its strings of several words."""
    for name in tracked("scripts", "infra/vm/*.sh", ".ci"):
        text = (ROOT / name).read_text()
        if name.endswith((".py", ".json", ".yml")) or (not text.startswith("#!") and not name.endswith(".sh")):
            continue
        help_ended = False
        for number, line in enumerate(text.splitlines(), start=1):
            help_ended = help_ended or not line.startswith("#")
            if not help_ended and name.startswith("scripts/"):
                yield Text(name, number, line)
            elif help_ended and not line.lstrip().startswith("#"):
                for said in re.findall(r"\"[^\"]* [^\"]*\"|'[^']* [^']*'", line):
                    yield Text(name, number, said)


def spoken() -> Iterator[Text]:
    """All that the stack and its scripts say: everything but pages."""
    for part in (templates, python, shell):
        yield from part()
