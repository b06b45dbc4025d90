"""Every script of scripts/ explains itself and does nothing else meanwhile, and Ctrl-C ends it with all it began."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from typer.main import get_command

from agent_stack_cli.app import app
from infra.user_data import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.share(6)]

SCRIPTS = [
    ".ci/run",
    *sorted(
        f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file() and os.access(path, os.X_OK)
    ),
]
WITHIN_SECONDS = 1.0
STUB = "#!/bin/sh\necho began >>{began}\nsleep 600 &\nsleep 600\n"
"""In place of every program that a script may start: it starts another and never ends."""

PROGRAMS = ("python", "mypy", "ruff", "lint-imports", "shellcheck", "uv", "sam", "aws")
ARGUMENTS = {
    "scripts/deploy": ["stack", "--region", "eu-central-1"],
    "scripts/drain": ["stack"],
    "scripts/package": ["bucket", "--region", "eu-central-1"],
    "scripts/smoke": ["stack"],
}
MARKER = "SCRIPT_UNDER_TEST"


def environment(**changes: str) -> dict[str, str]:
    """As a person's shell has it: these tests are run by a script themselves."""
    kept = {name: value for name, value in os.environ.items() if name != "AGENT_STACK_SUPERVISED"}
    return {**kept, **changes}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone in which nothing was made yet."""
    made = tmp_path / "checkout"
    made.mkdir()
    for name in ("scripts", "infra", ".ci", "tests/simulator/vm"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "samconfig.toml", "template.yaml"):
        shutil.copy(ROOT / name, made / name)
    return made


def files(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_it_does_with_an_example_and_does_nothing(script: str, option: str, checkout: Path) -> None:
    before = files(checkout)
    asked = subprocess.run(
        [checkout / script, option],
        env={"PATH": os.defpath},  # no Python of this environment, and no other tool
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    first, *rest = asked.stdout.splitlines()
    assert len(first) > 30
    assert any(script in line for line in (first, *rest))
    assert files(checkout) == before


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_every_option(script: str) -> None:
    """Those that the program behind it takes."""
    source = (ROOT / script).read_text()
    module = re.search(r"exec python -m (\S+) \"\$@\"", source)
    taken = set(re.findall(r"^ +(--[a-z-]+)\)", source, re.MULTILINE))
    if module is not None and module[1] not in {"pytest", "tests.artefact"}:
        command = [sys.executable, "-m", module[1], "--help"]
        path = os.pathsep.join(map(str, (ROOT / "functions", ROOT / "scripts", ROOT)))
        said = subprocess.run(command, cwd=ROOT, env=environment(PYTHONPATH=path), capture_output=True, check=True)
        taken |= set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", said.stdout.decode())) - {"--help"}
    explained = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    assert {option for option in taken if option not in explained} == set()


def test_the_operators_command_names_its_verbs_and_its_next_commands_as_a_checkout_can_run_them() -> None:
    explained = subprocess.run([ROOT / "scripts" / "agent-stack", "--help"], capture_output=True, text=True, check=True)
    listed = explained.stdout.partition("every verb in one line:")[2].partition("scripts/agent-stack status")[0]
    assert set(re.findall(r"[a-z]+", listed)) == set(get_command(app).commands)  # type: ignore[attr-defined]  # a group of commands
    path = os.pathsep.join(map(str, (ROOT / "functions", ROOT / "scripts")))
    for program in ("agent-stack", "scripts/agent-stack"):
        said = subprocess.run(
            [sys.executable, "-m", "agent_stack_cli", "classes", "explain", "--help"],
            env=environment(PYTHONPATH=path, AGENT_STACK_PROGRAM=program),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"Usage: {program} classes explain" in said
        assert f"  {program} classes explain class=large" in said
    for script in ("agent-stack", "drain", "smoke"):
        assert "\nexport AGENT_STACK_PROGRAM=scripts/agent-stack\n" in (ROOT / "scripts" / script).read_text()


def marked(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def stubbed(checkout: Path) -> Mapping[str, str]:
    """The environment is made, and everything in it hangs."""
    began = checkout / "began"
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(STUB.format(began=began))
        (programs / name).chmod(0o755)
    lock = subprocess.run(
        ["cksum"], input=(checkout / "requirements.lock").read_bytes(), capture_output=True, check=True
    )
    (checkout / ".venv" / "made-from").write_bytes(lock.stdout)
    return environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PYTHON=sys.executable,
        TMPDIR=str(checkout.parent),
        **{MARKER: str(checkout)},
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_ends_it_at_once_with_one_line_and_nothing_is_left(script: str, checkout: Path) -> None:
    """As at a terminal: it is the terminal that signals, and every process of the script is signalled."""
    values = stubbed(checkout)
    process, terminal = pty.fork()
    if not process:
        os.chdir(checkout)
        program = str(checkout / script)
        os.execve(program, [program, *ARGUMENTS.get(script, [])], values)
    retry_until = time.monotonic() + 20
    while not (checkout / "began").exists() and time.monotonic() < retry_until:
        time.sleep(0.05)
    assert (checkout / "began").exists(), read(terminal)
    read(terminal)
    os.write(terminal, b"\x03")
    pressed = time.monotonic()
    said = until_closed(terminal)
    took = time.monotonic() - pressed
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT
    assert said.replace("^C", "").split("\r\n") == [f"{script}: interrupted", ""]
    assert marked(str(checkout)) == []
    assert [path.name for path in checkout.parent.iterdir()] == ["checkout"]  # no file of its own is left either
    assert took < WITHIN_SECONDS


def read(terminal: int) -> str:
    """What it said so far."""
    said = b""
    while select.select([terminal], [], [], 0.1)[0]:
        try:
            said += os.read(terminal, 65536)
        except OSError:
            break
    return said.decode()


def until_closed(terminal: int) -> str:
    """What it says until the last process that has the terminal is gone."""
    said = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # as Linux says it
            break
        if not some:
            break
        said += some
    os.close(terminal)
    return said.decode()


PARTS = re.findall(r"part (\S+) (scripts/\S+)", (ROOT / ".ci" / "run").read_text())


def run_with(checkout: Path, failing: str) -> "subprocess.CompletedProcess[str]":
    """CI's run, with parts that only say that they ran; the failing one asks for input first, which there is not."""
    values = stubbed(checkout)
    for _, script in PARTS:
        text = "read -r line; echo something is wrong; exit 3" if script == failing else "echo fine"
        (checkout / script).write_text(f"#!/usr/bin/env bash\n{text}\n")
    return subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env={**values, "CI": "true"}, capture_output=True, text=True, check=False
    )


def test_cis_run_goes_well_when_every_part_does_and_says_what_each_took(checkout: Path) -> None:
    ran = run_with(checkout, "")
    assert ran.returncode == 0
    for name, _ in PARTS:
        assert re.search(rf"^ok +\d+ s .* {name} ", ran.stdout, re.MULTILINE), name
    assert "fine" not in ran.stdout


@pytest.mark.parametrize("script", sorted({script for _, script in PARTS}))
def test_cis_run_fails_with_any_part_shows_what_it_said_and_runs_the_others(script: str, checkout: Path) -> None:
    ran = run_with(checkout, script)
    assert ran.returncode == 1
    for name, run in PARTS:
        assert re.search(rf"^{'FAILED' if run == script else 'ok'} .* {name} ", ran.stdout, re.MULTILINE), name
    assert "something is wrong" in ran.stdout
    failed = {name for name, run in PARTS if run == script}
    assert set(ran.stdout.splitlines()[-1].partition("failed: ")[2].split()) == failed
