"""How soon a job starts on a standby VM, beside a cold start under the same budgets and latencies; and what an hour of
standing by costs. Virtual seconds. Options: --json, --quick, --strict, --memory=512, --cpu=1,2, --transactions=1,3.

Of a start each part is printed: until the dispatcher's code runs (with push), until Buildkite's list shows the job, its
reservation, its token, its binding, until the VM has the credential, and until the agent has the job. EC2's and the
VM's times are those that others measured.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any

from agent_stack_cli.prices import REGIONS, usd
from tests.bench.field import PUSH, Field, TimedTelemetry, machines, memory_mib
from tests.cost.units import Units, weigh
from tests.simulator.buildkite import Event, JobState, JobStateChanged, Step
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud import Subnet
from tests.simulator.simulation.machine import POLL, REQUEST, Temper
from tests.simulator.simulation.nature import Nature
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.simulation import Simulation
from tests.unit.values import an_environment

HOT_P50, HOT_P99, PUSH_P50 = 3.0, 5.0, 2.0
"""Bars, in seconds from scheduled to the agent's acquisition."""

IDLE_SHARE = 1.10
"""An hour with ten idle VMs may cost the functions and tables so much of the same hour without."""

PARTS = {
    "woken": "lease.acquire",
    "listed": "stacks.list_scheduled",
    "reserved": "stacks.reserve",
    "token": "stacks.issue_tokens",
    "bound": "ledger.bind",
}
"""By the dispatcher's call that ends each part; the VM ends the last two, `credential` and `acquired`."""

LISTED = PARTS["listed"]
BOOT = (5.0, 15.0)  # the network and user data of a VM that EC2 shows running
EC2: dict[str, Any] = {
    "subnets": {"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
    "pending": (timedelta(seconds=5), timedelta(seconds=19)),
}
SHAPE: dict[str, Any] = {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"}
HOUR = 3600
POLLS_AN_HOUR = HOUR / (POLL + REQUEST)
READ_UNITS_OF_A_POLL = 0.5
"""Looks into the mailbox of a VM that waits are not consistent, which halves their price."""

MORE_MEMORY = 512
"""MiB of a dispatcher that is woken by jobs and billed for seconds; a row shows what they bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from scheduled to acquired over many jobs, and the middle of each part."""

    name: str
    jobs: int
    p50: float
    p99: float
    parts: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What both functions did in an hour without jobs, and what that costs with the tables."""

    name: str
    invocations: int
    billed_seconds: dict[str, float]
    requests: int
    usd: float


@dataclass(slots=True, kw_only=True)
class Watch:
    """When things happened to jobs."""

    simulation: Simulation
    scheduled: dict[str, datetime] = field(default_factory=dict)
    credential: dict[str, datetime] = field(default_factory=dict)
    moments: dict[str, dict[str, datetime]] = field(default_factory=dict)
    acquired: dict[str, datetime] = field(default_factory=dict)
    _latest: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.simulation.judge = self._called
        self.simulation.kernel.after_each.append(self._look)
        self.simulation.buildkite.on_event(self._heard)

    def _look(self) -> None:
        for vm in self.simulation.vms.values():
            if vm.alive and vm.job_id is not None:
                self.credential.setdefault(vm.job_id, self.simulation.kernel.now())

    def _called(self, point: str) -> Fate:
        """Each call of a port at the moment at which it takes effect. Jobs come one at a time."""
        function, _, call = point.partition(" ")
        if function == "dispatcher":
            self._latest[call] = self.simulation.kernel.now()
        return Fate.GOES_ON

    def _heard(self, event: Event) -> None:
        now = self.simulation.kernel.now()
        if isinstance(event, JobStateChanged) and event.after is JobState.RESERVED:
            self.moments[event.job_id] = {call: self._latest[call] for call in ("lease.acquire", LISTED)}
            self.moments[event.job_id]["stacks.reserve"] = now
        if isinstance(event, JobStateChanged) and event.after is JobState.ACCEPTED:
            self.acquired[event.job_id] = now
            self.moments[event.job_id] |= {call: self._latest[call] for call in ("stacks.issue_tokens", "ledger.bind")}

    def parts(self, job_id: str) -> dict[str, float]:
        known, before = self.moments[job_id], self.scheduled[job_id]
        ends = {part: known[call] for part, call in PARTS.items()}
        ends |= {"credential": self.credential[job_id], "acquired": self.acquired[job_id]}
        found = {}
        for part, end in ends.items():
            found[part] = max(0.0, (end - before).total_seconds())
            before = max(before, end)
        return found


def world(place: Field, hot: int, *, push: bool, **changed: str) -> Simulation:
    default = {**SHAPE, **({"standby": {"hot": hot}} if hot else {})}
    settings = {
        **{name: value for name, value in an_environment().items() if name.isupper()},
        "IDLE_POLL_SECONDS": "0.5",
        "MAX_INSTANCES": "200",
        "RESERVATION_SECONDS": "900",
        "UNASSIGNED_TIMEOUT_SECONDS": "300",
        "WOKEN_BY_JOBS": "true" if push else "false",
        **changed,
    }
    nature: dict[str, Any] = {**place._nature, "temper": Temper(boot=BOOT)}
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=Ec2Settings(**EC2), **nature),
        settings=settings,
        classes=json.dumps({"classes": {"default": default}, "default_class": "default"}),
    )
    simulation.telemetry = TimedTelemetry(simulation.kernel)
    simulation.deliver_wake_ups()
    if push:
        simulation.send_jobs(PUSH)
    return simulation


def starts(place: Field, name: str, *, hot: int, push: bool, jobs: int) -> Start:
    """One job at a time, at moments of no pattern."""
    simulation = world(place, hot, push=push)
    watch = Watch(simulation=simulation)
    simulation.run(600)
    pushed = []
    for number in range(jobs):
        simulation.run(30 + (number * 0.37) % 7)
        step = Step(env={"SIM_SECONDS": "5"})
        (job_id,) = simulation.buildkite.create_build(steps=[step]).job_ids
        watch.scheduled[job_id] = simulation.kernel.now()
        pushed.append(job_id)
    simulation.run(200)
    parts = [watch.parts(job_id) for job_id in pushed]
    whole = [sum(one.values()) for one in parts]
    cut = quantiles(whole, n=100, method="inclusive")
    middle = {part: round(quantiles([one[part] for one in parts], n=2)[0], 2) for part in parts[0]}
    return Start(name=name, jobs=jobs, p50=round(cut[49], 2), p99=round(cut[98], 2), parts=middle)


def idle_hour(place: Field, name: str, *, hot: int, memory: dict[str, int]) -> Hour:
    simulation = world(place, hot, push=False)
    simulation.run(900)
    simulation.requests.clear()
    simulation.billed.clear()
    simulation.run(HOUR)
    asked = +simulation.requests
    weights = weigh().of_call
    units = sum((weights[call] * n for call, n in asked.items() if call in weights), Units())
    listed = asked.get("standby.listed", 0)
    units += Units(reads=listed, requests=listed)
    price = usd(REGIONS[0])
    billed = {function: round(sum(seconds), 1) for function, seconds in simulation.billed.items()}
    count = sum(map(len, simulation.billed.values()))
    cost = (
        sum(billed[function] * memory[function] / 1024 for function in billed) * price["lambda_arm_gb_second"]
        + count * price["lambda_request"]
        + units.reads * price["dynamodb_read_unit"]
        + units.writes * price["dynamodb_write_unit"]
    )
    return Hour(name=name, invocations=count, billed_seconds=billed, requests=sum(asked.values()), usd=round(cost, 5))


def main(options: Sequence[str]) -> int:
    """Print; 1 when a bar is missed."""
    place = Field(machines([*options, "--quick"])[0])
    jobs = 40 if "--quick" in options else 200
    found = [
        starts(place, "cold, polling", hot=0, push=False, jobs=jobs),
        starts(place, "hot, polling", hot=5, push=False, jobs=jobs),
        starts(place, "cold, push", hot=0, push=True, jobs=jobs),
        starts(place, "hot, push", hot=5, push=True, jobs=jobs),
    ]
    roomy = Field(replace(place.machine, memory_mib=MORE_MEMORY))
    found.append(starts(roomy, f"hot, push, {MORE_MEMORY} MiB", hot=5, push=True, jobs=jobs))
    memory = {"dispatcher": place.memory, "tracker": memory_mib(options, "TrackerMemory")}
    hours = [
        idle_hour(place, "an hour without standby VMs", hot=0, memory=memory),
        idle_hour(place, "an hour with ten idle", hot=10, memory=memory),
    ]
    if "--json" in options:
        sys.stdout.write(json.dumps([*map(asdict, found), *map(asdict, hours)], indent=2) + "\n")
    for one in found:
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in one.parts.items())
        sys.stdout.write(f"{one.name:<21}{one.jobs} jobs: p50 {one.p50:.2f} s, p99 {one.p99:.2f} s; parts: {parts}\n")
    for hour in hours:
        sys.stdout.write(f"{hour.name}: {hour.invocations} invocations, billed {hour.billed_seconds} s, ")
        sys.stdout.write(f"{hour.requests} requests, {hour.usd:.5f} USD\n")
    polls = POLLS_AN_HOUR * READ_UNITS_OF_A_POLL * usd(REGIONS[0])["dynamodb_read_unit"]
    sys.stdout.write(f"beside EC2 and EBS, an idle VM's own looks into its mailbox: {polls:.5f} USD an hour\n")
    share = hours[1].usd / hours[0].usd
    missed = [
        text
        for text, holds in (
            (f"hot p50 {found[1].p50} <= {HOT_P50}", found[1].p50 <= HOT_P50),
            (f"hot p99 {found[1].p99} <= {HOT_P99}", found[1].p99 <= HOT_P99),
            (f"hot p50 with push {found[3].p50} <= {PUSH_P50}", found[3].p50 <= PUSH_P50),
            (f"an hour of standing by {share:.2f} <= {IDLE_SHARE}", share <= IDLE_SHARE),
        )
        if not holds
    ]
    for text in missed:
        sys.stdout.write(f"MISSED: {text}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
