"""All mutants, one list a module."""

from collections.abc import Sequence

from tests.mutants import (
    answers,
    around,
    bounds,
    conditions,
    dispatch,
    growth,
    held_vms,
    holds,
    limits,
    machine,
    simulation,
    standby,
    survived,
)
from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    *simulation.MUTANTS,
    *answers.MUTANTS,
    *limits.MUTANTS,
    *conditions.MUTANTS,
    *dispatch.MUTANTS,
    *growth.MUTANTS,
    *around.MUTANTS,
    *bounds.MUTANTS,
    *holds.MUTANTS,
    *held_vms.MUTANTS,
    *machine.MUTANTS,
    *standby.MUTANTS,
    *survived.MUTANTS,
)
