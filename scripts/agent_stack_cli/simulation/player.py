"""Plays days in processes of their own, one for each set, and shows how far they are.

The simulator is no part of this package. An installed command finds it in the directory `agent_stack_simulator` beside
its packages, a checkout in its own root; its modules are imported in the child process only.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from agent_stack_cli.errors import PROGRAM, CliError

NEEDED = ("moto", "werkzeug", "matplotlib")
INSTALL = "install with both extras: uv tool install 'agent-stack-ec2[cli,simulate] @ git+<this repository>'"
HOUR = 3600.0


class SetDiedError(CliError):
    """The process that played a set has ended in its midst. The set itself may be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What became of one day, and how fast it was played."""

    outcome: Mapping[str, Any]
    simulated_hours: float
    real_seconds: float
    cpu_seconds: float

    @property
    def hours_a_minute(self) -> float:
        """Simulated hours in a real minute."""
        return self.simulated_hours / max(self.real_seconds, 1e-9) * 60

    @property
    def hours_a_cpu_minute(self) -> float:
        """Simulated hours in a minute of one core: the same on a machine that does other things, too."""
        return self.simulated_hours / max(self.cpu_seconds, 1e-9) * 60


def simulator() -> Path:
    """The directory that the simulator's modules are imported from.

    Raises:
        CliError: it is not there, or a package that it needs.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise CliError(f"the package {missing[0]} is missing, which a simulation needs", next=INSTALL)
    here = Path(__file__).resolve()
    for candidate in (here.parents[2] / "agent_stack_simulator", here.parents[3]):
        if (candidate / "tests" / "simulator" / "day" / "__main__.py").is_file():
            return candidate
    raise CliError("the simulator was not installed with this command", next=INSTALL)


def play(requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Played | SetDiedError]:
    """Play them all at once, with a bar for each. A process that dies takes no other one with it.

    Raises:
        CliError: one is wrong, and why; at once, whatever the others still do. Or all have died.
    """
    root = simulator()
    console = Console(stderr=True)
    with (
        ExitStack() as ending,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress,
        ThreadPoolExecutor(len(requests)) as pool,
    ):
        children = [_Child(root, name, request) for name, request in requests]
        for child in children:
            ending.callback(child.end)
        tasks = [progress.add_task(child.name, total=child.seconds, said="") for child in children]
        found = [pool.submit(child.follow, progress, task) for child, task in zip(children, tasks, strict=True)]
        try:
            return _results(found)
        except BaseException:
            for child in children:
                child.end()
            raise


def _results(found: Sequence[Future[Played]]) -> list[Played | SetDiedError]:
    left, died = set(found), list[SetDiedError]()
    while left:
        done, left = wait(left, return_when=FIRST_EXCEPTION)
        for one in done:
            error = one.exception()
            if isinstance(error, SetDiedError):
                died.append(error)
            elif error is not None:
                raise error
    if len(died) == len(found):
        raise died[0]
    return [error if isinstance(error := one.exception(), SetDiedError) else one.result() for one in found]


def _environment(root: Path) -> dict[str, str]:
    """Where the child finds its modules: not in the operator's directory, whose `tests` would hide the simulator's."""
    own = [str(root), *(place for place in sys.path if place and os.path.realpath(place) != os.path.realpath("."))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(own), "PYTHONSAFEPATH": "1"}


class _Child:
    """One process that plays one day."""

    def __init__(self, root: Path, name: str, request: Mapping[str, Any]) -> None:
        self.name = name
        self.seconds = float(request["seconds"])
        self._began = time.monotonic()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (`end` closes it)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulator.day"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(root),
        )
        assert self._process.stdin is not None  # noqa: S101  (a pipe was asked for)
        try:
            with self._process.stdin as pipe:
                json.dump(request, pipe)
        except BrokenPipeError:
            pass  # it has ended, and what it wrote says why

    def follow(self, progress: Progress, task: TaskID) -> Played:
        """Read what it writes until its end."""
        assert self._process.stdout is not None  # noqa: S101  (as above)
        hours = cpu = 0.0
        for line in self._process.stdout:
            said = json.loads(line)
            if "error" in said:
                raise CliError(f"{self.name}: {said['error']}", next="correct it, and simulate again")
            if "outcome" in said:
                real = time.monotonic() - self._began
                return Played(outcome=said["outcome"], simulated_hours=hours, real_seconds=real, cpu_seconds=cpu)
            hours, cpu = said["seconds"] / HOUR, said["cpu"]
            speed = hours / max(time.monotonic() - self._began, 1e-9) * 60
            words = f"{hours:.1f} of {self.seconds / HOUR:.1f} h, {said['jobs']} jobs, {speed:.1f} h a minute"
            progress.update(task, completed=said["seconds"], total=max(self.seconds, said["seconds"]), said=words)
        code = self._process.wait()
        silent = "it ended without a word" if code >= 0 else f"signal {-code} ended it, as when memory runs out"
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or [silent])[-1]
        raise SetDiedError(
            f"{self.name}: the simulation failed: {last}",
            next=f"report it with the files that you gave and the output of {PROGRAM} simulate --json",
        )

    def end(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
