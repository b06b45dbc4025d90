"""What `doctor` finds in a stack whose functions were never invoked, and one of whose queues is misspelt."""

import json

from tests.cli.served import Served


def test_a_misspelt_queue_and_functions_that_never_ran_are_found(served: Served) -> None:
    result = served.run("doctor", "--json")
    assert result.exit_code == 1
    found = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert {"queue linux.arm", "dispatcher", "tracker"} <= set(found)
    assert "queue default" not in found
    assert "Queues" in found["queue linux.arm"]["remedy"]
    assert found["dispatcher"]["problem"] == "The dispatcher never ran."
