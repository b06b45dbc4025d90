"""When a schedule fires: once in each of its periods, anywhere in it.

Source: EventBridge's developer guide: a schedule's precision is one minute, so a rule of every minute fires anywhere
from second 0 to second 59 of it.
"""

import random
from collections.abc import Iterator

ANYWHERE = (0.0, 59.0)
"""Seconds into its minute, the earliest and the latest."""

PUNCTUAL = (0.0, 0.0)
"""A schedule as no service promises it, for a test that looks at something else."""

_MINUTE = 60.0


def moments(seed: str, *, period_seconds: float, jitter: tuple[float, float] = ANYWHERE) -> Iterator[float]:
    """Seconds from the schedule's creation to each time it fires, for ever; the same seed gives the same.

    Args:
        period_seconds: of a minute's schedule 60. The jitter of one that is played faster shrinks with it.
        jitter: seconds into a minute, the earliest and the latest.
    """
    chance = random.Random(f"{seed} schedule")
    faster = period_seconds / _MINUTE
    number = 0
    while True:
        yield number * period_seconds + chance.uniform(*jitter) * faster
        number += 1
