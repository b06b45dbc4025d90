"""Each command that a page shows exists, with its verbs and its options."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from agent_stack_cli.app import app
from agent_stack_cli.parameter_rules import problems, specification
from infra.user_data import ROOT

PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/*.md")]
    if page.name != "CHANGELOG.md" and "adr" not in page.parts
]
"""Those of now: the others tell of commands as they were."""
BEGINS = re.compile(r"(?:^|(?<=[\s`(]))(?=(?:scripts/)?agent-stack (?!is|and)[a-z-]|scripts/[a-z-]+\b(?!\.))")


DAY = {"--day"}


def shown(page: Path) -> Iterator[str]:
    """Each command of its blocks and of its inline code, without comment and placeholder."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in [*(line for block in blocks for line in block.splitlines()), *inline]:
        plain = re.sub(r"<[^>]*>|…|\[[^\]]*\]", "X", line)
        for part in re.split(r"\s#|&&|;|\|", plain):
            command = part.strip()
            if BEGINS.match(command):
                yield command


def words_of(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def options_of(words: list[str]) -> set[str]:
    return {word.partition("=")[0].rstrip(",.") for word in words if word.startswith("--") and len(word) > len("--")}


def wrong_verb(words: list[str]) -> str:
    """What is wrong with a call of the operator's command; nothing where it is right."""
    command: Any = get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        verbs = [word for word in rest if not word.startswith("-")]
        if not verbs:
            break
        name = verbs[0].rstrip(",.:")
        if name not in command.commands:
            return "" if name.isupper() else f"no verb {name}"
        rest.remove(verbs[0])
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    if hasattr(command, "commands"):
        known |= {"--install-completion", "--show-completion"}
    missing = options_of(rest) - known
    return f"no option {', '.join(sorted(missing))}" if missing else ""


@cache
def source_of(script: Path) -> str:
    """Its text, and that of the module that it starts."""
    text = script.read_text()
    for module in re.findall(r"python -m \"?([\w.]+\w)", text):
        path = ROOT / module.replace(".", "/")
        files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.glob("*.py"))
        text += "".join(file.read_text() for file in files)
    return text


def wrong_script(words: list[str]) -> str:
    """The same of a script: an option is one that its text, or its module's, names."""
    script = ROOT / words[0]
    if not script.is_file():
        return "no such script"
    if DAY & set(words):  # the rest goes to the operator's command
        return wrong_verb(["agent-stack", "simulate", *(word for word in words[1:] if word not in DAY)])
    source = source_of(script)
    missing = {option for option in options_of(words[1:]) - {"--help"} if not re.search(rf"{option}(?![\w-])", source)}
    return f"no option {', '.join(sorted(missing))}" if missing else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_of_a_page_exists_with_its_options(page: Path) -> None:
    found = []
    for command in shown(page):
        words = words_of(command)
        wrong = wrong_verb(words) if words[0].endswith("agent-stack") else wrong_script(words)
        if wrong:
            found.append(f"{command}: {wrong}")
    assert found == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert wrong_verb(["agent-stack", "statuss"])
    assert wrong_verb(["agent-stack", "classes", "pushh", "x"])
    assert wrong_verb(["agent-stack", "status", "--wach"])
    assert wrong_script(["scripts/deploi", "ci"])
    assert wrong_script(["scripts/deploy", "ci", "--dry"])
    assert wrong_script(["scripts/simulate", "--sead", "7"])
    assert not wrong_script(["scripts/simulate", "--seed", "7"])
    assert not wrong_verb(["agent-stack", "classes", "push", "classes.json", "--stack", "ci"])


def test_most_pages_show_commands() -> None:
    assert sum(len(list(shown(page))) for page in PAGES) > 100


def settings(page: Path) -> Iterator[tuple[str, str]]:
    """Each parameter that a page gives a value in code, without placeholders."""
    for code in re.findall(r"^ *```[^\n]*\n(.*?)^ *```|`([^`\n]+)`", page.read_text(), re.MULTILINE | re.DOTALL):
        for name, value in re.findall(r"(?:^|(?<=[\s`]))([A-Z][A-Za-z]+)=([^\s`'\"]*)", "".join(code)):
            if name in specification() and not re.search(r"[<…$]", value):
                yield name, value.rstrip(",.;:")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_value_that_a_page_gives_a_parameter_is_one_that_it_takes(page: Path) -> None:
    wrong = [said for name, value in settings(page) for said in problems({name: value})]
    assert wrong == []


def test_pages_give_parameters_values() -> None:
    assert len({name for page in PAGES for name, _ in settings(page)}) > 30
