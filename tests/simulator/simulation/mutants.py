"""`scripts/mutate`: breaks the product on purpose, one promise at a time, and expects the simulation to notice.

A promise that no mutant can break is not looked at. Each mutant is a change of the source, made in a copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.simulator.simulation.rotation import TURNS, of_turn, turn_of

ROOT = Path(__file__).resolve().parents[3]
SEEDS = 1_000  # at most; a mutant is left alone once it is caught
DISPATCHER, TRACKER = "agent_stack/dispatcher", "agent_stack/tracker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change that breaks a promise.

    Attributes:
        changes: file under functions/, what stands there, what stands there instead.
    """

    promise: str
    name: str
    changes: Sequence[tuple[str, str, str]]


MUTANTS = (
    Mutant(
        promise="I1",
        name="do without the baton, and without ending VMs",
        changes=(
            (
                "agent_stack/domain/decisions.py",
                "        return Decision(action=Action.REVOKE, reason=reason)",
                "        return _try_again(s, failure or _REVOKED)",
            ),
            (
                "agent_stack/domain/decisions.py",
                'return Decision(action=Action.REVOKE, reason=f"the job is {s.job_state}")',
                'return Decision(action=Action.KEEP, reason=f"the job is {s.job_state}")',
            ),
            (
                "agent_stack/domain/decisions.py",
                "case Action.TERMINATE | Action.REQUEUE | Action.FINISH | Action.END:",
                "case Action.TERMINATE | Action.FINISH | Action.END:",
            ),
            (
                "agent_stack/domain/decisions.py",
                "case Action.KEEP | Action.RUN | Action.RECORD_JOB_OVER | Action.EXTEND | Action.REISSUE | "
                "Action.REVOKE:\n            return False",
                "case _:\n            return False",
            ),
            (f"{TRACKER}/orphan_cleanup.py", "age > self.policy.orphan_grace", "age.days > 1"),
        ),
    ),
    Mutant(
        promise="I2",
        name="never hand back",
        changes=((f"{TRACKER}/requeue.py", "self.ledger.update(back)", "back[:0]"),),
    ),
    Mutant(
        promise="I3",
        name="sweep no orphans",
        changes=((f"{TRACKER}/orphan_cleanup.py", "age > self.policy.orphan_grace", "age.days > 1"),),
    ),
    Mutant(
        promise="I4",
        name="let VMs live for ever",
        changes=((f"{TRACKER}/orphan_cleanup.py", "age > self.policy.max_lifetime", "age.days > 1"),),
    ),
    Mutant(
        promise="I5",
        name="forget what was told",
        changes=(
            (
                f"{TRACKER}/notify_progress.py",
                ".run.notices_sent | {notice.key for notice in notices_sent}",
                ".run.notices_sent",
            ),
        ),
    ),
    Mutant(
        promise="I6",
        name="count no VMs before a launch",
        changes=((f"{DISPATCHER}/launch_room.py", "len(up | (recorded - shown.keys())) - coming", "0"),),
    ),
    Mutant(
        promise="I7",
        name="terminate under running agents",
        changes=(
            (
                "agent_stack/domain/decisions.py",
                'return Decision(action=Action.KEEP, reason="the job is the agent\'s")',
                'return Decision(action=Action.TERMINATE, reason="the job is the agent\'s")',
            ),
        ),
    ),
    Mutant(
        promise="I8",
        name="repeat a finish like any other request",
        changes=(("agent_stack/adapters/stacks_api/limits.py", "safety=Safety.ONCE", "safety=Safety.IDEMPOTENT"),),
    ),
    Mutant(
        promise="I9",
        name="look at nothing but news, in worlds that have none",
        changes=(
            (f"{TRACKER}/observe.py", "runs = self.ledger.active_runs()", "runs = self.ledger.active_runs()[:0]"),
        ),
    ),
    Mutant(
        promise="I10",
        name="log the credential",
        changes=(
            (
                f"{DISPATCHER}/bind.py",
                '                "job_bound",\n',
                '                "job_bound",\n                credential=credentials[run.job_id],\n',
            ),
        ),
    ),
    Mutant(
        promise="I11",
        name="overlook a pause",
        changes=((f"{DISPATCHER}/poll.py", "any(page.paused for page in pages)", "False"),),
    ),
)


def caught(mutant: Mutant) -> tuple[bool, str]:
    """Whether the simulation noticed, and what it said first."""
    with tempfile.TemporaryDirectory(prefix="agent-stack-mutant-") as directory:
        functions = Path(directory) / "functions"
        shutil.copytree(ROOT / "functions", functions, ignore=shutil.ignore_patterns("__pycache__"))
        for file, before, after in mutant.changes:
            source = (functions / file).read_text()
            if source.count(before) != 1:
                return False, f"{file} holds {before!r} {source.count(before)} times, not once"
            (functions / file).write_text(source.replace(before, after))
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.simulator.simulation",
                "--seeds",
                str(SEEDS),
                "--as-found",
                "--until",
                mutant.promise,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{functions}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    said = [line for line in run.stdout.splitlines() if line.startswith("seed ")]
    ours = [line for line in said if f": {mutant.promise}:" in line]
    return bool(ours), (ours or said or run.stderr.splitlines()[-1:] or ["nothing was broken"])[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try those mutants whose turn it is, or those that are asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    promises = sorted({mutant.promise for mutant in MUTANTS})
    parser.add_argument("promises", nargs="*", metavar="promise", help=f"only these of {', '.join(promises)}")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--turn", type=int, help=f"those of this turn; every {TURNS} turns together are all")
    parsed = parser.parse_args(arguments)
    if unknown := set(parsed.promises) - set(promises):
        parser.error(f"no mutant breaks {', '.join(sorted(unknown))}")
    mutants: Sequence[Mutant] = MUTANTS
    if parsed.promises:
        mutants = [mutant for mutant in MUTANTS if mutant.promise in parsed.promises]
    elif not parsed.all:
        turn = parsed.turn if parsed.turn is not None else turn_of(ROOT)
        mutants = of_turn(MUTANTS, turn)
        sys.stdout.write(
            f"Turn {turn}: {len(mutants)} of {len(MUTANTS)} mutants. Again: scripts/mutate --turn {turn}; "
            "every one: scripts/mutate --all\n"
        )
        sys.stdout.flush()
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, (noticed, said) in zip(mutants, pool.map(caught, mutants), strict=True):
            missed += not noticed
            sys.stdout.write(
                f"{'caught' if noticed else 'MISSED'}  {mutant.promise:<4}{mutant.name}\n        {said[:160]}\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{len(mutants) - missed} of {len(mutants)} mutants caught.\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
