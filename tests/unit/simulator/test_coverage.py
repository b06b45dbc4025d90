"""The matrix of faults and run states finds what was not tried."""

from tests.simulator.simulation.coverage import FAULTS, STATES, UNREACHABLE, empty_cells, table, wrongly_unreachable

FULL = {(fault, state): 1 for fault in FAULTS for state in STATES if (fault, state) not in UNREACHABLE}


def test_a_cell_that_nothing_reached_is_named() -> None:
    assert empty_cells(FULL) == []
    assert empty_cells({**FULL, ("VM dies", "running"): 0}) == [("VM dies", "running")]


def test_a_cell_that_was_said_to_be_out_of_reach_and_is_not_is_named() -> None:
    cell = ("VM hangs", "running")
    assert wrongly_unreachable(FULL) == []
    assert wrongly_unreachable({**FULL, cell: 1}) == [cell]


def test_every_cell_out_of_reach_is_printed_with_its_reason() -> None:
    lines = list(table(FULL))
    assert len([line for line in lines if line.startswith("-")]) == len(set(UNREACHABLE.values()))
    assert sum(line.count(" in ") for line in lines if line.startswith("-")) >= len(UNREACHABLE)
