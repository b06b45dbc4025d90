"""Rows of the one table that `scripts/bench` prints, and how it prints them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Guess(StrEnum):
    """What nobody here has measured. Each row names those on which its value rests."""

    SERVICES = "latencies of Buildkite's API and of EC2's reads (tests/bench/field.py)"
    CORE = "a core of Lambda is as fast as one of this machine"
    INVOKE = "a warm function begins 0.05 to 0.3 s after its schedule"
    GROUP = "an Auto Scaling group asks EC2 for its VMs 1 to 3 s after its capacity was set, all in one request"
    LAUNCHER = (
        "a queue-fed launcher writes 40 parameters a second, each in 0.02 to 0.06 s; a tag takes as a read of EC2"
    )


MEASURE = 62
"""Characters of the longest name."""

MARKS = dict(zip(Guess, "abcde", strict=True))
VIRTUAL = (Guess.SERVICES, Guess.CORE, Guess.INVOKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure.

    Attributes:
        ratio: its value over that of another way, by that way's name.
        goal: in words; empty where there is none.
        holds: whether the goal is met.
    """

    measure: str
    value: float
    unit: str
    ratio: tuple[float, str] | None = None
    goal: str = ""
    holds: bool = True
    guesses: tuple[Guess, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether it has a goal and does not meet it."""
        return bool(self.goal) and not self.holds


def at_most(measure: str, value: float, unit: str, most: float, *guesses: Guess) -> Row:
    """A measure that is to be small."""
    return Row(
        measure=measure, value=value, unit=unit, goal=f"≤ {most:,g}", holds=value <= most, guesses=tuple(guesses)
    )


def printed(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table, and below it each guess once that a row rests on."""
    yield f"{'':<{MEASURE}}{'value':>11}{'':<7}{'unit':<11}{'ratio':<24}goal"
    for row in rows:
        marks = "".join(MARKS[guess] for guess in row.guesses)
        ratio = f"{row.ratio[0]:.2f} of {row.ratio[1]}" if row.ratio else ""
        verdict = "" if not row.goal else "PASS" if row.holds else "MISSED"
        value = f"{row.value:,.10g}"
        line = f"{row.measure:<{MEASURE}}{value:>11}{marks and ' ' + marks:<7}{row.unit:<11}{ratio:<24}{row.goal:<13}"
        yield f"{line}{verdict}".rstrip()
    used = {guess for row in rows for guess in row.guesses}
    if used:
        yield "Guesses, where a value has the letter:"
        yield from (f"  {MARKS[guess]}  {guess}" for guess in Guess if guess in used)
