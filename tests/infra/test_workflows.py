"""CI, the hooks before a commit and the list in CONTRIBUTING.md call the repository's own scripts, and all of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.user_data import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = {
    f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file() and os.access(path, os.X_OK)
}


def commands_of(workflow: dict[str, Any]) -> Iterator[str]:
    """What its steps run, once for each value of the matrix."""
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {}).get("command", [""])
        for step in job["steps"]:
            for command in matrix if "run" in step else ():
                yield step["run"].replace("${{ matrix.command }}", command)


def program(command: str) -> str:
    """`CI=true bash .ci/run`: the script in it."""
    return next(word for word in command.split() if "/" in word)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_scripts_of_this_repository_and_nothing_else(workflow: Path) -> None:
    commands = list(commands_of(yaml.safe_load(workflow.read_text())))
    assert commands
    assert all(program(command) in SCRIPTS | {".ci/run"} for command in commands)


TAKE_TURNS = {".ci/run", "scripts/test", "scripts/mutate", "scripts/fast"}
"""What each commit plays a part of: tests.simulator.simulation.rotation counts the commits."""


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_that_takes_turns_knows_how_many_commits_there_are(workflow: Path) -> None:
    """Without the history the turn of a night's commit is another than that of the same commit by day."""
    held = yaml.safe_load(workflow.read_text())
    if not TAKE_TURNS & {program(command) for command in commands_of(held)}:
        return
    checkouts = [
        step.get("with", {})
        for job in held["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert checkouts
    assert all(options.get("fetch-depth") == 0 for options in checkouts)


def test_what_is_pushed_is_judged_by_the_same_run_as_on_a_developers_machine() -> None:
    assert "CI=true bash .ci/run" in commands_of(yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text()))


@pytest.mark.parametrize("option", ["--every-crash", "--coverage", "--harsh"])
def test_each_night_plays_what_takes_too_long_for_every_change(option: str) -> None:
    nightly = commands_of(yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text()))
    played = [command for command in nightly if command.startswith("scripts/simulate ") and option in command.split()]
    assert played
    assert not [command for command in played if "--share" in command], "each night plays them whole"


def test_each_night_plays_the_benchmarks_that_cannot_fail_a_change() -> None:
    nightly = commands_of(yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text()))
    assert any(command.startswith("scripts/bench --quick") for command in nightly)


@pytest.mark.parametrize("script", ["scripts/true-runs", "scripts/drill"])
def test_each_night_runs_the_whole_stack_in_real_time(script: str) -> None:
    assert script in commands_of(yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text()))


def test_hooks_before_a_commit_are_local_and_call_scripts() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {program(hook["entry"]) for hook in repository["hooks"]} <= SCRIPTS


def test_contributing_lists_every_script() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    assert {script for script in SCRIPTS if f"\n{script} " not in page} == set()
