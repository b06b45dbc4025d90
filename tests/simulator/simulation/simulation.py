"""One world from one seed: Buildkite, EC2, records, VMs, and the two functions as they are wired in production."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, TypeVar

import httpx

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import Ec2Fleet
from agent_stack.adapters.ec2 import errors as ec2_errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ec2.requests import LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.adapters.ssm import SsmClasses, parameters
from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.adapters.stacks_api import HttpStacksApi
from agent_stack.adapters.stacks_api.caller import Caller
from agent_stack.dispatcher.chain import dispatcher_steps, in_flight_of, warm_up_of
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.reconcile import ReconcileQueues
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.identifiers import InstanceArn, JobId
from agent_stack.domain.measures import Metric
from agent_stack.domain.programs import VmProgram
from agent_stack.domain.runs import Run
from agent_stack.ports import ClassSource, Ports, Telemetry
from agent_stack.settings import Settings
from agent_stack.stack_keys import StackKeys
from agent_stack.tracker.chain import tracker_steps
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.reconcile import ReconcileRuns
from agent_stack.wiring.options import dispatcher_options
from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, Event, JobState, JobStateChanged, transport
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.buildkite.transport import Ask, asker
from tests.simulator.catalog import NoShapes
from tests.simulator.clock import EPOCH, FixedDeadline
from tests.simulator.cloud import Caller as Ec2Caller
from tests.simulator.cloud import Ec2, Instance, LaunchTemplateData, StateChange, Subnet
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.identity import SeededIds
from tests.simulator.lambda_host import ANYWHERE, moments
from tests.simulator.memory import MemoryLease, MemoryLedger, MemoryMailbox, MemoryStandbyVms, Rates, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.parameters import FakeParameters
from tests.simulator.simulation.costs import (
    ACTIVE_RUNS,
    KNOWN,
    NEWS,
    OWN_WRITES,
    REFRESHED_RUNS,
    RUNS,
    Costs,
    Meter,
)
from tests.simulator.simulation.coverage import Coverage
from tests.simulator.simulation.direct import DirectClient
from tests.simulator.simulation.direct_http import DirectHttp
from tests.simulator.simulation.invariants import Invariants
from tests.simulator.simulation.invocation import Invocation, Wired
from tests.simulator.simulation.kernel import MAX_EVENTS, Kernel
from tests.simulator.simulation.machine import Temper, VirtualVm
from tests.simulator.simulation.process import Fate, Process
from tests.simulator.simulation.workers import KernelWorkers
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import an_environment

EC2_WORDS = {
    "RequestLimitExceeded": "throttled",
    "InternalError": "server error",
    "answer lost": "answer lost",
    "says nothing": "answer lost",
    "launches nothing": "launches nothing",
}
FATE_WORDS = {
    Fate.DIES_BEFORE: " dies",
    Fate.DIES_AFTER: " dies",
    Fate.DIES_AMID: " dies",
    Fate.REFUSED: "'s records are refused",
    Fate.ANSWER_LOST: "'s record: answer lost",
}
CLASSES_PARAMETER = "/classes"
WAKE_UP_SECONDS = (10.0, 10.6)
"""From a wake-up to the tracker's code: the batching window of template.yaml, the queue's and Lambda's own time."""

BESIDE = "ledger.write"
"""What a task is charged as that is no call of a port itself: it makes one, and that is a write of the ledger's."""

StepT = TypeVar("StepT")
VmT = TypeVar("VmT", bound=VirtualVm)
PERIOD_SECONDS = 60.0  # of the schedules
CLASSES = """
{"classes": {
  "default": {"instance_types": ["m7i.large", "m6i.large"], "image": "ami-0123456789abcdef0",
              "boot_timeout_seconds": 60},
  "spot": {"instance_types": ["c7i.large"], "market": "spot", "image": "ami-0123456789abcdef0",
           "boot_timeout_seconds": 60}
}, "default_class": "default"}
"""
QUICK = {
    "RESERVATION_SECONDS": "120",
    "LAUNCH_DEADLINE_SECONDS": "120",
    "UNASSIGNED_TIMEOUT_SECONDS": "90",
    "MAX_LIFETIME_SECONDS": "900",
    "CANCEL_GRACE_SECONDS": "20",
    "FINISH_GRACE_SECONDS": "10",
    "SWEEP_GRACE_SECONDS": "60",
    "IDLE_POLL_SECONDS": "5",
    "MAX_INSTANCES": "6",
    "UNMATCHED_JOBS": "fail",
}

PROGRAM = VmProgram(text="echo the second stage\n")
"""What a VM would run; virtual ones only have one name for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What kind of world it is."""

    ec2: Ec2Settings
    temper: Temper = field(default_factory=Temper)
    latency: tuple[float, float] = (0.005, 0.2)
    launch_latency: tuple[float, float] = (0.3, 3.0)
    costs: Costs | None = None
    """In place of `latency` where time is what matters."""
    only: tuple[str, ...] = ("dispatcher", "tracker")
    warm: bool = False
    """Whether a process serves later invocations, with what it remembers."""
    watched: bool = True
    """Whether the promises are looked at after each event; thousands of VMs make that slow."""
    judged: bool = True
    """Whether what Buildkite and EC2 tell is held against the promises; with tens of thousands of VMs that is slow."""
    cold_seconds: float = 0.0
    """Before the code of an invocation whose process is new."""
    jitter_seconds: tuple[float, float] = ANYWHERE
    """Where in its minute a schedule fires; drawn anew for each minute."""
    invoke_seconds: tuple[float, float] = (0.0, 0.0)
    """From an invocation's moment to its code: Lambda's own time."""
    buildkite: BuildkiteSettings = field(default_factory=BuildkiteSettings)
    """Which of the answers that the real one may give it gives."""
    writes_per_second: float = WRITES_PER_SECOND
    conflicts: float = 0.0
    """How often a transaction meets another."""
    callers: Mapping[str, Ec2Caller] = field(default_factory=dict)
    """What EC2 lets a function do, by function; one that is not named may do everything."""
    start: datetime = EPOCH
    max_events: int = MAX_EVENTS
    """What goes round in circles has more."""
    spot_notices: bool = True
    """Whether a VM looks for the announcement that EC2 takes it back."""
    asks_for_classes: bool = False
    """Whether a process reads the class document from SSM, and asks EC2 about it; else it is taken as it stands."""


def plain_ec2(**changes: Any) -> Ec2Settings:  # noqa: ANN401  (the settings' own)
    """An EC2 that always has what it is asked for."""
    values: dict[str, Any] = {
        "subnets": {"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
        "pending": (timedelta(seconds=3), timedelta(seconds=8)),
        "shutting_down": timedelta(seconds=5),
        **changes,
    }
    return Ec2Settings(**values)


PEACEFUL = Temper()


def without_standby(document: str) -> str:
    """The class document after its operator wants no standby VMs any more; a document without any stays as it is."""
    read = json.loads(document)
    if not any("standby" in entry for entry in read["classes"].values()):
        return document
    for entry in read["classes"].values():
        if "standby" in entry:
            entry["standby"] = {"hot": 0}
    return json.dumps(read)


class Token:
    """Where the functions find the agent token."""

    def agent_token(self, *, fresh: bool = False) -> str:
        """See the port."""
        return AGENT_TOKEN


class Classes:
    """The class document."""

    def __init__(self, document: Callable[[], str]) -> None:
        self._document = document
        self._read: tuple[str, ClassBook] | None = None

    def book(self) -> ClassBook:
        """See the port."""
        text = self._document()
        if self._read is None or self._read[0] != text:
            self._read = (text, read_classes(text, name="/classes", deployment_tags=(), shapes=NoShapes()))
        return self._read[1]


class SimulatedWakeUps:
    """See the port `WakeUps`."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation

    def wake_tracker(self) -> None:
        """See the port."""
        self._simulation.send_wake_up()


class Simulation:
    """The world, and the hands that a scenario has in it."""

    send_wake_up: Callable[[], None] = staticmethod(lambda: None)
    """What becomes of the dispatcher's wake-ups of the tracker; they get lost unless a scenario says otherwise."""

    def __init__(
        self,
        *,
        seed: int,
        nature: Nature,
        judge: Callable[[str], Fate] = lambda _: Fate.GOES_ON,
        settings: Mapping[str, str] = QUICK,
        classes: str = CLASSES,
        without: str = "",
    ) -> None:
        """A world.

        Args:
            without: the stage that is taken out of its chain, by the name of its class.
        """
        self.kernel = Kernel(nature.start, nature.max_events)
        self.chance = random.Random(seed)
        self.settings = self._given({**settings, "PROGRAM_SHA256": PROGRAM.sha256})
        self.meter = Meter()
        self.kernel.aside = self.meter.excluded
        self.parameters = FakeParameters(values={CLASSES_PARAMETER: classes})
        """What SSM holds. A process reads it again and again where the nature says so, else when it starts."""
        self.store = Store()
        self.programs = MemoryPrograms(clock=self.kernel)
        self.telemetry = RecordedTelemetry()
        self.buildkite = Buildkite(now=self.kernel.now, seed=seed, settings=nature.buildkite)
        self.vms: dict[str, VirtualVm] = {}
        self._announced: set[str] = set()
        self.ec2 = Ec2(
            now=self.kernel.now, settings=nature.ec2, launch_templates=self._template, seed=seed, machines=self
        )
        self.peace_since: datetime | None = None
        self.judge = judge
        self.points: list[str] = []
        """Every call of a port so far: the places at which a process can die."""
        self.crashes = 0
        self.overlaps = 0
        """How often a piece of work began inside one whose lease had run out."""
        self.unleased = 0
        """How often a cycle began under a lease that had run out."""
        self.requests: Counter[str] = Counter()
        """Requests by call, where they are counted (`Nature.costs`)."""
        self.billed: dict[str, list[float]] = defaultdict(list)
        """Seconds of every invocation that is over, by function."""
        self.stages: dict[str, tuple[str, ...]] = {}
        """The names of the stages in each function's chain, the one that is taken out included."""
        self.hinted = False
        self.skew: dict[str, timedelta] = {}
        """How far a function's clock is from the true time."""
        self.throttled: set[str] = set()
        """Functions that Lambda invokes no more, as with a reserved concurrency of 0."""
        self.coverage = Coverage()
        self._nature, self._without, self._seed = nature, without, seed
        quarrel = random.Random(f"{seed} records")  # a stream of its own, so that it moves no other draw
        self.rates = Rates(
            now=self.kernel.now,
            per_second=nature.writes_per_second,
            conflicts=lambda: self._in_conflict(quarrel),
        )
        self._ids = SeededIds(seed)

        self.http = self._http()
        self.on_stack: Counter[str] = Counter()
        self._warm: dict[str, list[Wired]] = defaultdict(list)
        self.laws = Invariants(simulation=self)
        self._watch()
        self.kernel.after_each += [self._advance, self.laws.after_each] if nature.watched else []
        for function in nature.only:
            self._schedule(
                function,
                moments(f"{seed} {function}", period_seconds=PERIOD_SECONDS, jitter=nature.jitter_seconds),
            )

    def _watch(self) -> None:
        """Hear what happens."""
        if self._nature.judged:
            self.buildkite.on_event(self.laws.on_buildkite)
            self.ec2.on_event(self.laws.on_ec2)
        self.buildkite.faults.on_hit = lambda fault: self.hits(f"Buildkite: {fault.kind}")
        self.ec2.faults.on_hit = lambda what: self.hits(f"EC2: {EC2_WORDS.get(what, 'refused')}")
        self.ec2.on_event(lambda change: self.kernel.note(f"{change.instance.instance_id} {change.instance.state}"))

    def _http(self) -> httpx.Client:
        """A client of the simulated Buildkite. What the service does is not charged to the product."""
        carrier = transport(self.buildkite, wait=self._sleep_seconds)

        def carry(request: httpx.Request) -> httpx.Response:
            with self.meter.excluded():
                return carrier.handle_request(request)

        return DirectHttp(carry, base_url="http://buildkite.invalid/v3")

    @cached_property
    def _agents(self) -> Ask:
        return asker(self.buildkite, wait=self._sleep_seconds)

    def _ask(self, method: str, path: str, token: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401  (JSON)
        """What a VM's agent asks of Buildkite."""
        with self.meter.excluded():
            return self._agents(method, path, token, body)

    def _sleep_seconds(self, seconds: float) -> None:
        self.kernel.sleep(timedelta(seconds=seconds))

    @property
    def faulty(self) -> bool:
        """Things go wrong still."""
        return self.peace_since is None

    def hits(self, fault: str) -> None:
        """A fault of a service or a process happens."""
        self.coverage.everywhere(fault, self.store)

    def _in_conflict(self, quarrel: random.Random) -> bool:
        conflict = self.faulty and quarrel.random() < self._nature.conflicts
        if conflict:
            self.hits("records in conflict")
        return conflict

    def make_peace(self) -> None:
        """Nothing goes wrong from here on, not even what was scripted already."""
        self.peace_since = self.kernel.now()
        self.buildkite.faults.clear()
        self.ec2.faults.clear()
        self.buildkite.resume_queue("default")
        self.laws.paused_since = None
        self.parameters.values[CLASSES_PARAMETER] = without_standby(self.parameters.values[CLASSES_PARAMETER])

    def boot(self, instance: Instance) -> VirtualVm:
        """An instance runs. See `Machines`."""
        # A timer that never fires is a fault of the image, not of the moment: peace does not mend it.
        temper = self._nature.temper
        if not self.faulty:
            temper = replace(PEACEFUL, loses_timer=temper.loses_timer)
        self.vms[instance.instance_id] = vm = self.make_vm(instance, VirtualVm, self.chance, temper)
        if instance.instance_id in self._announced:  # before it ran
            vm.spot_notice()
        return vm

    def take_back(self, instance_id: str) -> None:
        """EC2 announces that it takes a spot VM back, and does so two minutes later."""
        self.ec2.interrupt_spot(instance_id)
        if not self._nature.spot_notices:
            return
        self._announced.add(instance_id)
        if instance_id in self.vms:
            self.vms[instance_id].spot_notice()

    def make_vm(self, instance: Instance, kind: type[VmT], chance: random.Random, temper: Temper) -> VmT:
        """The machine behind an instance."""
        return kind(
            instance=instance,
            arn=InstanceArn(self.settings.instance_arn_prefix + instance.instance_id),
            kernel=self.kernel,
            store=self.store,
            ask=self._ask,
            chance=chance,
            temper=temper,
            unassigned=self.settings.unassigned_timeout,
            lifetime=self.settings.max_lifetime,
            longest_hold=self.settings.hold_on_failure,
            power_off=self.ec2.powered_off,
            hit=lambda fault: self.coverage.at_vm(fault, instance.instance_id, self.store),
        )

    def run(self, seconds: float) -> None:
        """Let time pass, and the models' own events with it."""
        end = self.kernel.now() + timedelta(seconds=seconds)
        while (now := self.kernel.now()) < end:
            self.kernel.run_until(min(end, now + timedelta(seconds=0.5)))
            self._advance()
            self.laws.after_each()

    def settle(self, bound_seconds: float) -> float:
        """Make peace, and wait until nothing is left to do; the seconds that took.

        Raises:
            BrokenPromise: something never ends.
        """
        self.make_peace()
        began = self.kernel.now()
        while next(self.laws.unsettled(), None) and (self.kernel.now() - began).total_seconds() < bound_seconds:
            self.run(5)
        self.laws.at_the_end()
        return (self.kernel.now() - began).total_seconds()

    def _advance(self) -> None:
        if self.laws.paused_since is not None:
            self.hits("queue paused")
        self.buildkite.advance()
        self.ec2.advance()

    def _template(self, template_id: str, version: str) -> LaunchTemplateData:
        return LaunchTemplateData(metadata_tags=True)

    # --- functions ---

    def deploy(self, **variables: str) -> None:
        """CloudFormation gives the functions other variables, and other code with them.

        New invocations get new processes with these; one that is under way goes on to its end with what it has.
        """
        self.settings = self._given({**self._variables, **variables})
        self._warm.clear()

    def _given(self, variables: Mapping[str, str]) -> Settings:
        self._variables = variables
        return Settings.from_environment(an_environment(**variables))

    def send_hints(self) -> None:
        """From now on EC2's state changes wake the tracker: late, twice or never, as events do."""
        self.hinted = True

        def hint(change: StateChange) -> None:
            times = self.chance.choice([0, 1, 1, 2])
            if times != 1:
                happened = "news doubled" if times else "news lost"
                self.coverage.at_vm(happened, change.instance.instance_id, self.store)
            for _ in range(times):
                self.wake("tracker", self.chance.uniform(0.2, 20))

        self.ec2.on_event(hint)
        own = random.Random(f"{self._seed} wake-ups")  # a stream of its own, so that it moves no other draw

        def wake_up() -> None:
            for _ in range(own.choice([0, 1, 1, 2])):
                self.wake("tracker", own.uniform(0.2, 20))

        self.send_wake_up = wake_up

    def deliver_wake_ups(self) -> None:
        """From now on the dispatcher's wake-ups reach the tracker, after the window in which Lambda waits for more."""
        own = random.Random(f"{self._seed} wake-ups")
        self.send_wake_up = lambda: self.wake("tracker", own.uniform(*WAKE_UP_SECONDS))

    def tell_again(self, instance_id: str) -> None:
        """EC2's last change of that VM wakes the tracker once more, as an event that is delivered twice does."""
        self.coverage.at_vm("news doubled", instance_id, self.store)
        self.wake("tracker", 2.0)

    def send_jobs(self, seconds: tuple[float, float]) -> None:
        """From now on scheduled jobs wake the dispatcher, that long after they are."""

        def wake(event: Event) -> None:
            if isinstance(event, JobStateChanged) and event.after is JobState.SCHEDULED:
                self.wake("dispatcher", self.chance.uniform(*seconds))

        self.buildkite.on_event(wake)

    def wake(self, function: str, seconds: float) -> None:
        """News reach a function, after that long."""
        self.kernel.after(timedelta(seconds=seconds), "", lambda: self._invoke(function, scheduled=False))

    def _schedule(self, function: str, fires: Iterator[float]) -> None:
        """Let the schedule fire, this time and then again."""

        def fire() -> None:
            self._invoke(function, scheduled=True)
            self._schedule(function, fires)

        moment = self.kernel.start + timedelta(seconds=next(fires))
        self.kernel.after(moment - self.kernel.now(), f"{function} is invoked", fire)

    def _invoke(self, function: str, *, scheduled: bool) -> None:
        """Lambda finds a process, or starts one, and some time later its code runs."""
        if function in self.throttled:
            return
        if self._nature.costs is None:
            self._begin(function, self.wired(function), scheduled=scheduled)
            return
        seconds = 0.0 if self._warm[function] else self._nature.cold_seconds
        if scheduled:  # what wakes a function otherwise has this in its own time
            seconds += self.chance.uniform(*self._nature.invoke_seconds)
        wired = self.wired(function)
        later = timedelta(seconds=seconds)
        self.kernel.after(later, "", lambda: self._begin(function, wired, scheduled=scheduled))

    def _begin(self, function: str, wired: Wired, *, scheduled: bool) -> None:
        invocation = Invocation(
            simulation=self,
            function=function,
            wired=wired,
            lease=wired.process.mortal(MemoryLease(store=self.store, function=function), f"{function} lease"),
            ids=self._ids,
            scheduled=scheduled,
        )
        invocation.begin()

    def is_overtaken(self, function: str) -> bool:
        """Whether the lease of whoever works has run out under the work, so that another one may begin."""
        lease = self.store.leases.get(function)
        return lease is not None and lease.until is not None and lease.until <= self.kernel.now()

    def wired(self, function: str) -> Wired:
        """A process that is warm, or a new one."""
        warm = self._warm[function]
        return warm.pop() if warm else self._work(function, self._process(function))

    def telemetry_of(self, function: str) -> Telemetry:
        """Where a new process of that function logs and measures."""
        return self.telemetry

    def _process(self, function: str) -> Process:
        used: set[str] = set()
        parsed: dict[JobId, Run] = {}
        return Process(
            function,
            judge=self._fate,
            pass_time=partial(self._pass_time, used),
            note=self.kernel.note,
            around=self._around,
            take_in=partial(self._take_in, parsed),
            before_task=partial(self._before_task, used),
            after_task=partial(self._after_task, parsed),
        )

    def rest(self, invocation: Invocation) -> None:
        """An invocation is over. A warm process serves a later one; else each invocation has a new process."""
        self.billed[invocation.function].append((self.kernel.now() - invocation.began_at).total_seconds())
        is_deployed = invocation.settings is self.settings
        if is_deployed and (self._nature.warm or self._nature.costs is not None) and invocation.wired.process.alive:
            self._warm[invocation.function].append(invocation.wired)

    def _fate(self, point: str) -> Fate:
        self.points.append(point)
        fate = self.judge(point) if self.faulty else Fate.GOES_ON
        if fate is not Fate.GOES_ON:
            self.hits(f"{point.partition(' ')[0]}{FATE_WORDS[fate]}")
        return fate

    def _pass_time(self, used: set[str], point: str, size: int) -> None:
        """Each call takes a while, in which the rest of the world goes on.

        Args:
            used: the services that the calling process has used already; this one is added.
        """
        costs = self._nature.costs
        if costs is None:
            self.kernel.sleep(timedelta(seconds=self.chance.uniform(*self._nature.latency)))
            return
        call = point.partition(" ")[2]
        requests = costs.requests(call, size)
        self.requests[call] += requests
        cpu = self._spend(costs.of_call(call, size) + self._first_use(used, call)) + self.meter.lap()
        self._sleep(costs.waiting(call, requests, self.chance) + costs.seconds(cpu))

    def spend_rest(self) -> None:
        """Let the time pass that a cycle's own CPU took since its last call."""
        if self._nature.costs is not None:
            self._sleep(self._nature.costs.seconds(self.meter.lap()))

    def _sleep(self, seconds: float) -> None:
        with self.meter.excluded():
            self.kernel.sleep(timedelta(seconds=seconds))

    def _spend(self, cpu: float) -> float:
        self.meter.charge(cpu)
        return cpu

    def _first_use(self, used: set[str], call: str) -> float:
        """What the first call of a service costs a process besides; nothing afterwards."""
        service = call.partition(".")[0]
        if service in used:
            return 0.0
        used.add(service)
        assert self._nature.costs is not None
        return self._nature.costs.of_first_use(call)

    def _before_task(self, used: set[str], point: str) -> timedelta:
        """How long after it was begun a task beside the cycle takes effect."""
        costs, call = self._nature.costs, point.partition(" ")[2] or BESIDE
        if call == "fleet.launch":
            seconds = self.chance.uniform(*self._nature.launch_latency)
        elif costs is not None:
            seconds = costs.waiting(call, 1, self.chance)
        else:
            seconds = self.chance.uniform(*self._nature.latency)
        if costs is not None:
            if call != BESIDE:  # which is some of the stages' own code, that makes a request or none
                self.requests[call] += 1
            seconds += costs.seconds(self._spend(costs.of_call(call, 1) + self._first_use(used, call)))
        return timedelta(seconds=seconds)

    def _after_task(self, parsed: dict[JobId, Run], point: str, answer: object) -> timedelta:
        """How long after its effect a task's answer is read."""
        return timedelta(seconds=self._reading(parsed, point, answer) if isinstance(answer, list | tuple) else 0.0)

    def _take_in(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> None:
        """Let the time pass that reading an answer of several things takes."""
        if seconds := self._reading(parsed, point, answer):
            self._sleep(seconds)

    def _reading(self, parsed: dict[JobId, Run], point: str, answer: Sequence[object]) -> float:
        """Seconds that an answer takes after its first page has come.

        Args:
            parsed: the runs that the process knows. It reads each version of a run once, and none that it wrote
                itself, as the real ledger does.
        """
        costs, call = self._nature.costs, point.partition(" ")[2]
        if costs is None:
            return 0.0
        if call in OWN_WRITES:
            parsed.update({run.job_id: run for run in answer if isinstance(run, Run)})
        parts = {call: len(answer)}
        if call in RUNS and (parsed or call == REFRESHED_RUNS):
            sent = (
                answer if call == ACTIVE_RUNS else [run for run in answer if isinstance(run, Run) and not run.binding]
            )
            known = sum(isinstance(run, Run) and parsed.get(run.job_id) is run for run in sent)
            parts = {KNOWN: known, NEWS: len(sent) - known}
        if call in RUNS:
            parsed.update({run.job_id: run for run in answer if isinstance(run, Run)})
        pages = {part: costs.further_pages(part, size) for part, size in parts.items()}
        if call == REFRESHED_RUNS:  # DynamoDB reads those that it does not send
            pages[KNOWN] = costs.further_pages(KNOWN, len(answer))
        cpu = sum(costs.of_answer(part, size) for part, size in parts.items())
        if parts.get(NEWS) and NEWS in costs.page_of_answer:  # they are asked for after the look that showed them
            pages[NEWS], cpu = pages[NEWS] + 1, cpu + costs.of_requests(call, 1)
        if more := sum(pages.values()):
            self.requests[f"{call} pages"] += more
        waited = sum(costs.waiting(NEWS if part == NEWS else call, n, self.chance) for part, n in pages.items())
        return waited + costs.seconds(self._spend(cpu))

    def _around(self, point: str) -> AbstractContextManager[None]:
        """Adapters that are simulated are charged for by `Costs.cpu`, not by what the simulation takes."""
        return nullcontext() if " stacks." in point else self.meter.excluded()

    def _work(self, function: str, process: Process) -> Wired:
        """Production wiring over mortal ports; fresh, as a cold start is."""
        deadline = FixedDeadline()
        telemetry = self.telemetry_of(function)
        calls = AwsCalls(
            clock=self.kernel,
            ids=self._ids,
            deadline=deadline,
            throttles=ec2_errors.NOTHING_DONE,
            server_errors=ec2_errors.SERVER,
            throttled=partial(telemetry.count, Metric.EC2_THROTTLED),
        )
        client: Any = DirectClient(self.ec2, self._nature.callers.get(function), self.laws.on_answer)
        types = Ec2InstanceTypes(client=lambda: client, calls=calls)
        fleet = Ec2Fleet(
            client=lambda: client,
            calls=calls,
            clock=self.kernel,
            deployment=self.settings.deployment,
            arn_prefix=self.settings.instance_arn_prefix,
            template=LaunchTemplate(
                template_id=self.settings.launch_template_id, version=self.settings.launch_template_version
            ),
            subnets=Subnets(
                client=lambda: client,
                calls=calls,
                clock=self.kernel,
                telemetry=telemetry,
                subnet_ids=self.settings.subnet_ids,
            ),
            policy=self.settings.launch_policy,
        )
        stacks = HttpStacksApi(
            caller=Caller(
                base_url="http://buildkite.invalid/v3",
                http=self.http,
                secrets=Token(),
                clock=self.kernel,
                ids=self._ids,
                deadline=deadline,
                telemetry=telemetry,
            ),
            queues=self.settings.queues,
            stack_key=StackKeys(names=self.settings.stack_key_names, ledger=MemoryLedger(store=self.store)),
            dialect=None,
            job_tokens=True,
            metadata={},
            telemetry=telemetry,
        )
        ports = Ports(
            stacks=process.mortal(stacks, f"{function} stacks"),
            fleet=process.mortal(fleet, f"{function} fleet"),
            instance_types=process.mortal(types, f"{function} instance_types"),
            ledger=process.mortal(
                MemoryLedger(store=self.store, rates=self.rates, sleep=self.kernel.sleep), f"{function} ledger"
            ),
            mailbox=process.mortal(MemoryMailbox(store=self.store), f"{function} mailbox"),
            standby=process.mortal(MemoryStandbyVms(store=self.store), f"{function} standby"),
            programs=process.mortal(self.programs, f"{function} programs"),
            program=PROGRAM,
            classes=self._class_source(client, calls, types, telemetry),
            clock=self.kernel,
            ids=self._ids,
            telemetry=telemetry,
            workers=KernelWorkers(kernel=self.kernel, process=process, counted=self.meter.included),
            wake_ups=process.mortal(SimulatedWakeUps(self), f"{function} wake_ups"),
        )
        if function == "dispatcher":
            lease = process.mortal(MemoryLease(store=self.store, function=function), f"{function} lease")
            permission = LaunchPermission(read=lambda: lease.pauses(), clock=self.kernel)  # noqa: PLW0108  (a call that can die)
            in_flight = in_flight_of(ports, permission)
            options = dispatcher_options(self.settings)
            chain = dispatcher_steps(ports, self.settings.policy, options, in_flight)
            queues = ReconcileQueues(
                steps=self._left(function, chain),
                clock=self.kernel,
                warm_up=warm_up_of(ports, self.settings.policy),
            )
            return Wired(
                process=process,
                work=queues,
                begin=lambda scheduled: queues.begin(scheduled=scheduled),
                drain=in_flight.drain,
                observe=permission.observe,
                idle_pause=None if self.settings.woken_by_jobs else self.settings.idle_poll,
            )
        steps = self._left(
            function, tracker_steps(ports, self.settings.policy, job_tokens=self.settings.uses_job_tokens)
        )
        events = EventFilter(ledger=ports.ledger, clock=ports.clock, telemetry=telemetry)
        return Wired(process=process, work=ReconcileRuns(steps=steps, event_filter=events, clock=self.kernel))

    def _class_source(
        self,
        client: Any,  # noqa: ANN401  (it looks like EC2's)
        calls: AwsCalls,
        types: Ec2InstanceTypes,
        telemetry: Telemetry,
    ) -> ClassSource:
        if not self._nature.asks_for_classes:
            return Classes(lambda: self.parameters.values[CLASSES_PARAMETER])
        ssm: Any = self.parameters
        read = parameters.Parameters(client=lambda: ssm, calls=calls)
        return SsmClasses(
            parameters=read,
            name=CLASSES_PARAMETER,
            default_name="/default-classes",
            deployment_tags=(),
            shapes=Ec2InstanceCatalog(
                client=lambda: client,
                calls=calls,
                instance_types=types,
                parameter=lambda name: read.read(name, setting="ClassesParameter", remedy="Name one that exists."),
                clock=self.kernel,
            ),
            clock=self.kernel,
            telemetry=telemetry,
        )

    def _left(self, function: str, steps: Sequence[StepT]) -> tuple[StepT, ...]:
        """The chain, without the stage that is taken out."""
        self.stages[function] = tuple(stage_name(step) for step in steps)
        return tuple(step for step in steps if stage_name(step) != self._without)


def stage_name(step: object) -> str:
    """The name of a step's class, or of the step's that is wrapped in it."""
    return type(getattr(step, "step", step)).__name__
