"""What `doctor` finds in a stack whose functions were never invoked. It must not do their work."""

import json

from tests.cli.served import Served


def test_functions_that_never_ran_are_found_and_nothing_is_registered_by_looking(served: Served) -> None:
    before = len(served.world.buildkite.stacks())
    result = served.run("doctor", "--json")
    assert result.exit_code == 1
    found = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert {"queue default", "queue linux.arm", "dispatcher", "tracker"} <= set(found)
    assert "Buildkite does not know this queue, or its stack key" in found["queue default"]["problem"]
    assert found["dispatcher"]["problem"] == "The dispatcher never ran."
    assert len(served.world.buildkite.stacks()) == before == 0
