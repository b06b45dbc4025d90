"""`scripts/simulate`: many worlds from many seeds; exit 1 if a promise was broken in one of them."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.simulation.coverage import empty_cells, table, wrongly_unreachable
from tests.simulator.simulation.crashes import die_everywhere
from tests.simulator.simulation.progress import shown
from tests.simulator.simulation.rotation import turn_of
from tests.simulator.simulation.scenario import Report, play
from tests.simulator.simulation.shrink import shrink

ROOT = Path(__file__).resolve().parents[3]
SHOWN_LINES = 60
SHRUNK = 3  # worlds; one bug breaks many, and a person reads one


def main() -> int:
    """Simulate; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one, and print its trace")
    parser.add_argument("--without", default="", help="with --seed: parts of its story to leave out, as in s3,f2")
    parser.add_argument("--as-found", action="store_true", help="do not look for the least of a world that fails")
    parser.add_argument("--until", default="", help="stop as soon as this promise is broken, as in I6")
    parser.add_argument("--every-crash", action="store_true", help="the pipeline, dying once at every call of a port")
    parser.add_argument("--share", type=int, default=1, help="with --every-crash: one of so many, the commit's turn")
    parser.add_argument("--coverage", action="store_true", help="print which fault hit runs in which state")
    parser.add_argument("--harsh", action="store_true", help="Buildkite answers as is hardest for a client")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.share < 1:
        parser.error(f"--share {arguments.share} is no share: give 1 for every death, 2 for half of them, and so on")
    tried = partial(play, buildkite=BuildkiteSettings.harsh()) if arguments.harsh else play
    if arguments.seed is not None:
        report = tried(arguments.seed, frozenset(arguments.without.split(",")))
        sys.stdout.write("\n".join(report.trace) + "\n")
        return _say([report], minimise=False)
    began = time.monotonic()
    if arguments.every_crash:
        done = die_everywhere(arguments.processes, turn=turn_of(ROOT), turns=arguments.share)
        for way, report in done:
            if report.broken is not None:
                sys.stdout.write(f"{way}: {report.broken}\n")
        status = _say([report for _, report in done], minimise=False)
        sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
        return status
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with ProcessPoolExecutor(arguments.processes) as pool:
        reports = []
        played = map(tried, seeds) if arguments.until else pool.map(partial(_brief, tried), seeds, chunksize=4)
        for report in shown(played, len(seeds)):
            reports.append(report)
            if arguments.until and (report.broken or "").startswith(f"{arguments.until}:"):
                break
    status = _say(reports, minimise=not arguments.as_found and not arguments.harsh)
    if arguments.coverage:
        status |= _covered(reports)
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return status


def _brief(tried: Callable[[int], Report], seed: int) -> Report:
    """A world, without its trace if it kept its promises: ten thousand traces are gigabytes."""
    report = tried(seed)
    return report if report.broken is not None else replace(report, trace=())


def _covered(reports: Iterable[Report]) -> int:
    """Print the matrix; 1 when a cell that can be reached was not, or one out of reach was."""
    hits: Counter[tuple[str, str]] = Counter()
    for report in reports:
        hits.update(report.hits)
    sys.stdout.write("".join(f"{line}\n" for line in table(hits)))
    empty, wrong = empty_cells(hits), wrongly_unreachable(hits)
    for fault, state in empty:
        sys.stdout.write(f"EMPTY: {fault} in {state}\n")
    for fault, state in wrong:
        sys.stdout.write(f"REACHED, though said to be out of reach: {fault} in {state}\n")
    return 1 if empty or wrong else 0


def _say(reports: Iterable[Report], *, minimise: bool = True) -> int:
    reports = list(reports)
    broken_ones = [report for report in reports if report.broken is not None]
    for number, report in enumerate(broken_ones):
        sys.stdout.write(f"seed {report.seed}: {report.broken}\n")
        least, without = shrink(report) if minimise and number < SHRUNK else (report, frozenset[str]())
        if without:
            sys.stdout.write(f"  {len(report.parts)} parts of the story, {len(least.parts)} of them needed\n")
        sys.stdout.write("".join(f"    {line}\n" for line in _concerned(least)))
        left_out = f" --without {','.join(sorted(without))}" if without else ""
        sys.stdout.write(f"  replay: scripts/simulate --seed {report.seed}{left_out}\n")
    broken = sum(report.broken is not None for report in reports)
    sys.stdout.write(
        f"{len(reports)} worlds, {sum(r.steps for r in reports)} steps, {sum(r.points for r in reports)} calls of "
        f"ports, {sum(r.faults for r in reports)} faults at them, {sum(r.crashes for r in reports)} crashes survived, "
        f"settled within {max(r.settled_seconds for r in reports):.0f} virtual seconds of the last fault, "
        f"{broken} promises broken.\n"
    )
    return 1 if broken else 0


def _concerned(report: Report) -> list[str]:
    """What of the trace concerns the job or VM that the broken promise names, and the end of the rest."""
    words = [word.strip(",:") for word in (report.broken or "").split()]
    named = [word for word in words if word.startswith("i-") or word.count("-") == 4]
    about = [line for line in report.trace if any(name in line for name in named)]
    return (about or list(report.trace))[-SHOWN_LINES:]


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    sys.exit(main())
