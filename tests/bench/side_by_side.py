"""This stack beside two models of other ways, under the same budgets and latencies. Options: --json, --quick, --memory.

Virtual seconds. A VM boots as long with each. `changes` are requests that change something at EC2, Auto Scaling or SSM;
`asked` is when EC2 has granted the last VM, `started` when the last job has its agent; the tail is what all VMs cost
after their jobs, before they end.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from agent_stack_cli.prices import DATE, REGIONS, usd
from tests.bench.field import Field, machines
from tests.bench.peers import LAUNCHER, POLLER, Peer, peers
from tests.bench.standby import world
from tests.simulator.buildkite import Event, JobState, JobStateChanged, Step

SIZES = (1, 10, 100, 1_000)
HOT_SIZES = (1, 10, 100)
CHANGES = ("fleet.launch", "fleet.terminate")
OURS = (
    "the simulated product at its default memory, polled each 0.5 s, its CPU measured on this machine",
    "guess: latencies of Buildkite's API and of EC2's reads (tests/bench/field.py), and a core as fast as this one",
    "hot: as many standby VMs as jobs wait; each costs its hours while it waits",
)
PRICE = "m7i.large_hour"


def ours(place: Field, jobs: int, *, hot: bool) -> Peer:
    """A burst on a quiet queue, until each job has its agent."""
    simulation = world(place, jobs if hot else 0, push=False, MAX_INSTANCES=str(2 * jobs + 10))
    acquired: list[datetime] = []

    def heard(event: Event) -> None:
        if isinstance(event, JobStateChanged) and event.after is JobState.ACCEPTED:
            acquired.append(simulation.kernel.now())

    simulation.buildkite.on_event(heard)
    simulation.run(600.25)
    simulation.requests.clear()
    before = len(simulation.ec2.calls())
    since = simulation.kernel.now()
    simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "600"})] * jobs)
    bound: list[datetime] = []
    while len(acquired) < jobs:
        simulation.run(1)
        if not bound and all(run.binding for run in simulation.store.runs.values()) and simulation.store.runs:
            bound.append(simulation.kernel.now())
    asked = [call.at for call in simulation.ec2.calls()[before:] if call.action == "CreateFleet"]
    needed = asked if not hot else [max(run.state_entered_at for run in simulation.store.runs.values())]
    counted = +simulation.requests
    return Peer(
        name="this stack, hot" if hot else "this stack, cold",
        jobs=jobs,
        changes=sum(counted[call] for call in CHANGES),
        requests=sum(counted.values()),
        asked=round((max(needed) - since).total_seconds(), 1),
        started=round((max(acquired) - since).total_seconds(), 1),
        tail=0.0,
    )


def main(options: Sequence[str]) -> int:
    """Print; the exit status."""
    quick = "--quick" in options
    sizes, hot_sizes = (SIZES[:3], HOT_SIZES[:2]) if quick else (SIZES, HOT_SIZES)
    place = Field(machines([*options, "--quick"])[0])
    rows = [
        *(ours(place, jobs, hot=False) for jobs in sizes),
        *(ours(place, jobs, hot=True) for jobs in hot_sizes),
        *peers(sizes),
    ]
    if "--json" in options:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
        return 0
    sys.stdout.write(f"{'':<22}jobs  changes  requests  asked s  started s  tail, USD\n")
    for row in sorted(rows, key=lambda row: row.jobs):
        tail = row.jobs * row.tail / 3600 * usd(REGIONS[0])[PRICE]
        sys.stdout.write(
            f"{row.name:<20}{row.jobs:>6}{row.changes:>9}{row.requests:>10}{row.asked:>9}{row.started:>11}{tail:>11.2f}\n"
        )
    for name, lines in (("this stack", OURS), ("Auto Scaling group", POLLER), ("queue-fed launcher", LAUNCHER)):
        sys.stdout.writelines(f"{name}: {line}\n" for line in lines)
    sys.stdout.write(f"an hour of m7i.large: {usd(REGIONS[0])[PRICE]} USD, list price of {REGIONS[0]}, {DATE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
