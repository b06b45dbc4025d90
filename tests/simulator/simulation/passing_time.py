"""How long each call and each answer of a process takes, while the rest of the world goes on."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from agent_stack.domain.errors import UnknownOutcomeError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from tests.simulator.simulation.costs import (
    ACTIVE_RUNS,
    KNOWN,
    LOCAL,
    NEWS,
    OWN_WRITES,
    REFRESHED_RUNS,
    RUNS,
    Meter,
)
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.nature import (
    Nature,
)

BESIDE = "ledger.write"
"""What a task is charged as that is no call of a port itself: it makes one, and that is a write of the ledger's."""

LONGEST_REQUEST = timedelta(seconds=30)
"""No client of the stack waits longer for one request. Other processes run within a request's time here, and this one
goes on when they pause; a real request does not arrive later because of them."""


class PassingTime:
    """The part of a simulation that lets time pass."""

    kernel: Kernel
    chance: random.Random
    meter: Meter
    requests: Counter[str]
    points: list[str]
    sizes: dict[int, int]
    _nature: Nature

    def _pass_time(self, used: set[str], point: str, size: int) -> None:
        """Each call takes a while, in which the rest of the world goes on.

        Args:
            used: the services that the calling process has used already; this one is added.
        """
        costs = self._nature.costs
        if costs is None:
            self._be_asked(point, self.chance.uniform(*self._nature.latency))
            self.sizes[len(self.points)] = size
            return
        with self.meter.excluded():
            call = point.partition(" ")[2]
            requests = costs.requests(call, size)
            self.requests[call] += requests
            cpu = self._spend(costs.of_call(call, size) + self._first_use(used, call)) + self.meter.lap()
            self._sleep(costs.waiting(call, requests, self.chance) + costs.seconds(cpu))

    def _be_asked(self, point: str, seconds: float) -> None:
        """Let the time of a request pass. Other processes run in it, and this one goes on when they pause.

        Raises:
            UnknownOutcomeError: that took longer than any client waits, so that the request never arrives.
        """
        began = self.kernel.now()
        self.kernel.sleep(timedelta(seconds=seconds))
        if self.kernel.now() - began > LONGEST_REQUEST and point.partition(" ")[2] not in LOCAL:
            raise UnknownOutcomeError(f"{point}: no answer")

    def spend_rest(self) -> None:
        """Let the time pass that a cycle's own CPU took since its last call."""
        if self._nature.costs is not None:
            self._sleep(self._nature.costs.seconds(self.meter.lap()))

    def _sleep(self, seconds: float) -> None:
        with self.meter.excluded():
            self.kernel.sleep(timedelta(seconds=seconds))

    def _spend(self, cpu: float) -> float:
        self.meter.charge(cpu)
        return cpu

    def _first_use(self, used: set[str], call: str) -> float:
        """What the first call of a service costs a process besides; nothing afterwards."""
        service = call.partition(".")[0]
        if service in used:
            return 0.0
        used.add(service)
        assert self._nature.costs is not None
        return self._nature.costs.of_first_use(call)

    def _before_task(self, used: set[str], point: str) -> timedelta:
        """How long after it was begun a task beside the cycle takes effect."""
        costs, call = self._nature.costs, point.partition(" ")[2] or BESIDE
        if call == "fleet.launch":
            seconds = self.chance.uniform(*self._nature.launch_latency)
        elif costs is not None:
            seconds = costs.waiting(call, 1, self.chance)
        else:
            seconds = self.chance.uniform(*self._nature.latency)
        if costs is not None:
            if call != BESIDE:  # which is some of the stages' own code, that makes a request or none
                self.requests[call] += 1
            seconds += costs.seconds(self._spend(costs.of_call(call, 1) + self._first_use(used, call)))
        return timedelta(seconds=seconds)

    def _after_task(self, parsed: dict[JobId, Run], point: str, answer: object) -> timedelta:
        """How long after its effect a task's answer is read."""
        with self.meter.excluded():
            return timedelta(seconds=self._reading(parsed, point, answer) if isinstance(answer, list | tuple) else 0.0)

    def _take_in(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> None:
        """Let the time pass that reading an answer of several things takes."""
        with self.meter.excluded():
            if seconds := self._reading(parsed, point, answer):
                self._sleep(seconds)

    def _reading(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> float:
        """Seconds that an answer takes after its first page has come.

        Args:
            parsed: the runs that the process knows. It reads each version of a run once, and none that it wrote
                itself, as the real ledger does.
        """
        costs, call = self._nature.costs, point.partition(" ")[2]
        if costs is None:
            return 0.0
        if call in OWN_WRITES:
            parsed.update({run.job_id: run for run in answer if isinstance(run, Run)})
        parts = {call: len(answer)}
        if call in RUNS and (parsed or call == REFRESHED_RUNS):
            sent = (
                answer if call == ACTIVE_RUNS else [run for run in answer if isinstance(run, Run) and not run.binding]
            )
            known = sum(isinstance(run, Run) and parsed.get(run.job_id) is run for run in sent)
            parts = {KNOWN: known, NEWS: len(sent) - known}
        if call in RUNS:
            parsed.update({run.job_id: run for run in answer if isinstance(run, Run)})
        pages = {part: costs.further_pages(part, size) for part, size in parts.items()}
        if call == REFRESHED_RUNS:  # DynamoDB reads those that it does not send
            pages[KNOWN] = costs.further_pages(KNOWN, len(answer))
        cpu = sum(costs.of_answer(part, size) for part, size in parts.items())
        if parts.get(NEWS) and NEWS in costs.page_of_answer:  # they are asked for after the look that showed them
            pages[NEWS], cpu = pages[NEWS] + 1, cpu + costs.of_requests(call, 1)
        if more := sum(pages.values()):
            self.requests[f"{call} pages"] += more
        waited = sum(costs.waiting(NEWS if part == NEWS else call, n, self.chance) for part, n in pages.items())
        return waited + costs.seconds(self._spend(cpu))

    def _around(self, point: str) -> AbstractContextManager[None]:
        """Adapters that are simulated are charged for by `Costs.cpu`, not by what the simulation takes."""
        return nullcontext() if " stacks." in point else self.meter.excluded()
