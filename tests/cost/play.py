"""A deployment played on a virtual clock, and what of it is billed: an idle hour, and jobs that come one by one.

The same seed gives the same count on every machine: what this machine's CPU takes is left out of the virtual time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent_stack.domain.identifiers import InstanceArn, JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BootStage
from agent_stack.domain.vms import Letter
from tests.bench.field import LATENCY
from tests.cost.units import Units, Weights
from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud import Subnet
from tests.simulator.memory import Store
from tests.simulator.universe.costs import FULL_CORE_MIB, Costs
from tests.simulator.universe.universe import Nature, Universe

WARM_SECONDS = 150.0
IDLE_MINUTES = 60
JOBS = 20
FUNCTIONS = ("dispatcher", "tracker")
JOB_EVERY = timedelta(seconds=30)

BY_ITEM = ("ledger.record", "ledger.update", "ledger.end", "ledger.bind", "ledger.earlier", "mailbox.read")
"""Calls that are billed by what they are about, and not by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was billed in some time, VMs left out.

    Attributes:
        invocations, function_seconds: by function. Seconds are what was waited for; CPU comes on top.
        log_lines: written by the functions themselves.
        metrics: how many different ones were written.
        buildkite_requests: not billed, but bounded.
    """

    minutes: float
    invocations: Mapping[str, int]
    function_seconds: Mapping[str, float]
    units: Units
    log_lines: int
    metrics: int
    buildkite_requests: int


class _NoCpu(Costs):
    """Time that does not depend on this machine."""

    def seconds(self, cpu: float) -> float:
        return 0.0


class _NotedStore(Store):
    """Notes what VMs ask of their mailboxes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def find_letter(self, arn: InstanceArn) -> Letter | None:
        self.asked["vm.find_letter"] += 1
        return super().find_letter(arn)

    def take_credential(self, arn: InstanceArn) -> str | None:
        self.asked["vm.take_credential"] += 1
        return super().take_credential(arn)

    def report(self, arn: InstanceArn, stage: BootStage, detail: str = "", seconds: float | None = None) -> None:
        self.asked["vm.report"] += 1
        super().report(arn, stage, detail, seconds)


class _Played(Universe):
    """Notes how much each read finds."""

    def __init__(self, *, settings: Mapping[str, str], weights: Weights) -> None:
        ec2 = Ec2Settings(
            subnets={"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
            pending=(timedelta(seconds=8), timedelta(seconds=15)),
            shutting_down=timedelta(seconds=1),  # not billed
        )
        costs = _NoCpu(
            latency=LATENCY,
            per_request=dict.fromkeys(BY_ITEM, 1),
            cpu={},
            cpu_of_result={},
            memory_mib=FULL_CORE_MIB,
        )
        nature = Nature(ec2=ec2, watched=False, costs=costs, launch_latency=(1.5, 3.0), invoke_seconds=(0.05, 1.0))
        self.read: Units = Units()
        self._weights = weights
        super().__init__(seed=1, nature=nature, settings=settings)
        self.store: _NotedStore = _NotedStore()

    def _reading(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> float:
        self.read += self._weights.of_answer(point.partition(" ")[2], len(answer))
        return super()._reading(parsed, point, answer)

    def usage(self, minutes: float) -> Usage:
        """Everything since the last `forget`.

        Raises:
            KeyError: a question to the tables that nobody weighed.
        """
        tables = {call: n for call, n in self.requests.items() if call.startswith(("ledger.", "mailbox.", "lease."))}
        units = self.read
        for call, times in (*tables.items(), *self.store.asked.items()):
            units += self._weights.of_call[call] * times
        return Usage(
            minutes=minutes,
            invocations={function: len(self.billed[function]) for function in FUNCTIONS},
            function_seconds={function: sum(self.billed[function]) for function in FUNCTIONS},
            units=units,
            log_lines=len(self.telemetry.records),
            metrics=len({(metric, of) for metric, of, value in self.telemetry.measured if value}),
            buildkite_requests=len(self.buildkite.access_log()) - self._logged,
        )

    def forget(self) -> None:
        """Begin to count."""
        self.requests.clear()
        self.store.asked.clear()
        self.telemetry.records.clear()
        self.telemetry.measured.clear()
        self.read = Units()
        self._logged = len(self.buildkite.access_log())
        self.billed.clear()


def idle(settings: Mapping[str, str], weights: Weights) -> Usage:
    """An hour without a job."""
    universe = _Played(settings=settings, weights=weights)
    universe.run(WARM_SECONDS)
    universe.forget()
    universe.run(IDLE_MINUTES * 60)
    return universe.usage(IDLE_MINUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """Jobs that were run.

    Attributes:
        vm_seconds: of each VM, from running to the end, which is what EC2 bills.
    """

    usage: Usage
    jobs: int
    vm_seconds: tuple[float, ...]
    fleet_calls: int


def work(settings: Mapping[str, str], weights: Weights, *, job_minutes: float) -> Worked:
    """Jobs of that length, one each half minute, until the last VM is gone."""
    universe = _Played(settings=settings, weights=weights)
    if settings.get("WOKEN_BY_JOBS") == "true":
        universe.send_jobs((0.2, 0.6))
    universe.send_hints()
    universe.run(WARM_SECONDS)
    universe.forget()
    step = Step(env={"SIM_SECONDS": str(round(job_minutes * 60))})
    for number in range(JOBS):
        universe.kernel.after(JOB_EVERY * number, "", lambda: _come(universe, step))
    minutes = 0
    while (
        minutes < 5 or any(job.state is not JobState.FINISHED for job in universe.buildkite.jobs()) or _any_vm(universe)
    ):
        universe.run(60)
        minutes += 1
        assert minutes < 24 * 60, "the jobs never end"
    vms = universe.ec2.instances()
    assert len(universe.buildkite.jobs()) == JOBS
    return Worked(
        usage=universe.usage(minutes),
        jobs=JOBS,
        vm_seconds=tuple(
            (vm.terminated_at - vm.running_at).total_seconds() for vm in vms if vm.terminated_at is not None
        ),
        fleet_calls=sum(call.action == "CreateFleet" for call in universe.ec2.calls()),
    )


def _come(universe: Universe, step: Step) -> None:
    universe.buildkite.create_build(steps=[step])


def _any_vm(universe: Universe) -> bool:
    return any(vm.state != "terminated" for vm in universe.ec2.instances())
