"""The named loads: shapes that people meet, with sizes and lengths that the operator may change."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from agent_stack_cli.simulation.asked import Load, LoadJob

HOUR = 3600.0
MEDIAN_SECONDS, SPREAD = 180.0, 0.8
SHORTEST, LONGEST = 15.0, 3000.0
GUESS = "job lengths: log-normal, median 180 s, half of them between 105 s and 309 s"

BURST_AT = 600.0
STORM_SECONDS, STORM_SHARE, STORM_AFTER = 120.0, 0.8, (45.0, 120.0)
FAN_OUT_SHARE = 1 / 3
"""Jobs of a monorepo's fan-out are shorter than a build's only job."""

RAMP: tuple[tuple[float, float], ...] = (
    (0, 0.04), (6, 0.08), (7.5, 0.3), (9, 1.0), (11, 0.9), (12.5, 0.55), (14, 0.95), (17, 0.6), (19, 0.15), (24, 0.04),
)  # fmt: skip
"""Hour of the day, and the rate there as a share of the busiest; straight in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One named load. `make` gives moments, lengths and cancellations of so many jobs in so many seconds."""

    said: str
    jobs: int
    hours: float
    make: Callable[[random.Random, int, float], Iterator[tuple[float, float, float | None]]]
    guesses: tuple[str, ...] = (GUESS,)


def length(chance: random.Random) -> float:
    """Seconds of one job."""
    return round(min(LONGEST, max(SHORTEST, MEDIAN_SECONDS * chance.lognormvariate(0, SPREAD))), 1)


def _steady(chance: random.Random, jobs: int, seconds: float) -> Iterator[tuple[float, float, float | None]]:
    for _ in range(jobs):
        yield chance.uniform(0, seconds), length(chance), None


def _burst(chance: random.Random, jobs: int, seconds: float) -> Iterator[tuple[float, float, float | None]]:
    for _ in range(jobs):
        yield min(BURST_AT, seconds / 2), length(chance), None


def _fan_out(chance: random.Random, jobs: int, seconds: float) -> Iterator[tuple[float, float, float | None]]:
    for _ in range(jobs):
        yield min(BURST_AT, seconds / 2), max(SHORTEST, round(length(chance) * FAN_OUT_SHARE, 1)), None


def _ramp(chance: random.Random, jobs: int, seconds: float) -> Iterator[tuple[float, float, float | None]]:
    made = 0
    while made < jobs:
        at = chance.uniform(0, seconds)
        if chance.random() <= _rate(at / HOUR % 24):
            made += 1
            yield at, length(chance), None


def _rate(hour: float) -> float:
    for (left, low), (right, high) in pairwise(RAMP):
        if left <= hour <= right:
            return low + (high - low) * (hour - left) / (right - left)
    return 0.0


def _storm(chance: random.Random, jobs: int, seconds: float) -> Iterator[tuple[float, float, float | None]]:
    began = min(BURST_AT, seconds / 2)
    for _ in range(jobs):
        at = began + chance.uniform(0, STORM_SECONDS)
        cancelled = at + chance.uniform(*STORM_AFTER) if chance.random() < STORM_SHARE else None
        yield at, length(chance), cancelled


SHAPES: Mapping[str, Shape] = {
    "steady": Shape(said="jobs come evenly, by chance", jobs=200, hours=1, make=_steady),
    "burst": Shape(said="all jobs come at one moment", jobs=300, hours=1, make=_burst),
    "morning-ramp": Shape(
        said="a working day: a ramp until nine, a dip at noon, quiet nights", jobs=1500, hours=24, make=_ramp,
        guesses=(GUESS, "the shape of the day"),
    ),
    "fan-out": Shape(
        said="one build of a monorepo with all the jobs", jobs=5000, hours=1, make=_fan_out,
        guesses=(f"{GUESS}, and a third of that",),
    ),
    "cancel-storm": Shape(
        said="jobs come within two minutes, and four in five are cancelled 45 to 120 s after they came",
        jobs=400, hours=1, make=_storm, guesses=(GUESS, "the share that is cancelled, and when"),
    ),
}  # fmt: skip


def named(name: str, *, seed: int, jobs: int | None, hours: float | None, queue: str | None) -> Load:
    """One of the named loads; the same seed gives the same."""
    shape = SHAPES[name]
    count, long = jobs or shape.jobs, hours or shape.hours
    chance = random.Random(f"{seed} load {name}")  # noqa: S311  (the same seed must give the same load)
    made = shape.make(chance, count, long * HOUR)
    asked = (
        LoadJob(at=round(at, 3), seconds=seconds, queue=queue, cancel_at=None if cancel is None else round(cancel, 3))
        for at, seconds, cancel in made
    )
    return Load(
        said=f"{name}: {shape.said}",
        jobs=tuple(sorted(asked, key=lambda job: job.at)),
        hours=long,
        guesses=shape.guesses,
    )
