"""What calls cost in time: latencies of the services, and the CPU that a Lambda function is given for its own work."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

FULL_CORE_MIB = 1_769
"""Memory at which a Lambda function has one whole core. Source: the Lambda developer guide."""

LOCAL = frozenset({"fleet.pools", "fleet.render"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """By port and method, as in `fleet.launch`.

    Attributes:
        latency: shortest and longest seconds of one request.
        per_request: items that fit into one request, where a call is several.
        cpu: measured CPU seconds of the real adapter for one item, which the simulated one does not spend.
        cpu_of_result: the same for one item of what a call gives.
        memory_mib: of the function; its share of a core follows.
    """

    latency: Mapping[str, tuple[float, float]]
    per_request: Mapping[str, int]
    cpu: Mapping[str, float]
    cpu_of_result: Mapping[str, float]
    memory_mib: int
    otherwise: tuple[float, float] = (0.02, 0.08)

    def requests(self, call: str, size: int) -> int:
        """How many requests a call with that many items makes; none for nothing, and for what is only computed."""
        return 0 if call in LOCAL else -(-size // self.per_request.get(call, 1_000_000))

    def waiting(self, call: str, size: int, chance: random.Random) -> float:
        """Seconds until it is answered."""
        shortest, longest = self.latency.get(call, self.otherwise)
        return sum(chance.uniform(shortest, longest) for _ in range(self.requests(call, size)))

    def reading(self, call: str, size: int) -> float:
        """Seconds that the function's own CPU needs for an answer with that many items."""
        return self.cpu_of_result.get(call, 0.0) * size * self._slower

    def working(self, call: str, size: int, spent: float) -> float:
        """Seconds that the function's own CPU needs: what it spent before the call, and the adapter's part."""
        return (spent + self.cpu.get(call, 0.0) * size) * self._slower

    @property
    def _slower(self) -> float:
        return FULL_CORE_MIB / min(self.memory_mib, FULL_CORE_MIB)


@dataclass(slots=True, kw_only=True)
class Meter:
    """CPU seconds of the product's own code; the simulation around it does not count."""

    total: float = 0.0
    _spent: float = 0.0
    _since: float | None = None

    def lap(self) -> float:
        """CPU spent since the last lap."""
        running = self._since is not None
        self._stop()
        spent, self._spent = self._spent, 0.0
        self.total += spent
        if running:
            self._start()
        return spent

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """What happens in here is the simulation's."""
        running = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if running:
                self._start()

    @contextmanager
    def included(self) -> Iterator[None]:
        """What happens in here is the product's."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    def _start(self) -> None:
        self._since = time.process_time()

    def _stop(self) -> None:
        if self._since is not None:
            self._spent += time.process_time() - self._since
            self._since = None
