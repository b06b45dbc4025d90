"""Mutants that break a promise, which the simulation must notice."""

from tests.mutants.mutant import Layer, Mutant
from tests.simulator.simulation import mutants

MUTANTS = tuple(
    Mutant(
        layer=Layer.SIMULATION,
        name=mutant.name,
        changes=tuple((f"functions/{file}", before, after) for file, before, after in mutant.changes),
        tests=(mutant.promise,),
        seed=mutant.seed,
    )
    for mutant in mutants.MUTANTS
)
