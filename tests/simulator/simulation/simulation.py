"""One world from one seed: Buildkite, EC2, records, VMs, and the two functions as they are wired in production."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any, TypeVar

import httpx

from agent_stack.domain.identifiers import InstanceArn, JobId
from agent_stack.domain.runs import Run
from agent_stack.ports import Telemetry
from agent_stack.settings import Settings
from tests.simulator.buildkite import Buildkite, Event, JobState, JobStateChanged, transport
from tests.simulator.buildkite.transport import Ask, asker
from tests.simulator.cloud import Ec2, Instance, LaunchTemplateData, StateChange
from tests.simulator.identity import SeededIds
from tests.simulator.lambda_host import moments
from tests.simulator.memory import MemoryLease, Rates, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.parameters import FakeParameters
from tests.simulator.simulation.costs import (
    Meter,
)
from tests.simulator.simulation.coverage import Coverage
from tests.simulator.simulation.direct_http import DirectHttp
from tests.simulator.simulation.invariants import Invariants
from tests.simulator.simulation.invocation import Invocation, Wired
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.machine import Temper, VirtualVm
from tests.simulator.simulation.nature import (
    CLASSES,
    CLASSES_PARAMETER,
    EC2_WORDS,
    FATE_WORDS,
    PEACEFUL,
    PERIOD_SECONDS,
    PROGRAM,
    QUICK,
    WAKE_UP_SECONDS,
    Nature,
    without_standby,
)
from tests.simulator.simulation.passing_time import PassingTime
from tests.simulator.simulation.process import Fate, Process
from tests.simulator.simulation.wiring import ProductionWiring
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import an_environment

VmT = TypeVar("VmT", bound=VirtualVm)


class Simulation(ProductionWiring, PassingTime):
    """The world, and the hands that a scenario has in it."""

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
        self.sizes: dict[int, int] = {}
        """Of how many things each call was, by its place in `points`; nothing of calls beside a cycle."""
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

        base_url = "http://buildkite.invalid/v3"
        if self._nature.costs is not None:  # the product's CPU is measured, and httpx is part of it
            return httpx.Client(transport=httpx.MockTransport(carry), base_url=base_url)
        return DirectHttp(carry, base_url=base_url)

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

    @property
    def quotas(self) -> Mapping[str, int]:
        """The account's, in vCPUs."""
        return self._nature.ec2.quotas

    def _fate(self, point: str) -> Fate:
        self.points.append(point)
        fate = self.judge(point) if self.faulty else Fate.GOES_ON
        if fate is not Fate.GOES_ON:
            self.hits(f"{point.partition(' ')[0]}{FATE_WORDS[fate]}")
        return fate
