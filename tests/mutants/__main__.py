"""`scripts/mutate`: takes safeguards away, one at a time, and expects the layer that each names to notice."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.mutants.copies import ROOT, Copies
from tests.mutants.mutant import Layer, Mutant
from tests.mutants.registry import MUTANTS
from tests.mutants.trial import caught
from tests.simulator.simulation.rotation import of_turn, turn_of

PARTS = 8
"""CI plays one part for each commit."""


def chosen(words: Sequence[str]) -> list[Mutant]:
    """Those of a layer, of a promise, or with a word in their name."""
    return [m for m in MUTANTS if any(word in (m.layer, *m.tests) or word in m.name for word in words)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try those mutants whose turn it is, or those that are asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="word", help=f"a layer ({', '.join(Layer)}), a promise, or a name")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--list", action="store_true", help="name them, and try none")
    parser.add_argument("--turn", type=int, help=f"those of this turn; every {PARTS} turns together are all")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parsed = parser.parse_args(arguments)
    mutants: Sequence[Mutant] = MUTANTS
    if parsed.words:
        mutants = chosen(parsed.words)
        if not mutants:
            parser.error(f"no mutant has {', '.join(parsed.words)}")
    elif not parsed.all and not parsed.list:
        turn = parsed.turn if parsed.turn is not None else turn_of(ROOT)
        mutants = of_turn(MUTANTS, turn, PARTS)
        sys.stdout.write(
            f"Turn {turn}: {len(mutants)} of {len(MUTANTS)} mutants. Again: scripts/mutate --turn {turn}; "
            "every one: scripts/mutate --all\n"
        )
    if parsed.list:
        sys.stdout.writelines(f"{mutant.layer:<11}{mutant.name}\n" for mutant in mutants)
        return 0
    missed = 0
    with (
        tempfile.TemporaryDirectory(prefix="agent-stack-mutants-") as directory,
        Copies(Path(directory), parsed.jobs) as copies,
        ThreadPoolExecutor(parsed.jobs) as pool,
    ):
        tried = pool.map(partial(caught, copies=copies), mutants)
        for mutant, (noticed, said) in zip(mutants, tried, strict=True):
            missed += not noticed
            verdict = "caught" if noticed else "MISSED"
            sys.stdout.write(f"{verdict}  {mutant.layer:<11}{mutant.name}\n        {said[:160]}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(mutants) - missed} of {len(mutants)} mutants caught.\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
