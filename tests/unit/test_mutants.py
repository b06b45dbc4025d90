"""The registry of mutants is of the source as it stands, and CI's parts take each mutant once."""

from dataclasses import replace

import pytest

from tests.mutants.__main__ import PARTS, chosen
from tests.mutants.copies import ROOT
from tests.mutants.mutant import Layer, Mutant, one
from tests.mutants.registry import MUTANTS
from tests.mutants.trial import SEEDS, worlds
from tests.simulator.simulation.rotation import of_turn


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_what_a_mutant_takes_away_stands_in_the_source_once(mutant: Mutant) -> None:
    """A safeguard that moved leaves a mutant that can break nothing."""
    for file, before, after in mutant.changes:
        assert (ROOT / file).read_text().count(before) == 1
        assert before != after


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutants_tests_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    for named in (named for named in mutant.tests if named.startswith("tests/")):
        file, _, test = named.partition("::")
        assert f"def {test}" in (ROOT / file).read_text()


def test_every_mutant_has_a_name_of_its_own_and_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 80


@pytest.mark.parametrize("first", range(3))
def test_parts_in_a_row_are_all_of_them_each_once(first: int) -> None:
    taken = [mutant.name for turn in range(first, first + PARTS) for mutant in of_turn(MUTANTS, turn, PARTS)]
    assert sorted(taken) == sorted(mutant.name for mutant in MUTANTS)


def test_a_layer_a_promise_or_a_name_chooses() -> None:
    assert {mutant.layer for mutant in chosen(["vm"])} >= {Layer.VM}
    assert [mutant.tests for mutant in chosen(["I6"])] == [("I6",)]
    assert [mutant.name for mutant in chosen(["used token"])] == ["take a used token for a refusal"]


def test_no_world_is_played_twice_because_a_mutant_names_none() -> None:
    unnamed = one(Layer.SIMULATION, "a mutant", "file", "before", "after", "I1")
    assert worlds(unnamed) == [(0, SEEDS)]
    assert worlds(replace(unnamed, seed=17)) == [(17, 1), (0, SEEDS)]
