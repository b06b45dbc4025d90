"""What calls cost in time: latencies of the services, and the CPU that a Lambda function is given for its own work."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

FULL_CORE_MIB = 1_769
"""Memory at which a Lambda function has one whole core. Source: the Lambda developer guide."""

LOCAL = frozenset({"fleet.pools", "fleet.render", "fleet.shape", "fleet.types_of"})
"""Calls that only compute."""

OF_AWS = ("fleet.", "ledger.", "lease.", "mailbox.")
TRANSACTIONS = frozenset(
    {"ledger.record", "ledger.update", "ledger.bind", "ledger.end", "ledger.write_intent", "ledger.mark_told"}
)
"""Calls that DynamoDB answers after a transaction, which takes longer than a single write by a factor of its own."""

ACTIVE_RUNS = "ledger.active_runs"
REFRESHED_RUNS = "ledger.refreshed_runs"
NEWS, KNOWN = f"{ACTIVE_RUNS} news", f"{ACTIVE_RUNS} known"
"""Of a look at runs of which this process knows some: those that are read in full, and those by their signature."""

RUNS = (ACTIVE_RUNS, REFRESHED_RUNS)
OWN_WRITES = frozenset({"ledger.record", "ledger.update", "ledger.bind"})
"""Calls whose answers are runs as this process wrote them. The real ledger does not read those again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """By port and method, as in `fleet.launch`.

    Attributes:
        latency: shortest and longest seconds of one request.
        per_request: items that fit into one request, where a call is several.
        cpu: measured CPU seconds of the real adapter for one item, which the simulated one does not spend.
        cpu_of_result: the same for one item of what a call gives.
        memory_mib: of the function; its share of a core follows.
        requests_of: requests of one call, where it is several whatever it is about.
        page_of_answer: items of one page of an answer; each further page is one more request and waited for, too.
        cpu_of_request: CPU seconds of any request to AWS besides: signing, serialising, HTTP.
        first_use: CPU seconds of the first call of each service in a new process, by the part before the dot.
        cpu_factor: how much slower the function's core is than the one on which CPU was measured.
        transaction_factor: on the latency of `TRANSACTIONS`.
        at_once: how many of a call's requests are under way at a time; one unless named.
    """

    latency: Mapping[str, tuple[float, float]]
    per_request: Mapping[str, int]
    cpu: Mapping[str, float]
    cpu_of_result: Mapping[str, float]
    memory_mib: int
    otherwise: tuple[float, float] = (0.02, 0.08)
    requests_of: Mapping[str, int] = field(default_factory=dict)
    page_of_answer: Mapping[str, int] = field(default_factory=dict)
    cpu_of_request: float = 0.0
    first_use: Mapping[str, float] = field(default_factory=dict)
    cpu_factor: float = 1.0
    transaction_factor: float = 1.0
    at_once: Mapping[str, int] = field(default_factory=dict)

    def requests(self, call: str, size: int) -> int:
        """How many requests a call with that many items makes; none for nothing, and for what is only computed."""
        return 0 if call in LOCAL else -(-size // self.per_request.get(call, 1_000_000))

    def further_pages(self, call: str, answered: int) -> int:
        """How many more requests an answer with that many items takes than the first."""
        return max(0, -(-answered // self.page_of_answer.get(call, 1_000_000)) - 1)

    def waiting(self, call: str, requests: int, chance: random.Random) -> float:
        """Seconds until so many requests of a call are answered, as many at a time as it may make."""
        shortest, longest = self.latency.get(call, self.otherwise)
        factor = self.transaction_factor if call in TRANSACTIONS else 1.0
        drawn = [chance.uniform(shortest, longest) for _ in range(requests)]
        together = self.at_once.get(call, 1)
        return factor * sum(max(drawn[start : start + together]) for start in range(0, requests, together))

    def of_call(self, call: str, size: int) -> float:
        """CPU seconds of a whole core that the adapter needs to ask."""
        requests = self.requests(call, size) * self.requests_of.get(call, 1)
        return self.cpu.get(call, 0.0) * size + self.of_requests(call, requests)

    def of_answer(self, call: str, size: int) -> float:
        """CPU seconds of a whole core that the adapter needs to read an answer with that many items."""
        return self.cpu_of_result.get(call, 0.0) * size + self.of_requests(call, self.further_pages(call, size))

    def of_requests(self, call: str, requests: int) -> float:
        """CPU seconds of a whole core that so many requests take whatever is in them."""
        return self.cpu_of_request * requests if call.startswith(OF_AWS) else 0.0

    def of_first_use(self, call: str) -> float:
        """CPU seconds of a whole core that the first call of its service takes in a new process."""
        return self.first_use.get(call.partition(".")[0], 0.0)

    def seconds(self, cpu: float) -> float:
        """How long the function needs for so much CPU of a whole core of the machine that measured it."""
        return cpu * self.cpu_factor * FULL_CORE_MIB / min(self.memory_mib, FULL_CORE_MIB)


@dataclass(slots=True, kw_only=True)
class Meter:
    """CPU seconds of the product's own code; the simulation around it does not count."""

    total: float = 0.0
    _spent: float = 0.0
    _since: float | None = None

    def charge(self, cpu: float) -> None:
        """Count CPU that the product's adapters would have spent, and the simulated ones did not."""
        self.total += cpu

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
