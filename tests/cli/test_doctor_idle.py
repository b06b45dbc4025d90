"""What `doctor` finds in a stack whose functions were never invoked. It must not do their work."""

import json

import pytest

from tests.cli.conftest import CLASSES
from tests.cli.faults import changed_class, put
from tests.cli.served import Served
from tests.simulator.world import log_record


def test_functions_that_never_ran_are_found_and_nothing_is_registered_by_looking(served: Served) -> None:
    before = len(served.world.buildkite.stacks())
    result = served.run("doctor", "--json")
    assert result.exit_code == 1
    found = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert {"queue default", "queue linux.arm", "dispatcher", "tracker"} <= set(found)
    assert "Buildkite does not know this queue, or its stack key" in found["queue default"]["problem"]
    assert found["dispatcher"]["problem"] == "The dispatcher never ran."
    assert len(served.world.buildkite.stacks()) == before == 0


def test_looking_logs_nothing_not_even_what_is_wrong(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cycle runs here, so every line is the inspection's. A cycle says class_broken, which rings an alarm."""
    said = list[str]()
    monkeypatch.setattr(served.world, "_on_line", lambda _function, line: said.append(line))
    put(served, "/classes", changed_class(max_instance=3))
    try:
        invoked = served.world.hosts["dispatcher"].invoke({"agent_stack_inspection": 1})
    finally:
        put(served, "/classes", CLASSES)
    assert "max_instance" in json.dumps(invoked.result)
    assert not [line for line in said if log_record(line) is not None]
