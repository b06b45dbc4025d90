"""`python -m tests.simulator.true_runs`: true runs, one after the other; prints a table. Exit 1 if one failed."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.simulator.true_runs.run import Result, play
from tests.simulator.world import FUNCTIONS

HEAD = f"{'seed':>6} {'jobs':>5} {'VMs':>5} {'kills':>6} {'faults':>7} {'requests':>9} {'seconds':>8}  verdict\n"


def main() -> int:
    """Play the runs; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/true-runs", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next ones count on")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=20, help="in each run")
    parser.add_argument("--kills", type=int, default=8, help="planned in each run")
    parser.add_argument("--logs", type=Path, help="a directory for what the functions of failed runs wrote")
    parser.add_argument(
        "--functions", type=Path, default=FUNCTIONS, help="broken ones, to see that a run fails with them"
    )
    arguments = parser.parse_args()
    sys.stdout.write(HEAD)
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        # A process for each run, because moto and the proxies' logs keep all that they ever saw.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            played = process.submit(
                play, seed, jobs=arguments.jobs, deaths=arguments.kills, functions=arguments.functions
            )
        result = played.result()
        _show(result)
        failed += bool(result.problems)
        if result.problems and arguments.logs is not None:
            arguments.logs.mkdir(parents=True, exist_ok=True)
            (arguments.logs / f"{seed}.log").write_text("\n".join(result.lines) + "\n")
    sys.stdout.write(f"{'FAIL' if failed else 'PASS'}  {arguments.runs - failed} of {arguments.runs} runs\n")
    return 1 if failed else 0


def _show(result: Result) -> None:
    verdict = f"FAIL: {len(result.problems)}" if result.problems else "PASS"
    sys.stdout.write(
        f"{result.seed:>6} {result.jobs:>5} {result.vms:>5} {result.kills:>6} {result.faults:>7} "
        f"{result.requests:>9} {result.seconds:>8.0f}  {verdict}\n"
    )
    for problem in result.problems:
        sys.stdout.write(f"        {problem}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
