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
from agent_stack.domain.vms import Assignment
from tests.bench.field import LATENCY
from tests.cost.units import Units, Weights
from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud import Subnet
from tests.simulator.memory import Store
from tests.simulator.simulation.costs import FULL_CORE_MIB, Costs
from tests.simulator.simulation.nature import Nature
from tests.simulator.simulation.simulation import Simulation

WARM_SECONDS = 150.0
JOBS = 20
JOB_EVERY = timedelta(seconds=30)
JOB_MINUTES = 5
BY_ITEM = ("ledger.record", "ledger.update", "ledger.end", "ledger.bind", "ledger.earlier", "mailbox.read")
"""Calls that are billed by what they are about, and not by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was billed in some minutes, VMs left out.

    Attributes:
        function_seconds: what was waited for; CPU comes on top.
        log_lines: written by the functions themselves.
        metrics: how many different ones were written.
    """

    minutes: float
    invocations: Mapping[str, int]
    function_seconds: Mapping[str, float]
    units: Units
    log_lines: int
    metrics: int


class _NoCpu(Costs):
    """Time that does not depend on this machine."""

    def seconds(self, cpu: float) -> float:
        return 0.0


class _CountedStore(Store):
    """Counts what VMs ask of their mailboxes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def find_letter(self, arn: InstanceArn) -> Assignment | None:
        self.asked["vm.find_letter"] += 1
        return super().find_letter(arn)

    def take_credential(self, arn: InstanceArn) -> str | None:
        self.asked["vm.take_credential"] += 1
        return super().take_credential(arn)

    def report(self, arn: InstanceArn, stage: BootStage, detail: str = "", seconds: float | None = None) -> None:
        self.asked["vm.report"] += 1
        super().report(arn, stage, detail, seconds)


class _Played(Simulation):
    """Counts from its first warm moment."""

    def __init__(self, settings: Mapping[str, str], weights: Weights) -> None:
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
        self._read, self._weights = Units(), weights
        super().__init__(seed=1, nature=nature, settings=settings)
        self.store: _CountedStore = _CountedStore()
        if settings["WOKEN_BY_JOBS"] == "true":
            self.send_jobs((0.2, 0.6))
        self.send_hints()
        self.run(WARM_SECONDS)
        for counter in (self.requests, self.store.asked, self.telemetry.records, self.telemetry.measured, self.billed):
            counter.clear()
        self._read = Units()

    def _reading(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> float:
        self._read += self._weights.of_answer(point.partition(" ")[2], len(answer))
        return super()._reading(parsed, point, answer)

    def usage(self, minutes: float) -> Usage:
        """Everything since it was warm.

        Raises:
            KeyError: a question to the tables that `weigh` does not know.
        """
        tables = {call: n for call, n in self.requests.items() if call.startswith(("ledger.", "mailbox.", "lease."))}
        asked = (*tables.items(), *self.store.asked.items())
        return Usage(
            minutes=minutes,
            invocations={function: len(self.billed[function]) for function in ("dispatcher", "tracker")},
            function_seconds={function: sum(self.billed[function]) for function in ("dispatcher", "tracker")},
            units=sum((self._weights.of_call[call] * times for call, times in asked), self._read),
            log_lines=len(self.telemetry.records),
            metrics=len({(metric, of) for metric, of, value in self.telemetry.measured if value}),
        )


def idle(settings: Mapping[str, str], weights: Weights) -> Usage:
    """An hour without a job."""
    simulation = _Played(settings, weights)
    simulation.run(60 * 60)
    return simulation.usage(60)


def work(settings: Mapping[str, str], weights: Weights) -> Usage:
    """`JOBS` jobs of `JOB_MINUTES`, one each `JOB_EVERY`, until the last VM is gone."""
    simulation = _Played(settings, weights)
    step = Step(env={"SIM_SECONDS": str(JOB_MINUTES * 60)})
    for number in range(JOBS):
        simulation.kernel.after(JOB_EVERY * number, "", lambda: _come(simulation, step))
    minutes = 0
    while minutes < JOB_MINUTES or not _is_over(simulation):
        simulation.run(60)
        minutes += 1
        assert minutes < 24 * 60, "the jobs never end"
    return simulation.usage(minutes)


def _come(simulation: Simulation, step: Step) -> None:
    simulation.buildkite.create_build(steps=[step])


def _is_over(simulation: Simulation) -> bool:
    jobs, vms = simulation.buildkite.jobs(), simulation.ec2.instances()
    return len(jobs) == JOBS and all(
        [*(job.state is JobState.FINISHED for job in jobs), *(vm.state == "terminated" for vm in vms)]
    )
