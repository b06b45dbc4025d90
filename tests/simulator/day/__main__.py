"""Plays one day: the request on standard input, one JSON object a line on standard output."""

import gc
import json
import sys
import time
from typing import Any

from agent_stack.domain.errors import AgentStackError
from tests.simulator.day.classes import said_of
from tests.simulator.day.outcome import outcome
from tests.simulator.day.request import Request
from tests.simulator.day.world import DayWorld

FEW_COLLECTIONS = 100_000
"""A world keeps nearly all that it makes; looking for garbage more often takes a tenth of the time."""


def main() -> int:
    """Play; the exit status."""
    gc.freeze()
    gc.set_threshold(FEW_COLLECTIONS)
    asked = json.load(sys.stdin)
    try:
        world = DayWorld(Request.read(asked))
        for seconds in world.play():
            _say({"seconds": seconds, "jobs": len(world.job_ids), "cpu": time.process_time()})
    except AgentStackError as error:
        _say({"error": said_of(error, asked["classes_source"])})
        return 1
    _say({"outcome": outcome(world)})
    return 0


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
