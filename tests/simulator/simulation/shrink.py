"""The least of a world that still breaks the same promise: what a person reads first."""

from collections.abc import Callable

from tests.simulator.simulation.scenario import Report, play

MAX_WORLDS = 200  # some twenty seconds


def shrink(report: Report, again: Callable[[int, frozenset[str]], Report] = play) -> tuple[Report, frozenset[str]]:
    """Leave out part after part of the story, as long as the promise stays broken.

    Args:
        report: a world that broke a promise.
        again: plays that seed without those parts.

    Returns:
        the smallest world found, and what was left out of it.
    """
    best, without = report, frozenset[str]()
    size = max(1, len(best.parts) // 2)
    worlds = 0
    while worlds < MAX_WORLDS:
        smaller = None
        for start in range(0, len(best.parts), size):
            worlds += 1
            left_out = without | frozenset(best.parts[start : start + size])
            tried = again(report.seed, left_out)
            if _promise(tried) == _promise(report) and len(tried.parts) < len(best.parts):
                smaller = tried, left_out
                break
        if smaller is not None:
            best, without = smaller
        elif size == 1:
            break
        size = max(1, min(size, len(best.parts)) // (1 if smaller else 2))
    return best, without


def _promise(report: Report) -> str:
    """The number of the promise that was broken; empty for none."""
    return (report.broken or "").partition(":")[0]
