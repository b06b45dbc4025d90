"""What a process knows of runs: by the write that made each, no longer than the run is there."""

from dataclasses import replace

import pytest

from agent_stack.adapters.dynamodb.known_runs import KnownRuns
from tests.unit.values import a_run


def item(number: int, **signature: str) -> dict[str, dict[str, str]]:
    return {"sk": {"S": a_run(number).job_id}, **{name: {"S": value} for name, value in signature.items()}}


def test_a_run_is_known_by_its_latest_write_and_by_nothing_else() -> None:
    known = KnownRuns()
    known.learn(a_run(1), "a")
    known.learn(a_run(2), None)
    assert known.of(item(1, write_id="a")) == a_run(1)
    assert known.of(item(1, write_id="b")) is None
    assert known.of(item(1)) is None
    assert known.of(item(2)) is None, "an item that nobody signed is nobody's"
    assert known.of(item(3)) is None


@pytest.mark.parametrize(("versions_later", "is_known"), [(0, False), (1, True), (2, False)])
def test_what_changed_is_told_from_the_version_right_before(versions_later: int, *, is_known: bool) -> None:
    known, run = KnownRuns(), a_run(1)
    known.learn(run, "a")
    assert known.before(replace(run, version=run.version + versions_later)) == (("a", run) if is_known else None)


def test_runs_that_are_gone_are_forgotten_so_that_a_process_does_not_grow() -> None:
    known = KnownRuns()
    for number in range(1, 4):
        known.learn(a_run(number), "a")
    known.forget_others([a_run(2), a_run(9)])
    assert len(known) == 1
