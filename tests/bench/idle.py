"""What a dispatcher costs that has nothing to do: a minute of it counted, and a month of that at list prices."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent_stack_cli.prices import REGIONS, usd
from tests.bench.field import Field, machines
from tests.cost.units import Units, weigh
from tests.simulator.buildkite import Operation
from tests.simulator.simulation.simulation import Simulation

MINUTES = 60
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

    def line(self, name: str) -> str:
        """For people."""
        return (
            f"{name}: {self.invocations} invocations, {self.billed_seconds} s billed, "
            f"{self.buildkite_requests} requests to Buildkite, {self.dynamodb_requests} to DynamoDB "
            f"({self.read_units} read and {self.write_units} write units): {self.usd_a_month} USD a month; "
            f"at most {self.longest_gap_seconds} s between two looks\n"
        )


def idle_minute(simulation: Simulation, memory_mib: int) -> IdleMinute:
    """Let a world without jobs go on for an hour, and count."""
    simulation.run(150)  # processes are warm, and what is learnt once is learnt
    simulation.requests.clear()
    simulation.billed.clear()
    logged = len(simulation.buildkite.access_log())
    simulation.run(MINUTES * 60)
    asked = +simulation.requests  # calls about nothing make no request
    weights = weigh().of_call
    tables = {call: n for call, n in asked.items() if call.startswith(("ledger.", "lease.", "mailbox."))}
    units = sum((weights[call] * n for call, n in tables.items()), Units())
    billed = simulation.billed["dispatcher"]
    looks = [r.at for r in simulation.buildkite.access_log()[logged:] if r.operation == Operation.LIST_SCHEDULED_JOBS]
    price = usd(REGIONS[0])
    month = (
        sum(billed) * memory_mib / 1024 * price["lambda_arm_gb_second"]
        + len(billed) * price["lambda_request"]
        + units.reads * price["dynamodb_read_unit"]
        + units.writes * price["dynamodb_write_unit"]
    )
    return IdleMinute(
        invocations=round(len(billed) / MINUTES, 2),
        billed_seconds=round(sum(billed) / MINUTES, 2),
        buildkite_requests=round((len(simulation.buildkite.access_log()) - logged) / MINUTES, 2),
        dynamodb_requests=round(units.requests / MINUTES, 2),
        read_units=round(units.reads / MINUTES, 2),
        write_units=round(units.writes / MINUTES, 2),
        usd_a_month=round(month / MINUTES * MINUTES_OF_A_MONTH, 2),
        longest_gap_seconds=round(max((b - a).total_seconds() for a, b in pairwise(looks)), 1),
    )


def main(options: Sequence[str]) -> int:
    """Both ways of hearing of jobs; the exit status."""
    field = Field(machines(options)[0])
    sys.stdout.write(idle_minute(field.world(), field.memory).line("an idle minute"))
    sys.stdout.write(idle_minute(field.world(push=True), field.memory).line("with push"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
