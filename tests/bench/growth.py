"""How the time of a job grows with their number, in an account whose EC2 grants whatever is asked for.

So what grows is the stack's own part. EC2's published budgets are the matter of `scripts/bench dispatch`.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.field import Field, TimedTelemetry, await_a_look
from tests.simulator.buildkite import Step
from tests.simulator.clock import EPOCH

SIZES = (100, 1_000, 10_000, 50_000)
QUICK_SIZES = (100, 1_000)
ALLOWED = 1.1
"""Time of a job over that of the size before. 5.5 times the time for five times the jobs."""

FIRST_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """So many jobs at once.

    Attributes:
        bound: jobs that had their VM when all had it, or when the time was over that the goal allows.
        seconds: virtual, until then.
        cpu_seconds: of a whole core, the product's own.
        turned_away: writes that DynamoDB's partitions did not take at once.
        before: of the size before; None for the first.
    """

    jobs: int
    bound: int
    seconds: float
    cpu_seconds: float
    turned_away: int
    before: "Grown | None"

    @property
    def ratio(self) -> float | None:
        """Time of a job that has its VM over that of the size before."""
        return self._over(self.seconds, self.before.seconds) if self.before else None

    @property
    def cpu_ratio(self) -> float | None:
        """The same of CPU."""
        return self._over(self.cpu_seconds, self.before.cpu_seconds) if self.before else None

    @property
    def complete(self) -> bool:
        """Whether every job has its VM."""
        return self.bound == self.jobs

    def _over(self, mine: float, other: float) -> float:
        if self.before is None or not (self.bound and self.before.bound and other):
            return float("inf")
        return (mine / self.bound) / (other / self.before.bound)


def grow(place: Field, sizes: Sequence[int]) -> list[Grown]:
    """Each size in a world of its own, for no longer than the goal allows: what is slower has missed it anyway."""
    rows: list[Grown] = []
    for jobs in sizes:
        before = rows[-1] if rows else None
        at_most = FIRST_SECONDS if before is None else max(60.0, ALLOWED * before.seconds * jobs / before.jobs)
        rows.append(_one(place, jobs, at_most, before))
    return rows


def _one(place: Field, jobs: int, at_most: float, before: Grown | None) -> Grown:
    simulation = place.world(
        throttled=False,
        MAX_INSTANCES="60000",
        MAX_LAUNCHES_PER_MINUTE="100000",
        INSTANCE_BURST="100000",
        INSTANCES_PER_SECOND="1000",
    )
    telemetry = simulation.telemetry
    assert isinstance(telemetry, TimedTelemetry)

    def now() -> float:
        return (simulation.kernel.now() - EPOCH).total_seconds()

    await_a_look(simulation, 0.3)
    spent, began = simulation.meter.total, now()
    simulation.buildkite.create_build(steps=[Step()] * jobs)
    while len(telemetry.bound) < jobs and now() - began < at_most:
        # A collection would walk the simulation's memory, which grows, too, in the product's time. So of collections of
        # the product's own memory only what is newer than a second counts.
        gc.freeze()
        simulation.run(1)
    gc.unfreeze()
    complete = len(telemetry.bound) >= jobs
    return Grown(
        jobs=jobs,
        bound=len(telemetry.bound),
        seconds=round((telemetry.bound[-1] if complete else now()) - began, 1),
        cpu_seconds=round(simulation.meter.total - spent, 2),
        turned_away=simulation.rates.turned_away,
        before=before,
    )
