"""`scripts/simulate --every-crash`: the pipeline, once for each way in which a process can die in it."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulator.simulation.process import WRITES, Fate
from tests.simulator.simulation.scenario import PIPELINE_SECONDS, Report, die_at, undisturbed


def ways(point: str) -> list[Fate]:
    """How a process can come to grief at that call."""
    fates = [Fate.DIES_BEFORE, Fate.DIES_AFTER]
    port, _, method = point.rpartition(".")
    if port.endswith(("ledger", "standby")) and method in WRITES:
        fates.append(Fate.ANSWER_LOST)
    return fates


def calls_of_the_pipeline(*, standby: bool = False) -> list[str]:
    """Every call of a port while the pipeline runs undisturbed, in order."""
    simulation = undisturbed(standby=standby)
    simulation.run(PIPELINE_SECONDS)
    return list(simulation.points)


def die_everywhere(processes: int) -> list[tuple[str, Report]]:
    """Try them all; each with what was tried."""
    points = calls_of_the_pipeline()
    tried = [(number, fate, point, False) for number, point in enumerate(points) for fate in ways(point)]
    hot = calls_of_the_pipeline(standby=True)  # the same pipeline: only what is new in it is new to die at
    tried += [
        (number, fate, point, True)
        for number, point in enumerate(hot)
        if point.split()[1].partition(".")[0] == "standby" and not point.endswith("listed")
        for fate in ways(point)
    ]
    with ProcessPoolExecutor(processes) as pool:
        reports = pool.map(_try, tried, chunksize=16)
        named = [
            f"{fate} at call {number}, {point}{' with standby VMs' if standby else ''}"
            for number, fate, point, standby in tried
        ]
        done = list(zip(named, reports, strict=True))
    sys.stdout.write(
        f"{len(points)} calls of ports while the pipeline runs, {len(hot)} with standby VMs; "
        f"{len(tried)} ways to die at them, each tried; "
        f"{sum(report.crashes + report.faults > 0 for _, report in done)} took place.\n"
    )
    return done


def _try(tried: tuple[int, Fate, str, bool]) -> Report:
    number, fate, point, standby = tried
    return partial(die_at, number, fate, point, standby=standby)()
