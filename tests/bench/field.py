"""A field of worlds for the benchmark: jobs come, and it is counted what they cost until each has its VM, and how long.

The services take the time that others measured of them and grant what EC2 publishes; DynamoDB's partitions take a
thousand write units a second. The function's own CPU is measured and charged at its share of a core.
"""

import gc
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger

from agent_stack.adapters.dynamodb.items import SHARDS
from agent_stack.adapters.dynamodb.table import KEYS_OF_A_BATCH
from agent_stack.adapters.dynamodb.transactions import AT_ONCE
from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.identifiers import JobId
from infra.user_data import TEMPLATE
from tests.bench import first_uses
from tests.bench.calibration import Calibration, calibrate
from tests.bench.processes import cold_cpu_seconds
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Subnet
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.deployment import translated_template
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.simulation.costs import ACTIVE_RUNS, KNOWN, NEWS, REFRESHED_RUNS, TRANSACTIONS, Costs
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.nature import Nature
from tests.simulator.simulation.simulation import Simulation
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import an_environment

RUNS_OF_A_PAGE = 1_000
"""A page of a query holds a megabyte, a run takes less than a kilobyte. Source: DynamoDB's limits."""

CREATE_FLEET = (1.5, 3.0)
LATENCY = {
    "fleet.describe": (0.2, 0.5),
    "fleet.describe_by_id": (0.15, 0.4),
    "stacks.list_scheduled": (0.06, 0.16),
    "stacks.reserve": (0.08, 0.2),
    "stacks.issue_tokens": (0.08, 0.2),
    "ledger.active_runs": (0.03, 0.1),
    REFRESHED_RUNS: (0.03, 0.1),
    "ledger.open_intents": (0.004, 0.015),
    "ledger.earlier": (0.005, 0.02),
    "ledger.launch_memory": (0.004, 0.015),
    "ledger.launched": (0.004, 0.015),
    "ledger.record_look": (0.004, 0.015),
    "ledger.write_intent": (0.01, 0.03),
    "ledger.spend_intent": (0.005, 0.02),
    "ledger.record": (0.01, 0.03),
    "ledger.update": (0.01, 0.03),
    "ledger.bind": (0.01, 0.03),
    "lease.acquire": (0.005, 0.02),
    "lease.signal": (0.005, 0.02),
    "lease.renew": (0.005, 0.02),
    "lease.release": (0.005, 0.02),
}
"""Shortest and longest seconds of one request. DynamoDB's are what it takes from within its region (the active runs are
eight queries); those of Buildkite's API and of EC2's reads are guesses.
CreateFleet's, above, others have measured."""

CHANGED_RUNS = {NEWS: (0.008, 0.03)}
"""The same of a hundred runs that others have changed: one request."""

PER_REQUEST = {
    "ledger.record": 100,
    "ledger.update": 100,
    "ledger.bind": 50,
    "stacks.reserve": 1_000,
    "stacks.issue_tokens": 1_000,
}
REQUESTS_OF = {ACTIVE_RUNS: SHARDS, REFRESHED_RUNS: SHARDS, "ledger.bound_instances": SHARDS}
"""One for each shard; the latency above is that of all of them."""

PAGE_OF_ANSWER = {
    "fleet.describe": 1_000,
    "fleet.describe_only": 1_000,
    ACTIVE_RUNS: RUNS_OF_A_PAGE * SHARDS,
    KNOWN: RUNS_OF_A_PAGE * SHARDS,
    NEWS: KEYS_OF_A_BATCH,
    "ledger.bound_instances": RUNS_OF_A_PAGE * SHARDS,
}
"""Items of one page. Each further page is waited for once more."""

INVOKE_SECONDS = (0.05, 0.3)
"""From the moment a schedule fires to the function's code in a process that is warm; a guess."""

RUN_INSTANCES_SECONDS = 1.5
PUSH = (0.2, 0.6)
"""From a job's scheduling to the dispatcher's code: EventBridge, the queue, and Lambda's own time."""

WARM_SECONDS = 150.0
"""Two invocations, so that what is met afterwards are processes that have polled before."""

JOB_TAKES = timedelta(minutes=3)


def memory_mib(options: Sequence[str], parameter: str = "DispatcherMemory") -> int:
    """What the options say, or what template.yaml gives the function by default."""
    for option in options:
        if option.startswith("--memory="):
            return int(option.partition("=")[2])
    return int(translated_template(region="eu-central-1", path=TEMPLATE)["Parameters"][parameter]["Default"])


def machines(options: Sequence[str], parameter: str = "DispatcherMemory") -> Sequence["Machine"]:
    """This machine at each factor that the options name, as in `--cpu=1,2` and `--transactions=1,3`; these by default.

    The first one has the smallest of both. With --quick there is beside it only the one with the greatest of both, and
    each thing is measured once.
    """
    once = "--quick" in options
    cpu, transactions = _numbers(options, "cpu", (1.0, 2.0)), _numbers(options, "transactions", (1.0, 3.0))
    first = Machine(
        calibration=calibrate(1) if once else calibrate(),
        cold=cold_cpu_seconds(1) if once else cold_cpu_seconds(),
        first_use=first_uses.measured(an_environment(), processes=1 if once else 3),
        memory_mib=memory_mib(options, parameter),
    )
    pairs = [(c, t) for c in sorted(cpu) for t in sorted(transactions)]
    shown = dict.fromkeys([pairs[0], pairs[-1]] if once else pairs)
    return [replace(first, cpu_factor=c, transaction_factor=t) for c, t in shown]


def _numbers(options: Sequence[str], name: str, otherwise: Sequence[float]) -> Sequence[float]:
    for option in options:
        if option.startswith(f"--{name}="):
            return [float(number) for number in option.partition("=")[2].split(",")]
    return otherwise


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
        if message == "vms_requested":
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the function's own CPU is measured to take, and what may be otherwise on AWS.

    Attributes:
        cold: CPU seconds of a new process before its first cycle.
        first_use: CPU seconds of the first call of each service in it.
        cpu_factor, transaction_factor: see `Costs`. AWS publishes neither.
    """

    calibration: Calibration
    cold: float
    first_use: Mapping[str, float]
    memory_mib: int
    cpu_factor: float = 1.0
    transaction_factor: float = 1.0

    def costs(self, **tables: Any) -> Costs:  # noqa: ANN401  (those of `Costs`)
        """For a world on this machine."""
        return Costs(
            memory_mib=self.memory_mib,
            requests_of=REQUESTS_OF,
            page_of_answer=PAGE_OF_ANSWER,
            cpu_of_request=self.calibration.request,
            first_use=self.first_use,
            cpu_factor=self.cpu_factor,
            transaction_factor=self.transaction_factor,
            at_once=dict.fromkeys(TRANSACTIONS, AT_ONCE),
            **tables,
        )

    def seconds(self, cpu: float) -> float:
        """How long so much CPU takes."""
        return self.costs(latency={}, per_request={}, cpu={}, cpu_of_result={}).seconds(cpu)

    @property
    def name(self) -> str:
        """By its factors."""
        return f"{self.cpu_factor:g} times the CPU, {self.transaction_factor:g} times the latency of transactions"


class Field:
    """Makes worlds that differ only in their jobs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.memory = machine.memory_mib
        calibration = machine.calibration
        parsing = machine.seconds(calibration.launched * 500)
        self._nature = {
            "costs": machine.costs(
                latency={**LATENCY, **CHANGED_RUNS},
                per_request=PER_REQUEST,
                cpu={
                    "ledger.record": calibration.write,
                    "ledger.update": calibration.update,
                    "ledger.bind": calibration.bind,
                },
                cpu_of_result={
                    ACTIVE_RUNS: calibration.read,
                    NEWS: calibration.read,
                    KNOWN: calibration.seen,
                    "fleet.describe": calibration.described,
                    "fleet.describe_only": calibration.described,
                },
            ),
            "watched": False,
            "launch_latency": (CREATE_FLEET[0], CREATE_FLEET[1] + parsing),
            "invoke_seconds": INVOKE_SECONDS,
            "cold_seconds": machine.seconds(machine.cold),
            "writes_per_second": WRITES_PER_SECOND,
        }

    def world(
        self, *, push: bool = False, only: tuple[str, ...] = ("dispatcher",), throttled: bool = True, **settings: str
    ) -> Simulation:
        """One, in which VMs stay pending for ever: what comes after their request is not looked at.

        Args:
            throttled: EC2 grants only what it publishes.
        """
        ec2 = Ec2Settings(
            subnets={"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
            pending=(timedelta(days=1), timedelta(days=1)),
            throttled=throttled,
        )
        settings = {
            "IDLE_POLL_SECONDS": "0.5",
            "MAX_INSTANCES": "6000",
            "MAX_LAUNCHES_PER_MINUTE": "2000",
            "RESERVATION_SECONDS": "3600",
            "UNASSIGNED_TIMEOUT_SECONDS": "7200",
            "SWEEP_GRACE_SECONDS": "7200",
            "WOKEN_BY_JOBS": "true" if push else "false",
            **settings,
        }
        simulation = Simulation(seed=1, nature=Nature(ec2=ec2, only=only, **self._nature), settings=settings)  # type: ignore[arg-type]  # as above
        simulation.telemetry = TimedTelemetry(simulation.kernel)
        if push:
            simulation.send_jobs(PUSH)
        return simulation

    def burst(self, jobs: int, *, at_most_seconds: float, after: float) -> Burst:
        """Let that many jobs come at one moment of a quiet queue, so many seconds after a look at it."""
        simulation = self.world()
        telemetry = simulation.telemetry
        assert isinstance(telemetry, TimedTelemetry)
        await_a_look(simulation, after)
        simulation.requests.clear()
        before = simulation.meter.total
        began = (simulation.kernel.now() - EPOCH).total_seconds()
        logged = len(simulation.buildkite.access_log())
        simulation.buildkite.create_build(steps=[Step()] * jobs)
        gc.freeze()  # a collection would walk the simulation's memory in the product's time
        while (
            len(telemetry.bound) < jobs and (simulation.kernel.now() - EPOCH).total_seconds() - began < at_most_seconds
        ):
            simulation.run(1)
        calls = [call.action for call in simulation.ec2.calls()]
        stacks = sum(
            call.operation != Operation.LIST_SCHEDULED_JOBS for call in simulation.buildkite.access_log()[logged:]
        )
        one_calls, one_seconds = one_by_one(jobs)
        return Burst(
            jobs=jobs,
            fleet_calls=calls.count("CreateFleet"),
            ec2_reads=sum(action.startswith("Describe") for action in calls),
            stacks_calls=stacks,
            dynamodb_writes=simulation.rates.written,
            seconds_until_asked=round(telemetry.asked[-1][0] - began, 1),
            seconds_until_bound=round(telemetry.bound[-1] - began, 1),
            finished=sum(job.stack_finish is not None for job in simulation.buildkite.jobs()),
            cpu_seconds=round(simulation.meter.total - before, 2),
            one_by_one_calls=one_calls,
            one_by_one_seconds=one_seconds,
        )

    def stream(self, name: str, *, per_second: float, seconds: float, push: bool = False) -> Stream:
        """Let jobs come evenly, and look at how long each waits for its request."""
        simulation = self.world(push=push)
        telemetry = simulation.telemetry
        assert isinstance(telemetry, TimedTelemetry)
        simulation.run(WARM_SECONDS + 0.7)
        came: list[float] = []

        def come() -> None:
            came.append((simulation.kernel.now() - EPOCH).total_seconds())
            simulation.buildkite.create_build(steps=[Step()])

        def end(job_id: str, instance_id: str) -> None:
            simulation.store.runs.pop(JobId(job_id), None)
            simulation.ec2.powered_off(instance_id)

        telemetry.on_bound = lambda job_id, instance_id: simulation.kernel.after(
            JOB_TAKES, "", lambda: end(job_id, instance_id)
        )
        jobs = round(per_second * seconds)
        for number in range(jobs):
            simulation.kernel.after(timedelta(seconds=number / per_second), "", come)
        simulation.run(seconds + 30)
        waited = sorted(_waits(came, telemetry.asked))
        return Stream(
            name=name,
            jobs=jobs,
            p50=round(waited[len(waited) // 2], 2),
            p99=round(waited[int(len(waited) * 0.99)], 2),
            worst=round(waited[-1], 2),
            fleet_calls=sum(call.action == "CreateFleet" for call in simulation.ec2.calls()),
        )


def await_a_look(simulation: Simulation, after: float) -> None:
    """Let a world come to the moment so many seconds after a look at its queue, with processes that are warm."""
    simulation.run(WARM_SECONDS)
    seen = len(simulation.buildkite.access_log())
    while not any(r.operation == Operation.LIST_SCHEDULED_JOBS for r in simulation.buildkite.access_log()[seen:]):
        simulation.run(0.1)
    simulation.run(after)


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
