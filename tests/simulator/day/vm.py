"""A VM of a long day: it boots for as long as it is told, and looks at its job only when there is something to see."""

from datetime import timedelta
from math import ceil
from typing import Any

from agent_stack.domain.vms import Assignment
from tests.simulator.simulation.machine import SECOND, VirtualVm

AFTER_THE_NETWORK = 2.55
"""Seconds from the network to the agent: what `VirtualVm` takes for its own stages, on average."""

HEARTBEAT = SECOND * 60
"""From one sign of life of the agent to the next, as Buildkite asks for it. Without any, the agent counts as lost."""


class DayVm(VirtualVm):
    """See `VirtualVm`. Its agent looks at its job each second, and only the looks that find something are played."""

    _looks_at: timedelta | None = None
    _job: tuple[Assignment, str] | None = None

    def __init__(self, **given: Any) -> None:  # noqa: ANN401  (as VirtualVm's)
        self._clock = given["kernel"]
        super().__init__(**given)

    def cancelled(self) -> None:
        """Its job is being cancelled; its next look finds it."""
        if self._job is not None and self._looks_at is not None:
            since = self._clock.monotonic() - self._looks_at
            wait = SECOND * (ceil(since / SECOND) or 1) - since
            assignment, status = self._job
            self._looks_at = None
            self._then(wait, "", lambda: super(DayVm, self)._run(assignment, status))

    def _run(self, assignment: Assignment, exit_status: str) -> None:
        left = self._ends_at - self._clock.now()
        if self._job is None:
            self._then(HEARTBEAT, "", self._beat)
        self._job, self._looks_at = (assignment, exit_status), self._clock.monotonic()
        began = self._looks_at

        def look() -> None:
            if self._looks_at == began:
                self._looks_at = None
                super(DayVm, self)._run(assignment, exit_status)

        self._then(SECOND * max(0, ceil(left / SECOND)), "", look)

    def _beat(self) -> None:
        if self.agent_has_job:
            self._ask("POST", "/heartbeat", self._session, {})
            self._then(HEARTBEAT, "", self._beat)
