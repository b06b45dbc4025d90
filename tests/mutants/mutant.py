"""What a mutant is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Layer(StrEnum):
    """Which tests must notice."""

    SIMULATION = "simulation"
    UNIT = "unit"
    CONTRACT = "contract"
    SCENARIO = "scenario"
    VM = "vm"
    INFRA = "infra"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change of the product that breaks a safeguard.

    Attributes:
        name: what the product does then.
        changes: file from the repository's root, what stands there once, what stands there instead.
        tests: what pytest is given; for the simulation the promise, such as `I6`.
        seed: for the simulation, the world that is played first; None where the worlds are played in their order.
    """

    layer: Layer
    name: str
    changes: Sequence[tuple[str, str, str]]
    tests: Sequence[str]
    seed: int | None = None


def one(layer: Layer, name: str, file: str, before: str, after: str, *tests: str) -> Mutant:
    """A mutant of one change."""
    return Mutant(layer=layer, name=name, changes=((file, before, after),), tests=tests)
