"""Takes each stage out of the wiring in turn and expects the outcome to be wrong without it.

A stage whose absence nobody notices is either not needed or not tested. The whole chain runs along as a control, under
the same load. Prints one line a stage; exit 1 if one was not missed, or if the control failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from tests.simulator.chain_source import CHAINS, FUNCTIONS, without
from tests.simulator.simulation.outcome import stages, wrong

ROOT = FUNCTIONS.parent
OUTCOME_TESTS = ("tests/scenario/test_end_to_end.py", "tests/scenario/test_outcome.py")
"""In real time, and where that passes on the virtual clock: what is told after half a minute is seen there only."""

TEST_FAILED = 1  # pytest's exit code when tests ran and some failed
AT_ONCE = 2  # worlds; with more on two cores even the whole chain would come too late
NOTHING = ""  # what the control leaves out


def in_real_time(stage: str) -> str:
    """What the tests of the outcome find wrong without that stage; empty when nothing.

    Raises:
        RuntimeError: the test did not run.
    """
    with tempfile.TemporaryDirectory(prefix="agent-stack-without-") as directory:
        functions = Path(directory) / "functions"
        shutil.copytree(FUNCTIONS, functions, ignore=shutil.ignore_patterns("__pycache__"))
        files = [functions / chain for chain in CHAINS]
        for file, source in zip(files, without(stage, *(file.read_text() for file in files)), strict=True):
            file.write_text(source)
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
                *("-o", f"pythonpath={functions} {ROOT}"),
                *OUTCOME_TESTS,
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "AGENT_STACK_FUNCTIONS": str(functions),
                "AGENT_STACK_PATIENCE_SECONDS": "32",
                "PYTHONDONTWRITEBYTECODE": "1",
            },  # a copy for this once
            capture_output=True,
            text=True,
            check=False,
        )
    said = [line[1:].strip() for line in run.stdout.splitlines() if line.startswith("E  ")]
    if run.returncode not in {0, TEST_FAILED} or (
        run.returncode and not any("AssertionError" in line for line in said)
    ):
        raise RuntimeError(f"pytest ended with {run.returncode}: {' '.join(said[:1]) or run.stderr[-500:]}")
    return said[0] if said else ""


def report(found: Iterable[tuple[str, str]]) -> int:
    """Print what each stage's absence led to; the exit status."""
    missed = total = 0
    control_holds = True
    for stage, problem in found:
        sys.stdout.write(f"{'missed    ' if problem else 'not missed'}  {stage or '(nothing)':<14} {problem[:200]}\n")
        sys.stdout.flush()
        if stage == NOTHING:
            control_holds = not problem
        else:
            total += 1
            missed += bool(problem)
    sys.stdout.write(f"{missed} of {total} stages are missed when they are gone.\n")
    if not control_holds:
        sys.stdout.write(
            "The control failed: with every stage in place the outcome was wrong too, so nothing is shown.\n"
        )
    return 0 if control_holds and missed == total else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the stages named, or all; the exit status."""
    every = stages()
    parser = argparse.ArgumentParser(prog="scripts/without-each-stage", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"only these of {', '.join(every)}")
    parser.add_argument("--real-time", action="store_true", help="by the end-to-end test against the real functions")
    parsed = parser.parse_args(arguments)
    unknown = [stage for stage in parsed.stages if stage not in every]
    if unknown:
        parser.error(f"no stage is called {', '.join(unknown)}; there are {', '.join(every)}")
    wanted = [NOTHING, *(parsed.stages or every)]
    if parsed.real_time:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return report(zip(wanted, threads.map(in_real_time, wanted), strict=True))
    with ProcessPoolExecutor(AT_ONCE) as processes:
        return report(zip(wanted, processes.map(wrong, wanted), strict=True))


if __name__ == "__main__":
    sys.exit(main())
