"""One trial: a copy of the repository, the change made in it, and the tests that must notice."""

import os
import subprocess
import sys
from pathlib import Path

from tests.mutants.copies import Copies
from tests.mutants.mutant import Layer, Mutant

SEEDS = 1_000  # of the simulation, at most; a mutant is left alone once it is caught
SECONDS = 600
TESTS_FAILED = 1  # pytest's exit status; every other one means that no test noticed anything


def caught(mutant: Mutant, copies: Copies) -> tuple[bool, str]:
    """Whether its layer noticed, and what it said first."""
    with copies.one(file for file, _, _ in mutant.changes) as copy:
        for file, before, after in mutant.changes:
            text = (copy / file).read_text()
            if text.count(before) != 1:
                return False, f"{file} holds {before!r} {text.count(before)} times, not once"
            (copy / file).write_text(text.replace(before, after))
        if any(file.startswith("infra/") for file, _, _ in mutant.changes):
            # Else a VM would refuse the changed program by its hash, and each test would fail for that.
            _run(["-m", "infra.generate"], copy).check_returncode()
        if mutant.layer is Layer.SIMULATION:
            return _in_the_simulation(mutant, copy)
        return _by_tests(mutant, copy)


def _by_tests(mutant: Mutant, copy: Path) -> tuple[bool, str]:
    options = ["-q", "-x", "-p", "no:cacheprovider", "-n", "0", "--no-header", "--tb=line"]
    try:
        run = _run(["-m", "pytest", *options, *mutant.tests], copy)
    except subprocess.TimeoutExpired:
        return True, f"its tests did not end within {SECONDS} s"
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED ")]
    if run.returncode == TESTS_FAILED and failed:
        return True, failed[0]
    return False, (run.stdout.splitlines() or run.stderr.splitlines() or ["nothing"])[-1]


def _in_the_simulation(mutant: Mutant, copy: Path) -> tuple[bool, str]:
    (promise,) = mutant.tests
    said: list[str] = []
    for first, seeds in worlds(mutant):
        run = _run(
            ["-m", "tests.simulator.simulation", "--first", str(first), "--seeds", str(seeds), "--as-found",
             "--until", promise], copy, None,
        )  # fmt: skip
        said = [line for line in run.stdout.splitlines() if line.startswith("seed ")] or run.stderr.splitlines()[-1:]
        ours = [line for line in said if line.startswith("seed ") and f": {promise}:" in line]
        if ours:
            return True, ours[0]
    return False, (said or ["nothing was broken"])[0]


def worlds(mutant: Mutant) -> list[tuple[int, int]]:
    """The first world of each play, and how many."""
    return [*([] if mutant.seed is None else [(mutant.seed, 1)]), (0, SEEDS)]


def _run(arguments: list[str], copy: Path, seconds: int | None = SECONDS) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(str(copy / part) for part in ("functions", "scripts", "."))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": f"{copy}-bytecode"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
