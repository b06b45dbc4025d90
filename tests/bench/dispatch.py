"""How soon and in how few calls jobs become VMs, in virtual time. Options: --json, --quick, --strict, --memory=512.

The services take the time that others measured of them and grant what EC2 publishes; DynamoDB's partitions take a
thousand write units a second. The function's own CPU is measured here and charged at the share of a core that the
template's memory size gives it. Beside it, one RunInstances for each job under the same budgets.
"""

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.calibration import Calibration, calibrate, read_active_runs
from tests.bench.field import Burst, Field, Stream, memory_mib
from tests.bench.idle import IdleMinute, idle_minute
from tests.simulator.buildkite import Step
from tests.simulator.simulation.costs import FULL_CORE_MIB
from tests.unit.values import a_run, a_vm

AS_SHIPPED = "import sys; sys.modules.update(click=None, rich=None)"
"""httpx imports its command line where these are installed; the artefact has neither, and a checkout's tools do."""

KEYS = "region_name='eu-central-1', aws_access_key_id='a', aws_secret_access_key='b'"
BARE = f"import boto3; boto3.Session().client('dynamodb', {KEYS})"
OURS = (
    "import handlers.dispatcher, botocore.session; make = botocore.session.Session().create_client; "
    f"make('dynamodb', {KEYS})"
)

IDLE_USD = 9.5
"""Ten for both functions and the tables, of which the tracker's minute takes some."""

POLL_PHASES = (31.3, 31.8, 32.3, 32.8)
"""When jobs come, between two polls of an idle queue: luck is not to be measured."""


def cold_cpu_seconds() -> float:
    """CPU that a process needs before its first cycle: interpreter, imports, the clients of an idle poll."""
    return _cpu_of(OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """One cycle with much to look at and nothing to do."""

    scheduled: int
    active: int
    cpu_seconds: float
    peak_mib: float
    process_mib: float


def heavy_tick(field: Field, calibration: Calibration, *, scheduled: int, active: int) -> Heavy:
    """A cycle of a full deployment: ten pages of jobs that may not start, and as many runs as there may be.

    CPU is the steps' own and the real adapters' by calibration. Memory is Python's own peak, for the cycle and for what
    the real adapter reads before it, beside what a process takes that has loaded everything.
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
    spent = simulation.meter.total - before + active * calibration.seen
    loaded = _said_by(
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


def import_ratio() -> float:
    """CPU of a dispatcher that polls an idle queue for the first time over that of bare boto3 with a DynamoDB client.

    EC2's client is made at its first use, which an idle poll is not.
    """
    return round(_cpu_of(OURS) / _cpu_of(BARE), 2)


def _cpu_of(code: str) -> float:
    """CPU seconds of a Python process that runs that code; the median of five."""
    return sorted(_said_by(f"{code}\nimport time; print(time.process_time())") for _ in range(5))[2]


def _said_by(code: str) -> float:
    """The number that a Python process prints which runs that code beside the functions."""
    functions = Path(__file__).resolve().parents[2] / "functions"
    done = subprocess.run(
        [sys.executable, "-c", f"{AS_SHIPPED}\n{code}"], cwd=functions, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    """Measure; the exit status, which is 1 with --strict when a bar is missed (CPU is this machine's, and wobbles)."""
    began = time.monotonic()
    calibration, cold = calibrate(), cold_cpu_seconds()
    field = Field(calibration, cold, memory_mib(sys.argv[1:]))
    quick = "--quick" in sys.argv[1:]
    sizes = {1: 60, 100: 60, 1_000: 120} if quick else {1: 60, 100: 60, 1_000: 120, 5_000: 3_000}
    bursts = [
        max(
            (
                field.burst(jobs, at_most_seconds=seconds, after=after)
                for after in POLL_PHASES[: 4 if jobs <= 1_000 else 1]
            ),
            key=lambda burst: burst.seconds_until_bound,
        )
        for jobs, seconds in sizes.items()
    ]
    streams = [field.stream("10 jobs/s for 60 s", per_second=10, seconds=60)]
    pushed = field.stream("a job each 20 s, with push", per_second=0.05, seconds=1_200, push=True)
    if not quick:
        streams.append(field.stream("1.5 jobs/s for 30 min", per_second=1.5, seconds=1_800))
    idle = idle_minute(field.world(), field.memory)
    idle_with_push = idle_minute(field.world(push=True), field.memory)
    ratio = import_ratio()
    heavy = heavy_tick(field, calibration, scheduled=10_000, active=5_000)
    limit = (5_000 - 1_000) / 2
    thousand = bursts[2]
    bars = {
        "1,000 jobs: at most 4 fleet calls": thousand.fleet_calls <= 4,
        "1,000 jobs: bound within 10 s": thousand.seconds_until_bound <= 10,
        **{
            f"5,000 jobs: {what}": kept
            for many in bursts[3:]
            for what, kept in (
                ("asked for within 10 % of what EC2's budget allows", many.seconds_until_asked <= 1.1 * limit),
                ("none finished", many.finished == 0),
            )
        },
        **{f"{s.name}: p50 ≤ 1.5 s": s.p50 <= 1.5 for s in streams},
        "cold import: at most twice bare boto3": ratio <= 2,
        f"idle: at most {IDLE_USD} USD a month": idle.usd_a_month <= IDLE_USD,
        f"{pushed.name}: p50 ≤ 1 s": pushed.p50 <= 1,
        **{f"{s.name}: p99 ≤ 2.5 s": s.p99 <= 2.5 for s in streams},
    }
    if "--json" in sys.argv[1:]:
        document = {
            "memory_mib": field.memory,
            "cold_cpu_seconds": cold,
            "calibration": asdict(calibration),
            "bursts": [asdict(row) for row in bursts],
            "streams": [asdict(row) for row in (*streams, pushed)],
            "idle_minute": asdict(idle),
            "idle_minute_with_push": asdict(idle_with_push),
            "import_ratio": ratio,
            "heavy_tick": asdict(heavy),
            "bars": bars,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print(field, calibration, cold, bursts, [*streams, pushed], bars, limit)
        _print_idle("an idle minute", idle)
        _print_idle("with push", idle_with_push)
        sys.stdout.write(f"cold import: {ratio} times bare boto3 with a DynamoDB client\n")
        sys.stdout.write(
            f"a tick with {heavy.scheduled} scheduled and {heavy.active} active jobs: "
            f"{heavy.cpu_seconds} CPU s, {heavy.peak_mib} MiB at its peak "
            f"beside {heavy.process_mib} MiB of the process\n"
        )
        sys.stdout.write(f"measured in {time.monotonic() - began:.0f} s\n")
    return 1 if "--strict" in sys.argv[1:] and not all(bars.values()) else 0


def _print(
    field: Field,
    calibration: Calibration,
    cold: float,
    bursts: Sequence[Burst],
    streams: Sequence[Stream],
    bars: dict[str, bool],
    limit: float,
) -> None:
    say = sys.stdout.write
    say(f"at {field.memory} MiB, {field.memory / FULL_CORE_MIB:.2f} of a core; a cold start takes {cold:.2f} CPU s\n")
    say(
        "CPU of an item: "
        + ", ".join(f"{name} {value * 1e6:.0f} µs" for name, value in asdict(calibration).items())
        + "\n"
    )
    say("  jobs  fleets  reads  stacks  units written  asked s  bound s   CPU s | RunInstances each: calls  seconds\n")
    for row in bursts:
        say(
            f"{row.jobs:>6}{row.fleet_calls:>8}{row.ec2_reads:>7}{row.stacks_calls:>8}{row.dynamodb_writes:>15}"
            f"{row.seconds_until_asked:>9}{row.seconds_until_bound:>9}{row.cpu_seconds:>8}"
            f" |{row.one_by_one_calls:>26}{row.one_by_one_seconds:>9}\n"
        )
    say(f"5,000 jobs at once: EC2 grants them within {limit:.0f} s\n" if len(bursts) > 3 else "")
    for stream in streams:
        times = f"p50 {stream.p50} s, p99 {stream.p99} s, worst {stream.worst} s"
        say(f"{stream.name}: {times}, {stream.fleet_calls} fleets\n")
    for name, kept in bars.items():
        say(f"{'kept  ' if kept else 'MISSED'}  {name}\n")


def _print_idle(name: str, idle: IdleMinute) -> None:
    sys.stdout.write(
        f"{name}: {idle.invocations} invocations, {idle.billed_seconds} s billed, "
        f"{idle.buildkite_requests} requests to Buildkite, {idle.dynamodb_requests} to DynamoDB "
        f"({idle.read_units} read and {idle.write_units} write units): {idle.usd_a_month} USD a month\n"
    )


if __name__ == "__main__":
    sys.exit(main())
