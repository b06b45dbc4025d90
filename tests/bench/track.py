"""What following thousands of VMs takes: calls, CPU and memory of a cycle, and how soon a cancelled job's VM is ended.

Options: --json, --quick, --strict, --memory, --cpu, --transactions. On the same costs as the dispatcher's benchmark;
the function's own CPU is measured here and charged at the share of a core that the template's memory size gives the
tracker.
"""

import json
import random
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import pairwise

from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG, INTENT_TAG
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.states import VmState
from tests.bench.calibration import parsing_mib
from tests.bench.field import (
    CHANGED_RUNS,
    INVOKE_SECONDS,
    LATENCY,
    PER_REQUEST,
    REQUESTS_OF,
    WARM_SECONDS,
    Machine,
    TimedTelemetry,
    machines,
)
from tests.simulator.buildkite import AGENT_TOKEN, JobState, Step
from tests.simulator.clock import EPOCH
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud import Subnet
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.memory.store import Box
from tests.simulator.simulation.costs import ACTIVE_RUNS, FULL_CORE_MIB, KNOWN, NEWS
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import Nature
from tests.simulator.simulation.simulation import Simulation
from tests.unit.values import a_letter, a_vm

BOOTING_SHARE = 0.2
"""Of the VMs that live: jobs of ten minutes whose VMs boot for two."""

PAGE = 1_000
TRACKING = {
    **LATENCY,
    **CHANGED_RUNS,
    "fleet.terminate": (0.2, 0.6),
    "stacks.job_states": (0.06, 0.2),
    "stacks.notify": (0.06, 0.2),
    "mailbox.read": (0.005, 0.02),
    "mailbox.revoke_credential": (0.005, 0.02),
    "ledger.bound_instances": (0.02, 0.06),
    "ledger.close_mailboxes": (0.01, 0.03),
    "ledger.end": (0.01, 0.03),
}
"""Seconds, as the dispatcher's; EC2's and Buildkite's are guesses here, too."""

ONCE_A_PROCESS = "list_scheduled_jobs"
"""How the client learns which dialect is spoken, before its first notice."""

CANCELLED, WITHIN_SECONDS = 100, 5.0

GROWTH = 1.5
"""CPU of a VM over that in the smaller fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One cycle over so many live VMs.

    Attributes:
        first: everything is news: each boot's notice is told and remembered.
        dynamodb: requests.
        cpu_seconds: of a whole core.
        seconds: with everything that is waited for, at the template's memory.
        peak_mib: Python's own, of the stages.
    """

    live: int
    booting: int
    first: bool
    ec2: dict[str, int]
    stacks: dict[str, int]
    dynamodb: dict[str, int]
    cpu_seconds: float
    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellations:
    """From a job's cancellation while its VM boots to the request that ends the VM."""

    live: int
    cancelled: int
    p50: float
    p99: float
    worst: float


class Fleet:
    """A world in which that many VMs live, a share of them booting, and nothing else happens."""

    def __init__(self, live: int, machine: Machine, *, scheduled: bool = False) -> None:
        calibration = machine.calibration
        costs = machine.costs(
            latency=TRACKING,
            per_request={**PER_REQUEST, "mailbox.read": 100, "stacks.job_states": PAGE, "fleet.describe_by_id": 200},
            cpu={
                "ledger.update": calibration.update,
                "ledger.end": calibration.ended,
                "mailbox.read": calibration.mailbox_status,
                "mailbox.revoke_credential": calibration.write,
            },
            cpu_of_result={
                ACTIVE_RUNS: calibration.read,
                NEWS: calibration.read,
                KNOWN: calibration.seen,
                "fleet.describe": calibration.described,
                "fleet.describe_only": calibration.described,
            },
        )
        second = timedelta(seconds=1)
        self.simulation = Simulation(
            seed=1,
            nature=Nature(
                ec2=Ec2Settings(subnets={"subnet-a": Subnet(zone="eu-central-1a")}, pending=(second, second)),
                temper=Temper(hangs=1.0),
                costs=costs,
                only=("tracker",) if scheduled else (),
                watched=False,
                invoke_seconds=INVOKE_SECONDS,
                cold_seconds=machine.seconds(machine.cold),
                writes_per_second=WRITES_PER_SECOND,
            ),
            settings={"RESERVATION_SECONDS": "3600", "MAX_INSTANCES": "6000"},
            classes=SLOW_CLASSES,
        )
        self.simulation.telemetry = TimedTelemetry(self.simulation.kernel)
        self.live, self.booting = live, round(live * BOOTING_SHARE)
        self._people()

    def _people(self) -> None:
        simulation = self.simulation
        tags = {DEPLOYMENT_TAG: simulation.settings.deployment, INTENT_TAG: "as-1", CLASS_TAG: "default"}
        instances = [simulation.ec2.launch_orphan(tags=tags, subnet_id="subnet-a") for _ in range(self.live)]
        job_ids = simulation.buildkite.create_build(steps=[Step()] * self.live).job_ids
        self._reserve(job_ids)
        now = EPOCH
        for number, (job_id, instance) in enumerate(zip(job_ids, instances, strict=True)):
            vm = a_vm(
                instance_id=InstanceId(instance.instance_id),
                arn=InstanceArn(simulation.settings.instance_arn_prefix + instance.instance_id),
                state=VmState.PENDING,
            )
            job = Job(job_id=JobId(job_id), queue_key=QueueKey("default"), scheduled_at=now)
            run = Run.of(job, class_name=ClassName("default"), now=now, failure_reason=None)
            run = run.reserved(now=now, until=now + timedelta(hours=1)).bound(vm, now=now)
            assignment = a_letter(run, vm)
            simulation.store.boxes[vm.arn] = Box(assignment=assignment, credential=assignment.credential)
            if number >= self.booting:
                run = run.running(now=now, observed_moments={})
                simulation.buildkite.disguise(job_id, JobState.RUNNING)
            simulation.store.runs[run.job_id] = run

    def _reserve(self, job_ids: tuple[str, ...]) -> None:
        """As the dispatcher did."""
        simulation = self.simulation

        def ask(method: str, path: str, body: object) -> None:
            answer = simulation.http.request(method, path, headers={"Authorization": f"Token {AGENT_TOKEN}"}, json=body)
            answer.raise_for_status()

        stack = {"key": "stack-default", "type": "custom", "queue_key": "default", "metadata": {}}
        ask("POST", "/stacks/register", stack)
        for start in range(0, len(job_ids), PAGE):
            body = {"job_uuids": job_ids[start : start + PAGE], "reservation_expiry_seconds": 3600}
            ask("PUT", "/stacks/stack-default/scheduled-jobs/batch-reserve", body)
            simulation.run(1)

    def look(self, *, first: bool) -> Look:
        """One cycle, counted and measured; where all is to be news, before anything was told."""
        simulation = self.simulation
        wired = simulation.wired("tracker")
        simulation.run(10)
        for _ in range(0 if first else 2):
            wired.work(simulation.kernel.now(), 1)
        simulation.requests.clear()
        calls, logged = len(simulation.ec2.calls()), len(simulation.buildkite.access_log())
        before, began = simulation.meter.total, simulation.kernel.now()
        with simulation.meter.included():
            wired.work(simulation.kernel.now(), 1)
        simulation.meter.lap()
        spent, took = simulation.meter.total - before, simulation.kernel.now() - began
        ec2 = Counter(call.action for call in simulation.ec2.calls()[calls:])
        stacks = Counter(str(call.operation) for call in simulation.buildkite.access_log()[logged:])
        asked = {
            call: count * REQUESTS_OF.get(call, 1)
            for call, count in simulation.requests.items()
            if call.startswith(("ledger.", "mailbox."))
        }
        tracemalloc.start()
        wired.work(simulation.kernel.now(), 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return Look(
            live=self.live,
            booting=self.booting,
            first=first,
            ec2=dict(ec2),
            stacks=dict(stacks),
            dynamodb=asked,
            cpu_seconds=round(spent, 3),
            seconds=round(took.total_seconds(), 2),
            peak_mib=round(peak / 2**20, 1),
        )

    def cancel(self, count: int) -> Cancellations:
        """Cancel booting jobs one after the other, at any moment of cycles and shifts."""
        simulation = self.simulation
        simulation.run(WARM_SECONDS + 1.3)
        booting = [run for run in simulation.store.runs.values() if run.binding and str(run.state) == "booting"][:count]
        chance = random.Random(1)
        came: dict[str, float] = {}

        def cancel(run: Run) -> None:
            assert run.binding is not None
            came[run.binding.instance_id] = self._seconds()
            simulation.buildkite.cancel_job(run.job_id)

        for run in booting:
            moment = timedelta(seconds=chance.uniform(0, 2 * count))
            simulation.kernel.after(moment, "", lambda run=run: cancel(run))  # type: ignore[misc]  # its own run
        logged = len(simulation.ec2.calls())
        simulation.run(2 * count + 30)
        waits: list[float] = []
        for call in simulation.ec2.calls()[logged:]:
            if call.action == "TerminateInstances":
                at = (call.at - EPOCH).total_seconds()
                waits += [at - came.pop(i) for i in call.request["InstanceIds"] if i in came]
        if came:
            raise AssertionError(f"{len(came)} VMs were not ended")
        waits.sort()
        return Cancellations(
            live=self.live,
            cancelled=len(waits),
            p50=round(waits[len(waits) // 2], 2),
            p99=round(waits[int(len(waits) * 0.99)], 2),
            worst=round(waits[-1], 2),
        )

    def _seconds(self) -> float:
        return (self.simulation.kernel.now() - EPOCH).total_seconds()


SLOW_CLASSES = """
{"classes": {"default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0",
                         "boot_timeout_seconds": 3000}}, "default_class": "default"}
"""
"""Nobody boots and nobody times out: what is measured is looking."""


def grows_linearly(looks: list[Look]) -> dict[str, float]:
    """CPU for each VM at the largest fleet over that at the one before; 1 is linear."""
    steady = [look for look in looks if not look.first]
    return {
        f"{less.live} → {more.live}": round((more.cpu_seconds / more.live) / (less.cpu_seconds / less.live), 2)
        for less, more in pairwise(steady)
    }


def bars_of(looks: list[Look], cancelled: Cancellations, ratios: dict[str, float]) -> dict[str, bool]:
    """What must hold."""
    bars = {
        f"{cancelled.live} VMs live: a cancelled boot's VM is ended within {WITHIN_SECONDS:.0f} s at p99": (
            cancelled.p99 <= WITHIN_SECONDS
        )
    }
    for look in looks:
        pages = -(-look.live // PAGE)
        name = f"{look.live} VMs, {'all news' if look.first else 'steady'}"
        bars[f"{name}: EC2 is asked {pages} times"] = look.ec2 == {"DescribeInstances": pages}
        told = {"notify": 1} if look.first else {}
        bars[f"{name}: Buildkite is asked for states {pages} times, told once"] = {
            operation: count for operation, count in look.stacks.items() if operation != ONCE_A_PROCESS
        } == {"get_job_states": pages, **told}
        bars[f"{name}: only booting VMs' mailboxes are read"] = look.dynamodb.get("mailbox.read", 0) == -(
            -look.booting // 100
        )
    return bars | {
        f"CPU of a VM, {name}: at most half as much again": ratio <= GROWTH for name, ratio in ratios.items()
    }


def main() -> int:
    """Measure; the exit status, which is 1 with --strict when a bar is missed (CPU is this machine's, and wobbles)."""
    began = time.monotonic()
    kinds = machines(sys.argv[1:], "TrackerMemory")
    first, memory = kinds[0], kinds[0].memory_mib
    page_mib = parsing_mib()
    quick = "--quick" in sys.argv[1:]
    sizes = (100, 1_000) if quick else (100, 1_000, 5_000)
    looks = [Fleet(live, first).look(first=news) for live in sizes for news in (True, False)]
    cancelled = {kind.name: Fleet(300 if quick else 2_000, kind, scheduled=True).cancel(CANCELLED) for kind in kinds}
    ratios = grows_linearly(looks)
    bars = bars_of(looks, cancelled[first.name], ratios)
    if "--json" in sys.argv[1:]:
        document = {
            "memory_mib": memory,
            "machine": asdict(first),
            "page_of_1000_instances_mib": page_mib,
            "looks": [asdict(look) for look in looks],
            "cancelled": {name: asdict(row) for name, row in cancelled.items()},
            "growth": ratios,
            "bars": bars,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print(memory, looks, ratios)
        for name, row in cancelled.items():
            _print_cancelled(name, row)
        for name, kept in bars.items():
            sys.stdout.write(f"{'kept  ' if kept else 'MISSED'}  {name}\n")
        sys.stdout.write(f"to read a page of 1,000 instances takes {page_mib} MiB while it lasts\n")
        sys.stdout.write(f"measured in {time.monotonic() - began:.0f} s\n")
    return 1 if "--strict" in sys.argv[1:] and not all(bars.values()) else 0


def _print_cancelled(name: str, cancelled: Cancellations) -> None:
    times = f"p50 {cancelled.p50} s, p99 {cancelled.p99} s, worst {cancelled.worst} s"
    sys.stdout.write(
        f"{name}: {cancelled.cancelled} boots cancelled with {cancelled.live} VMs live, until TerminateInstances: "
        f"{times}\n"
    )


def _print(memory: int, looks: list[Look], ratios: dict[str, float]) -> None:
    say = sys.stdout.write
    say(f"at {memory} MiB, {memory / FULL_CORE_MIB:.2f} of a core\n")
    say("  live  booting            EC2  Stacks API  DynamoDB   CPU s  seconds  peak MiB\n")
    for look in looks:
        news = "all news" if look.first else "steady"
        say(
            f"{look.live:>6}{look.booting:>9} {news:<9}{sum(look.ec2.values()):>5}{sum(look.stacks.values()):>12}"
            f"{sum(look.dynamodb.values()):>10}{look.cpu_seconds:>8}{look.seconds:>9}{look.peak_mib:>10}\n"
        )
        say(f"{'':16}{look.ec2} {look.stacks} {look.dynamodb}\n")
    say(f"CPU for each VM, against the size before: {ratios}\n")


if __name__ == "__main__":
    sys.exit(main())
