"""What people paste, and where the command runs: no traceback for any of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from agent_stack_cli.errors import CliError
from agent_stack_cli.jobs import job_ids
from agent_stack_cli.stacks import Stack
from tests.cli.migrations import NOTHING, run_verb

ROOT = Path(__file__).parents[2]


class Named:
    """As much of a stack as a refusal needs."""

    def agent_stack(self, *words: str) -> str:
        return " ".join(words)


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "x",
        "https://[",
        "http://[x]/a/b/builds/1",
        "https://buildkite.com/a/b/builds/" + "9" * 5_000,
        "/a/b/builds/\u0661",
    ],
)
def test_what_names_no_job_is_refused_in_one_line(pasted: str) -> None:
    with pytest.raises(CliError, match="neither a job id nor the URL of a build"):
        job_ids(cast("Stack", Named()), pasted)


@pytest.mark.parametrize(
    ("verb", "option"),
    [("cost", "--days"), ("drain", "--minutes"), ("status", "--every"), ("simulate", "--hours")],
)
@pytest.mark.parametrize("number", ["1e300", "inf", "nan", "-1"])
def test_a_number_that_no_clock_takes_is_wrong_usage(verb: str, option: str, number: str) -> None:
    result = run_verb(verb, option, number)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert option in result.stderr


def test_a_terminal_without_our_characters_gets_their_numbers(tmp_path: Path) -> None:
    environment = {**os.environ, **NOTHING, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "agent_stack_cli", "migrate", "-", "-o", str(tmp_path)],
        input='{"MaxSize": "7", "\\u00e9": "x", "\\ud83d\\ude80": "y"}',
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "\\xe9" in ended.stdout
    assert "Traceback" not in ended.stderr
