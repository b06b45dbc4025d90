"""`scripts/simulate --every-crash`: the pipeline, once for each way in which a process can die in it.

Then the same for the list of standby VMs, and for a hold from the first failed boot on until its VM is told: the other
calls of these stories are the pipeline's.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulator.simulation.process import WRITES, Fate
from tests.simulator.simulation.rotation import of_turn
from tests.simulator.simulation.scenario import PIPELINE_SECONDS, Report, Story, die_at, undisturbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a port in a story that nothing disturbs.

    Attributes:
        size: of how many things it was about.
    """

    story: Story
    number: int
    point: str
    size: int

    @property
    def ways(self) -> list[Fate]:
        """How a process can come to grief at it."""
        fates = [Fate.DIES_BEFORE, Fate.DIES_AFTER]
        port, _, method = self.point.rpartition(".")
        if port.endswith(("ledger", "standby")) and method in WRITES:
            fates += [Fate.ANSWER_LOST, *([Fate.DIES_AMID] if self.size > 1 else [])]
        return fates


def calls_of_the_pipeline() -> list[Call]:
    """Every call of a port while the pipeline runs undisturbed, in order."""
    return _calls(Story.PIPELINE)


def calls_of_standby() -> list[Call]:
    """The calls of the list of standby VMs: the rest of that story is the pipeline's."""
    return [
        call
        for call in _calls(Story.STANDBY)
        if call.point.split()[1].partition(".")[0] == "standby" and not call.point.endswith("listed")
    ]


def calls_of_the_hold() -> list[Call]:
    """The tracker's calls: from the one that takes the credential back to the one that tells the VM."""
    calls = _calls(Story.HOLD)
    points = [call.point for call in calls]
    first, last = points.index("tracker mailbox.revoke_credential"), points.index("tracker mailbox.hold")
    return [call for call in calls[first : last + 1] if call.point.startswith("tracker ")]


def _calls(story: Story) -> list[Call]:
    simulation = undisturbed(story=story)
    simulation.run(PIPELINE_SECONDS)
    return [
        Call(story=story, number=number, point=point, size=simulation.sizes.get(number, 1))
        for number, point in enumerate(simulation.points)
    ]


def die_everywhere(processes: int, *, turn: int = 0, turns: int = 1) -> list[tuple[str, Report]]:
    """Try all, or those whose turn it is; each with what was tried."""
    pipeline, standby, hold = calls_of_the_pipeline(), calls_of_standby(), calls_of_the_hold()
    tried = [(call, fate) for call in (*pipeline, *standby, *hold) for fate in call.ways]
    everywhere, tried = len(tried), list(of_turn(tried, turn, turns))
    with ProcessPoolExecutor(processes) as pool:
        reports = pool.map(_try, tried, chunksize=16)
        named = [f"{call.story}: {fate} at call {call.number}, {call.point}" for call, fate in tried]
        done = list(zip(named, reports, strict=True))
    sys.stdout.write(
        f"{len(pipeline)} calls of ports while the pipeline runs, {len(standby)} of the list of standby VMs, "
        f"{len(hold)} while a VM is held; "
        f"{everywhere} ways to die at them, {len(tried)} of them tried; "
        f"{sum(report.crashes + report.faults > 0 for _, report in done)} took place.\n"
    )
    return done


def _try(tried: tuple[Call, Fate]) -> Report:
    call, fate = tried
    return die_at(call.number, fate, call.point, story=call.story)
