"""How long VMs take from their launch to their agent: named guesses, or what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from agent_stack_cli.errors import CliError

PENDING = (5.0, 19.0)
"""Seconds from the launch to `running`, as others have measured them."""

NETWORK = (5.0, 15.0)
"""Seconds from there to the VM's own programs, as others have measured them."""

NAMED: Mapping[str, tuple[tuple[float, float], str]] = {
    "baked": ((1.0, 4.0), "an image that has the agent"),
    "stock": ((12.0, 40.0), "a stock image, on which packages and the agent are installed first"),
}
"""Seconds that the boot program takes besides, and what for. Guesses: measure yours."""

LONGEST = 3600.0
"""A number above is no boot: it counts milliseconds, or is a slip."""

STEPS = 9
QUANTILES = 40
FASTEST_SHARE, SLOWEST_SHARE = 0.3, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTimes:
    """A distribution.

    Attributes:
        pending: shortest and longest seconds from the launch to `running`.
        quantiles: seconds from the launch to the agent, evenly spaced from the shortest to the longest.
    """

    said: str
    pending: tuple[float, float]
    quantiles: tuple[float, ...]
    guesses: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def data(self) -> dict[str, object]:
        """As the simulator reads it."""
        return {"pending": list(self.pending), "quantiles": list(self.quantiles)}


def named(name: str) -> BootTimes:
    """One of the named guesses: three parts, each anywhere within its bounds."""
    prepares, of_what = NAMED[name]
    parts = [[low + (high - low) * n / (STEPS - 1) for n in range(STEPS)] for low, high in (PENDING, NETWORK, prepares)]
    return BootTimes(
        said=f"{name}: {of_what}",
        pending=PENDING,
        quantiles=_quantiles([sum(one) for one in product(*parts)]),
        guesses=(_guess(prepares),),
    )


def _guess(prepares: tuple[float, float]) -> str:
    return (
        f"a VM runs {PENDING[0]:g} to {PENDING[1]:g} s after its launch and its programs start "
        f"{NETWORK[0]:g} to {NETWORK[1]:g} s later (measured by others); preparing takes "
        f"{prepares[0]:g} to {prepares[1]:g} s"
    )


def measured(seconds: Sequence[float], said: str, problems: tuple[str, ...] = ()) -> BootTimes:
    """A distribution of measured seconds from the launch to the agent."""
    quantiles = _quantiles(seconds)
    pending = (min(PENDING[0], FASTEST_SHARE * quantiles[0]), min(PENDING[1], SLOWEST_SHARE * quantiles[0]))
    return BootTimes(said=said, pending=pending, quantiles=quantiles, problems=problems)


def read_seconds(text: str, name: str) -> BootTimes:
    """A file with one measured boot a line, in seconds. A first line that is a heading, and # lines, are left out.

    Raises:
        CliError: it holds no number.
    """
    seconds: list[float] = []
    problems: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        word = line.strip().rstrip(",")
        if not word or word.startswith("#"):
            continue
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if 0 < value <= LONGEST:
            seconds.append(value)
        elif number > 1 or any(character.isdigit() for character in word):
            problems.append(
                f"{name}, line {number}: {word!r} is no number of seconds above 0, {LONGEST:g} at most; "
                "write one such as 23.5"
            )
    if not seconds:
        why = f": {problems[0]}" if problems else ""
        raise CliError(f"{name} holds no boot time{why}", next="write one number of seconds a line, such as 23.5")
    return measured(seconds, f"{len(seconds)} boots of {name}", tuple(problems))


def _quantiles(seconds: Sequence[float]) -> tuple[float, ...]:
    ordered = sorted(seconds)
    places = [n * (len(ordered) - 1) / QUANTILES for n in range(QUANTILES + 1)]
    return tuple(round(_between(ordered, place), 3) for place in places)


def _between(ordered: Sequence[float], place: float) -> float:
    lower = int(place)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (place - lower)
