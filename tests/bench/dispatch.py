"""How soon and in how few calls jobs become VMs, in virtual time. Options: --json, --quick, --strict, --memory=512,
--cpu=1,2 and --transactions=1,3 (how much slower a core and a transaction may be than measured and guessed here).

The services take the time that others measured of them and grant what EC2 publishes; DynamoDB's partitions take a
thousand write units a second. The function's own CPU is measured here and charged at the share of a core that the
template's memory size gives it, with that of each request to AWS and of each first use in a new process. Beside it, one
RunInstances for each job under the same budgets. Bars are held to the first pair of factors.
"""

import json
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from tests.bench.calibration import read_active_runs
from tests.bench.field import Burst, Field, Machine, Stream, machines
from tests.bench.idle import IdleMinute, idle_minute
from tests.bench.processes import KEYS, OURS, import_ratio, said_by
from tests.simulator.buildkite import Step
from tests.simulator.simulation.costs import FULL_CORE_MIB
from tests.unit.values import a_run, a_vm

IDLE_USD = 9.5
"""Ten for both functions and the tables, of which the tracker's minute takes some."""

COLD_IMPORT = 2
"""Times the CPU of bare boto3."""

POLL_PHASES = (0.3, 0.8, 1.3, 1.8)
"""Seconds after a look at an idle queue when jobs come: luck is not to be measured."""

LIMIT = (5_000 - 1_000) / 2
"""Seconds in which EC2 grants 5,000 VMs: a thousand at once, two a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """One cycle with much to look at and nothing to do."""

    scheduled: int
    active: int
    cpu_seconds: float
    peak_mib: float
    process_mib: float


def heavy_tick(field: Field, *, scheduled: int, active: int) -> Heavy:
    """A cycle of a full deployment: ten pages of jobs that may not start, and as many runs as there may be.

    CPU is the steps' own and the real adapters' by calibration, with what is learnt once learnt. Memory is Python's
    own peak, for the cycle and for what the real adapter reads before it, beside what a process takes that has loaded
    everything.
    """
    simulation = field.world(only=(), MAX_INSTANCES="20000", LAUNCH_ENABLED="false")
    for number in range(active):
        run = a_run(number).bound(a_vm(number), now=simulation.kernel.now())
        simulation.store.runs[run.job_id] = run
    simulation.buildkite.create_build(steps=[Step()] * scheduled)
    wired = simulation.wired("dispatcher")
    fence = 1
    wired.work(simulation.kernel.now(), fence)  # what is learnt once is not a cycle's
    tracemalloc.start()
    read_active_runs(active)  # in full, as a process does once
    wired.work(simulation.kernel.now(), fence)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    simulation.meter.lap()
    before = simulation.meter.total
    with simulation.meter.included():  # once more, for tracing memory takes CPU
        wired.work(simulation.kernel.now(), fence)
    simulation.meter.lap()
    spent = simulation.meter.total - before
    loaded = said_by(
        f"{OURS}; make('ec2', {KEYS}); make('ssm', {KEYS})\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    return Heavy(
        scheduled=scheduled,
        active=active,
        cpu_seconds=round(spent, 2),
        peak_mib=round(peak / 2**20, 1),
        process_mib=round(loaded / 1024, 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One pair of factors."""

    machine: Machine
    bursts: Sequence[Burst]
    streams: Sequence[Stream]
    idle: IdleMinute
    idle_with_push: IdleMinute


def measure(machine: Machine, sizes: Mapping[int, float], *, quick: bool) -> Measured:
    """Everything that depends on the factors; the same for a shorter time where it is to be quick."""
    field = Field(machine)
    bursts = [
        max(
            (
                field.burst(jobs, at_most_seconds=seconds, after=after)
                for after in POLL_PHASES[: 4 if jobs <= 1_000 and not quick else 1]
            ),
            key=lambda burst: burst.seconds_until_bound,
        )
        for jobs, seconds in sizes.items()
    ]
    streams = [
        field.stream("10 jobs/s for 60 s", per_second=10, seconds=60),
        field.stream(IDLE, per_second=0.05, seconds=400 if quick else 3_000),
        field.stream(PUSHED, per_second=0.05, seconds=400 if quick else 1_200, push=True),
    ]
    if not quick:
        streams.append(field.stream("1.5 jobs/s for 30 min", per_second=1.5, seconds=1_800))
        roomy = Field(replace(machine, memory_mib=ROOMY_MIB))
        streams.append(roomy.stream(ROOMY, per_second=100, seconds=8))
    return Measured(
        machine=machine,
        bursts=bursts,
        streams=streams,
        idle=idle_minute(field.world(), field.memory),
        idle_with_push=idle_minute(field.world(push=True), field.memory),
    )


def bars_of(first: Measured, ratio: float) -> dict[str, bool]:
    """What must hold."""
    thousand = first.bursts[2]
    bars = {
        "1,000 jobs: at most 4 fleet calls": thousand.fleet_calls <= 4,
        "1,000 jobs: bound within 10 s": thousand.seconds_until_bound <= 10,
        "cold import: at most twice bare boto3": ratio <= COLD_IMPORT,
        f"idle: at most {IDLE_USD} USD a month": first.idle.usd_a_month <= IDLE_USD,
    }
    for many in first.bursts[3:]:
        bars["5,000 jobs: asked for within 10 % of what EC2's budget allows"] = many.seconds_until_asked <= 1.1 * LIMIT
        bars["5,000 jobs: none finished"] = many.finished == 0
    for stream in first.streams:
        bars[f"{stream.name}: p50 ≤ {P50.get(stream.name, 1.5)} s"] = stream.p50 <= P50.get(stream.name, 1.5)
        bars[f"{stream.name}: p99 ≤ {P99.get(stream.name, 2.5)} s"] = stream.p99 <= P99.get(stream.name, 2.5)
    return bars


IDLE, PUSHED = "a job each 20 s, without push", "a job each 20 s, with push"
ROOMY_MIB, ROOMY = 1_024, "100 jobs/s for 8 s at 1024 MiB"
"""EC2 grants a thousand VMs at once, so that these jobs wait for the dispatcher and not for EC2."""

P50 = {IDLE: 0.8, PUSHED: 1.0}
P99 = {IDLE: 1.3, ROOMY: 3.0}
"""Seconds from a job to its VM's request; 1.5 and 2.5 unless named."""


def main() -> int:
    """Measure; the exit status, which is 1 with --strict when a bar is missed (CPU is this machine's, and wobbles)."""
    began, quick = time.monotonic(), "--quick" in sys.argv[1:]
    kinds = machines(sys.argv[1:])
    sizes = {1: 60.0, 100: 60.0, 1_000: 120.0}
    everything = sizes if quick else {**sizes, 5_000: 3_000.0}
    rows = [measure(machine, everything if machine is kinds[0] else sizes, quick=quick) for machine in kinds]
    ratio = import_ratio(1) if quick else import_ratio()
    heavy = heavy_tick(Field(kinds[0]), scheduled=2_000 if quick else 10_000, active=1_000 if quick else 5_000)
    bars = bars_of(rows[0], ratio)
    if "--json" in sys.argv[1:]:
        document = {
            "measured": [asdict(row) for row in rows],
            "import_ratio": ratio,
            "heavy_tick": asdict(heavy),
            "bars": bars,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_machine(kinds[0])
        for row in rows:
            _print(row)
        for name, kept in bars.items():
            sys.stdout.write(f"{'kept  ' if kept else 'MISSED'}  {name}\n")
        sys.stdout.write(f"cold import: {ratio} times bare boto3 with a DynamoDB client\n")
        sys.stdout.write(
            f"a tick with {heavy.scheduled} scheduled and {heavy.active} active jobs: "
            f"{heavy.cpu_seconds} CPU s, {heavy.peak_mib} MiB at its peak "
            f"beside {heavy.process_mib} MiB of the process\n"
        )
        sys.stdout.write(f"measured in {time.monotonic() - began:.0f} s\n")
    return 1 if "--strict" in sys.argv[1:] and not all(bars.values()) else 0


def _print_machine(machine: Machine) -> None:
    say = sys.stdout.write
    first_use = sum(machine.first_use.values())
    say(
        f"at {machine.memory_mib} MiB, {machine.memory_mib / FULL_CORE_MIB:.2f} of a core; a cold start takes "
        f"{machine.cold:.2f} CPU s, first uses {first_use:.2f} CPU s ({machine.seconds(first_use):.1f} s there)\n"
    )
    items = asdict(machine.calibration)
    request = items.pop("request")
    say(f"CPU of a request to AWS: {request * 1e3:.2f} ms; of an item besides: ")
    say(", ".join(f"{name} {value * 1e6:.0f} µs" for name, value in items.items()) + "\n")


def _print(row: Measured) -> None:
    say = sys.stdout.write
    say(f"--- {row.machine.name}\n")
    say("  jobs  fleets  reads  stacks  units written  asked s  bound s   CPU s | RunInstances each: calls  seconds\n")
    for burst in row.bursts:
        say(
            f"{burst.jobs:>6}{burst.fleet_calls:>8}{burst.ec2_reads:>7}{burst.stacks_calls:>8}"
            f"{burst.dynamodb_writes:>15}{burst.seconds_until_asked:>9}{burst.seconds_until_bound:>9}"
            f"{burst.cpu_seconds:>8} |{burst.one_by_one_calls:>26}{burst.one_by_one_seconds:>9}\n"
        )
    say(f"5,000 jobs at once: EC2 grants them within {LIMIT:.0f} s\n" if len(row.bursts) > 3 else "")
    for stream in row.streams:
        times = f"p50 {stream.p50} s, p99 {stream.p99} s, worst {stream.worst} s"
        say(f"{stream.name}: {times}, {stream.fleet_calls} fleets\n")
    say(row.idle.line("an idle minute"))
    say(row.idle_with_push.line("with push"))


if __name__ == "__main__":
    sys.exit(main())
