"""What a dispatcher costs that has nothing to do: a minute of it counted, and a month of that at list prices."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from botocore.model import OperationModel

from agent_stack.adapters.dynamodb import DynamoLease
from tests.bench.calibration import LEASED, canned_ledger
from tests.cost.prices import REGIONS, prices_of
from tests.simulator.buildkite import Operation
from tests.simulator.clock import EPOCH
from tests.simulator.universe.universe import Universe

MINUTES = 60
TTL = timedelta(seconds=9)

READ_UNITS = {"Query": 1.0}
WRITE_UNITS = {"UpdateItem": 1.0}
"""Of a request that meets one item under a kilobyte, or none; a refused write costs the same. Source: DynamoDB's read
and write units."""

MINUTES_OF_A_MONTH = 730 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleMinute:
    """Averages over an hour."""

    invocations: float
    billed_seconds: float
    buildkite_requests: float
    dynamodb_requests: float
    read_units: float
    write_units: float
    usd_a_month: float
    longest_gap_seconds: float
    """Between two looks at the queue, in the whole hour."""


def idle_minute(universe: Universe, memory_mib: int) -> IdleMinute:
    """Let a world without jobs go on for an hour, and count."""
    universe.run(150)  # processes are warm, and what is learnt once is learnt
    universe.requests.clear()
    universe.billed.clear()
    logged = len(universe.buildkite.access_log())
    universe.run(MINUTES * 60)
    asked = +universe.requests  # calls about nothing make no request
    requests = Counter[str]()
    for call, operations in _operations().items():
        for operation, count in operations.items():
            requests[operation] += count * asked.pop(call, 0)
    unknown = [call for call in asked if call.startswith(("ledger.", "lease.", "mailbox.", "fleet."))]
    assert not unknown, f"an idle minute asks more than is counted: {unknown}"
    billed = universe.billed["dispatcher"]
    looks = [r.at for r in universe.buildkite.access_log()[logged:] if r.operation == Operation.LIST_SCHEDULED_JOBS]
    reads = sum(count * READ_UNITS.get(operation, 0) for operation, count in requests.items())
    writes = sum(count * WRITE_UNITS.get(operation, 0) for operation, count in requests.items())
    price = prices_of(REGIONS[0]).usd
    usd = (
        sum(billed) * memory_mib / 1024 * price["lambda_arm_gb_second"]
        + len(billed) * price["lambda_request"]
        + reads * price["dynamodb_read_unit"]
        + writes * price["dynamodb_write_unit"]
    )
    return IdleMinute(
        invocations=round(len(billed) / MINUTES, 2),
        billed_seconds=round(sum(billed) / MINUTES, 2),
        buildkite_requests=round((len(universe.buildkite.access_log()) - logged) / MINUTES, 2),
        dynamodb_requests=round(sum(requests.values()) / MINUTES, 2),
        read_units=round(reads / MINUTES, 2),
        write_units=round(writes / MINUTES, 2),
        usd_a_month=round(usd / MINUTES * MINUTES_OF_A_MONTH, 2),
        longest_gap_seconds=round(max((b - a).total_seconds() for a, b in pairwise(looks)), 1),
    )


def _operations() -> dict[str, Counter[str]]:
    """Which requests the real adapters make of each call that an idle dispatcher makes."""
    ledger = canned_ledger(LEASED)
    lease = DynamoLease(table=ledger.table, function="dispatcher")
    held = lease.acquire("h", now=EPOCH, ttl=TTL)
    assert held is not None
    made = Counter[str]()

    def note(model: OperationModel, **_: object) -> None:
        made[model.name] += 1

    ledger.table.client.meta.events.register("before-call.dynamodb", note)
    counted: dict[str, Counter[str]] = {}
    calls: dict[str, Callable[[], object]] = {
        "ledger.active_runs": ledger.active_runs,
        "ledger.open_intents": ledger.open_intents,
        "lease.acquire": lambda: lease.acquire("h", now=EPOCH, ttl=TTL),
        "lease.knock": lambda: lease.knock("h", follow=True),
        "lease.renew": lambda: lease.renew(held, now=EPOCH, ttl=TTL),
        "lease.release": lambda: lease.release(held),
    }
    for call, act in calls.items():
        made.clear()
        act()
        counted[call] = Counter(made)
    return counted
