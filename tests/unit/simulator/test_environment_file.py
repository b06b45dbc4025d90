"""A local VM reads a unit's environment file as systemd.exec(5) says."""

import pytest

from tests.simulator.vm.units import RefusedError, parse_environment_file


def test_blank_lines_and_comments_between_assignments_are_passed_over() -> None:
    assert parse_environment_file("\n  \nA=1\n\n# B=2\n;C=3\n\nD=4\n") == {"A": "1", "D": "4"}


def test_a_blank_line_within_quotes_belongs_to_the_value() -> None:
    assert parse_environment_file('A="1\n\n2"\nB=3\n') == {"A": "1\n\n2", "B": "3"}


def test_what_is_no_assignment_is_refused() -> None:
    with pytest.raises(RefusedError, match="not one"):
        parse_environment_file("A=1\nnot one\n")
