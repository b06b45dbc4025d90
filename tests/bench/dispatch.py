"""How soon and in how few calls jobs become VMs, in virtual time. Options: --json, --quick, --strict.

The services take the time that others measured of them and grant what EC2 publishes; DynamoDB's partitions take a
thousand write units a second. The function's own CPU is measured here and charged at the share of a core that the
template's memory size gives it. Beside it, one RunInstances for each job under the same budgets.
"""

import io
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.identifiers import JobId
from infra.user_data import TEMPLATE
from tests.bench.calibration import Calibration, calibrate
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Subnet
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.deployment import translated_template
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.telemetry import RecordedTelemetry
from tests.simulator.universe.costs import FULL_CORE_MIB, Costs
from tests.simulator.universe.kernel import Kernel
from tests.simulator.universe.universe import Nature, Universe
from tests.unit.values import a_run, a_vm

CREATE_FLEET = (1.5, 3.0)
LATENCY = {
    "fleet.describe": (0.2, 0.5),
    "fleet.describe_only": (0.15, 0.4),
    "stacks.list_scheduled": (0.06, 0.16),
    "stacks.reserve": (0.08, 0.2),
    "stacks.issue_tokens": (0.08, 0.2),
    "ledger.active_runs": (0.03, 0.1),
    "ledger.open_intents": (0.004, 0.015),
    "ledger.attempts": (0.005, 0.02),
    "ledger.launch_memory": (0.004, 0.015),
    "ledger.write_intent": (0.01, 0.03),
    "ledger.spend_intent": (0.005, 0.02),
    "ledger.record": (0.01, 0.03),
    "ledger.update": (0.01, 0.03),
    "ledger.bind": (0.01, 0.03),
    "lease.acquire": (0.005, 0.02),
    "lease.knock": (0.005, 0.02),
    "lease.renew": (0.005, 0.02),
    "lease.release": (0.005, 0.02),
}
"""Shortest and longest seconds of one request. DynamoDB's are what it takes from within its region (the active runs are
eight queries); those of Buildkite's API and of EC2's reads are guesses. CreateFleet's, above, others have measured."""

PER_REQUEST = {
    "ledger.record": 100,
    "ledger.update": 100,
    "ledger.bind": 50,
    "stacks.reserve": 1_000,
    "stacks.issue_tokens": 1_000,
}
RUN_INSTANCES_SECONDS = 1.5
PUSH = (0.2, 0.6)
"""From a job's scheduling to the dispatcher's code: EventBridge, the queue, and Lambda's own time."""

AS_SHIPPED = "import sys; sys.modules.update(click=None, rich=None)"
"""httpx imports its command line where these are installed; the artefact has neither, and a checkout's tools do."""

JOB_TAKES = timedelta(minutes=3)


class TimedTelemetry(RecordedTelemetry):
    """Knows when each line was written, and writes it as in production: that takes CPU, too."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self._kernel = kernel
        self._real = PowertoolsTelemetry(
            logger=Logger(service="dispatcher", level="INFO", location=None, stream=io.StringIO()),
            namespace="AgentStackEc2",
            deployment="stack",
        )
        self.on_bound: Callable[[str, str], None] = lambda _job_id, _instance_id: None
        self.asked: list[tuple[float, int]] = []
        self.bound: list[float] = []

    def info(self, message: str, **fields: Any) -> None:  # noqa: ANN401  (whatever is logged)
        """See the port."""
        self._real.info(message, **fields)
        at = (self._kernel.now() - EPOCH).total_seconds()
        if message == "vms_asked_for":
            self.asked.append((at, int(str(fields["count"]))))
        elif message == "job_bound":
            self.bound.append(at)
            self.on_bound(str(fields["job_id"]), str(fields["instance_id"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """So many jobs at once."""

    jobs: int
    fleet_calls: int
    ec2_reads: int
    stacks_calls: int
    dynamodb_writes: int
    seconds_until_asked: float
    seconds_until_bound: float
    finished: int
    cpu_seconds: float
    one_by_one_calls: int
    one_by_one_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Jobs one after the other, and the seconds from each to the request of its VM."""

    name: str
    jobs: int
    p50: float
    p99: float
    worst: float
    fleet_calls: int


def memory_mib() -> int:
    """What template.yaml gives the dispatcher."""
    return function_memory_mib("DispatcherFunction")


def function_memory_mib(function: str) -> int:
    """What template.yaml gives a function."""
    resource = translated_template(region="eu-central-1", path=TEMPLATE)["Resources"][function]
    return int(resource["Properties"]["MemorySize"])


def cold_cpu_seconds() -> float:
    """CPU that a process needs before its first tick: interpreter, imports, the clients of an idle poll."""
    return _cpu_of(
        "import dispatcher.handler, boto3\n"
        "keys = {'aws_access_key_id': 'a', 'aws_secret_access_key': 'b'}\n"
        "boto3.Session(region_name='eu-central-1').client('dynamodb', **keys)"
    )


class Field:
    """Makes worlds that differ only in their jobs."""

    def __init__(self, calibration: Calibration, cold: float) -> None:
        self.memory = memory_mib()
        slower = FULL_CORE_MIB / self.memory
        parsing = calibration.launched * 500 * slower
        self._nature = {
            "costs": Costs(
                latency=LATENCY,
                per_request=PER_REQUEST,
                cpu={
                    "ledger.record": calibration.write,
                    "ledger.update": calibration.update,
                    "ledger.bind": calibration.bind,
                },
                cpu_of_result={"ledger.active_runs": calibration.read, "fleet.describe": calibration.described},
                memory_mib=self.memory,
            ),
            "only": ("dispatcher",),
            "watched": False,
            "launch_latency": (CREATE_FLEET[0], CREATE_FLEET[1] + parsing),
            "invoke_seconds": (0.05, 1.0),
            "cold_seconds": cold * slower,
            "writes_per_second": WRITES_PER_SECOND,
        }

    def world(self, *, push: bool = False) -> Universe:
        """One, in which VMs stay pending for ever: what comes after their request is not looked at."""
        ec2 = Ec2Settings(
            subnets={"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
            pending=(timedelta(days=1), timedelta(days=1)),
        )
        settings = {
            "MAX_INSTANCES": "6000",
            "MAX_LAUNCHES_PER_MINUTE": "2000",
            "RESERVATION_SECONDS": "3600",
            "UNASSIGNED_TIMEOUT_SECONDS": "7200",
            "SWEEP_GRACE_SECONDS": "7200",
            "WOKEN_BY_JOBS": "true" if push else "false",
        }
        universe = Universe(seed=1, nature=Nature(ec2=ec2, **self._nature), settings=settings)  # type: ignore[arg-type]  # as above
        universe.telemetry = TimedTelemetry(universe.kernel)
        if push:
            universe.send_jobs(PUSH)
        return universe

    def burst(self, jobs: int, *, at_most_seconds: float) -> Burst:
        """Let that many jobs come at one moment of a quiet queue."""
        universe = self.world()
        telemetry = universe.telemetry
        assert isinstance(telemetry, TimedTelemetry)
        universe.run(31.3)
        universe.requests.clear()
        before = universe.meter.total
        began = (universe.kernel.now() - EPOCH).total_seconds()
        logged = len(universe.buildkite.access_log())
        universe.buildkite.create_build(steps=[Step()] * jobs)
        while len(telemetry.bound) < jobs and (universe.kernel.now() - EPOCH).total_seconds() - began < at_most_seconds:
            universe.run(1)
        calls = [call.action for call in universe.ec2.calls()]
        stacks = sum(
            call.operation is not Operation.LIST_SCHEDULED_JOBS for call in universe.buildkite.access_log()[logged:]
        )
        one_calls, one_seconds = one_by_one(jobs)
        return Burst(
            jobs=jobs,
            fleet_calls=calls.count("CreateFleet"),
            ec2_reads=sum(action.startswith("Describe") for action in calls),
            stacks_calls=stacks,
            dynamodb_writes=universe.rates.written,
            seconds_until_asked=round(telemetry.asked[-1][0] - began, 1),
            seconds_until_bound=round(telemetry.bound[-1] - began, 1),
            finished=sum(job.stack_finish is not None for job in universe.buildkite.jobs()),
            cpu_seconds=round(universe.meter.total - before, 2),
            one_by_one_calls=one_calls,
            one_by_one_seconds=one_seconds,
        )

    def stream(self, name: str, *, per_second: float, seconds: float, push: bool = False) -> Stream:
        """Let jobs come evenly, and look at how long each waits for its request."""
        universe = self.world(push=push)
        telemetry = universe.telemetry
        assert isinstance(telemetry, TimedTelemetry)
        universe.run(20.7)
        came: list[float] = []

        def come() -> None:
            came.append((universe.kernel.now() - EPOCH).total_seconds())
            universe.buildkite.create_build(steps=[Step()])

        def end(job_id: str, instance_id: str) -> None:
            universe.store.runs.pop(JobId(job_id), None)
            universe.ec2.powered_off(instance_id)

        telemetry.on_bound = lambda job_id, instance_id: universe.kernel.after(
            JOB_TAKES, "", lambda: end(job_id, instance_id)
        )
        jobs = round(per_second * seconds)
        for number in range(jobs):
            universe.kernel.after(timedelta(seconds=number / per_second), "", come)
        universe.run(seconds + 30)
        waited = sorted(_waits(came, telemetry.asked))
        return Stream(
            name=name,
            jobs=jobs,
            p50=round(waited[len(waited) // 2], 2),
            p99=round(waited[int(len(waited) * 0.99)], 2),
            worst=round(waited[-1], 2),
            fleet_calls=sum(call.action == "CreateFleet" for call in universe.ec2.calls()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """One tick with much to look at and nothing to do."""

    scheduled: int
    active: int
    cpu_seconds: float
    peak_mib: float


def heavy_tick(field: "Field", calibration: Calibration, *, scheduled: int, active: int) -> Heavy:
    """A tick of a full deployment: pages of jobs that find no place, and as many runs as there may be.

    CPU is the stages' own and the real adapters' by calibration; memory is Python's own peak, beside what was there.
    """
    universe = field.world()
    universe.run(31.3)
    for number in range(active):
        run = a_run(number).bound(a_vm(number), now=universe.kernel.now())
        universe.store.runs[run.job_id] = run
    universe.buildkite.create_build(steps=[Step()] * scheduled)
    wired = universe.wired("dispatcher")
    fence = universe.store.leases["dispatcher"].fence
    wired.work(universe.kernel.now(), fence)  # what is learnt once is not a tick's
    before = universe.meter.total
    tracemalloc.start()
    with universe.meter.included():
        wired.work(universe.kernel.now(), fence)
    universe.meter.lap()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with universe.meter.included():  # once more, for tracing memory takes CPU
        before = universe.meter.total
        wired.work(universe.kernel.now(), fence)
    universe.meter.lap()
    spent = universe.meter.total - before + active * calibration.read
    return Heavy(scheduled=scheduled, active=active, cpu_seconds=round(spent, 2), peak_mib=round(peak / 2**20, 1))


def import_ratio() -> float:
    """CPU of a dispatcher that polls an idle queue for the first time over that of bare boto3 with a DynamoDB client.

    EC2's client is made at its first use, which an idle poll is not.
    """
    keys = "aws_access_key_id='a', aws_secret_access_key='b'"
    client = f"import boto3; boto3.Session(region_name='eu-central-1').client('dynamodb', {keys})"
    bare, ours = _cpu_of(client), _cpu_of(f"import dispatcher.handler; {client}")
    return round(ours / bare, 2)


def _cpu_of(code: str) -> float:
    """CPU seconds of a Python process that runs that code; the median of five."""
    functions = Path(__file__).resolve().parents[2] / "functions"
    said = [
        subprocess.run(
            [sys.executable, "-c", f"{AS_SHIPPED}\n{code}\nimport time; print(time.process_time())"],
            cwd=functions,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(5)
    ]
    return sorted(float(line) for line in said)[2]


def _waits(came: Sequence[float], asked: Sequence[tuple[float, int]]) -> list[float]:
    """Who comes first is asked for first."""
    requested = [at for at, count in asked for _ in range(count)]
    assert len(requested) == len(came), f"{len(requested)} VMs for {len(came)} jobs"
    return [at - came for at, came in zip(requested, came, strict=True)]


def one_by_one(jobs: int) -> tuple[int, float]:
    """Calls and seconds until as many RunInstances as jobs have been granted, tried again each half second."""
    clock = VirtualClock()
    ec2 = Ec2(
        now=clock.now,
        settings=Ec2Settings(subnets={"subnet-a": Subnet(zone="a")}, pending=(timedelta(days=1), timedelta(days=1))),
        launch_templates=lambda _id, _version: LaunchTemplateData(),
    )
    request = {"ImageId": "ami-1", "InstanceType": "m7i.large", "SubnetId": "subnet-a", "MinCount": 1, "MaxCount": 1}
    began, calls = clock.now(), 0
    for _ in range(jobs):
        while True:
            calls += 1
            try:
                ec2.request("RunInstances", request)
            except Ec2Error:
                clock.sleep(timedelta(seconds=0.5))
            else:
                break
    return calls, round((clock.now() - began).total_seconds() + RUN_INSTANCES_SECONDS, 1)


def main() -> int:
    """Measure; the exit status, which is 1 with --strict when a bar is missed (CPU is this machine's, and wobbles)."""
    began = time.monotonic()
    calibration, cold = calibrate(), cold_cpu_seconds()
    field = Field(calibration, cold)
    quick = "--quick" in sys.argv[1:]
    sizes = {1: 60, 100: 60, 1_000: 120} if quick else {1: 60, 100: 60, 1_000: 120, 5_000: 3_000}
    bursts = [field.burst(jobs, at_most_seconds=seconds) for jobs, seconds in sizes.items()]
    streams = [field.stream("10 jobs/s for 60 s", per_second=10, seconds=60)]
    pushed = field.stream("a job each 20 s, with push", per_second=0.05, seconds=1_200, push=True)
    if not quick:
        streams.append(field.stream("1.5 jobs/s for 30 min", per_second=1.5, seconds=1_800))
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
            "import_ratio": ratio,
            "heavy_tick": asdict(heavy),
            "bars": bars,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print(field, calibration, cold, bursts, [*streams, pushed], bars, limit)
        sys.stdout.write(f"cold import: {ratio} times bare boto3 with a DynamoDB client\n")
        sys.stdout.write(
            f"a tick with {heavy.scheduled} scheduled and {heavy.active} active jobs: "
            f"{heavy.cpu_seconds} CPU s, {heavy.peak_mib} MiB at its peak\n"
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


if __name__ == "__main__":
    sys.exit(main())
