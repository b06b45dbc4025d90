"""`scripts/simulate --every-crash`: the pipeline, once for each way in which a process can die in it.

Then the same for the list of standby VMs, and for a hold from the first failed boot on until its VM is told: the other
calls of these stories are the pipeline's.
"""

import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulator.simulation.process import WRITES, Fate
from tests.simulator.simulation.rotation import of_turn
from tests.simulator.simulation.scenario import PIPELINE_SECONDS, Report, Story, die_at, undisturbed


def ways(point: str) -> list[Fate]:
    """How a process can come to grief at that call."""
    fates = [Fate.DIES_BEFORE, Fate.DIES_AFTER]
    port, _, method = point.rpartition(".")
    if port.endswith(("ledger", "standby")) and method in WRITES:
        fates.append(Fate.ANSWER_LOST)
    return fates


def calls_of_the_pipeline() -> list[str]:
    """Every call of a port while the pipeline runs undisturbed, in order."""
    return _calls(Story.PIPELINE)


def calls_of_standby() -> list[tuple[int, str]]:
    """The calls of the list of standby VMs: the rest of that story is the pipeline's."""
    return [
        (number, point)
        for number, point in enumerate(_calls(Story.STANDBY))
        if point.split()[1].partition(".")[0] == "standby" and not point.endswith("listed")
    ]


def calls_of_the_hold() -> list[tuple[int, str]]:
    """The tracker's calls, numbered: from the one that takes the credential back to the one that tells the VM."""
    points = _calls(Story.HOLD)
    first, last = points.index("tracker mailbox.revoke_credential"), points.index("tracker mailbox.hold")
    return [(number, points[number]) for number in range(first, last + 1) if points[number].startswith("tracker ")]


def _calls(story: Story) -> list[str]:
    simulation = undisturbed(story=story)
    simulation.run(PIPELINE_SECONDS)
    return list(simulation.points)


def die_everywhere(processes: int, *, turn: int = 0, turns: int = 1) -> list[tuple[str, Report]]:
    """Try all, or those whose turn it is; each with what was tried."""
    points = calls_of_the_pipeline()
    standby, hold = calls_of_standby(), calls_of_the_hold()
    tried = [(number, fate, point, Story.PIPELINE) for number, point in enumerate(points) for fate in ways(point)]
    tried += [(number, fate, point, Story.STANDBY) for number, point in standby for fate in ways(point)]
    tried += [(number, fate, point, Story.HOLD) for number, point in hold for fate in ways(point)]
    everywhere, tried = len(tried), list(of_turn(tried, turn, turns))
    with ProcessPoolExecutor(processes) as pool:
        reports = pool.map(_try, tried, chunksize=16)
        named = [f"{story}: {fate} at call {number}, {point}" for number, fate, point, story in tried]
        done = list(zip(named, reports, strict=True))
    sys.stdout.write(
        f"{len(points)} calls of ports while the pipeline runs, {len(standby)} of the list of standby VMs, "
        f"{len(hold)} while a VM is held; "
        f"{everywhere} ways to die at them, {len(tried)} of them tried; "
        f"{sum(report.crashes + report.faults > 0 for _, report in done)} took place.\n"
    )
    return done


def _try(tried: tuple[int, Fate, str, Story]) -> Report:
    number, fate, point, story = tried
    return die_at(number, fate, point, story=story)
