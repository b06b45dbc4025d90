"""A process of a function as production wires it, over ports at which it can die."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import Ec2Fleet
from agent_stack.adapters.ec2 import errors as ec2_errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ec2.oddities import Oddities
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
from agent_stack.domain.measures import Metric
from agent_stack.ports import ClassSource, Ports, Telemetry
from agent_stack.settings import Settings
from agent_stack.stack_keys import StackKeys
from agent_stack.tracker.chain import tracker_steps
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.reconcile import ReconcileRuns
from agent_stack.wiring.options import dispatcher_options
from tests.simulator.buildkite import AGENT_TOKEN
from tests.simulator.catalog import NoShapes
from tests.simulator.clock import FixedDeadline
from tests.simulator.cloud import Ec2
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease, MemoryLedger, MemoryMailbox, MemoryStandbyVms, Rates, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.parameters import FakeParameters
from tests.simulator.simulation.costs import (
    Meter,
)
from tests.simulator.simulation.direct import DirectClient
from tests.simulator.simulation.invariants import Invariants
from tests.simulator.simulation.invocation import Wired
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.nature import (
    CLASSES_PARAMETER,
    PROGRAM,
    Nature,
)
from tests.simulator.simulation.process import Process
from tests.simulator.simulation.workers import KernelWorkers

StepT = TypeVar("StepT")


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

    def __init__(self, simulation: "ProductionWiring") -> None:
        self._simulation = simulation

    def wake_tracker(self) -> None:
        """See the port."""
        self._simulation.send_wake_up()


class ProductionWiring:
    """The part of a simulation that makes a function's process."""

    send_wake_up: Callable[[], None] = staticmethod(lambda: None)
    """What becomes of the dispatcher's wake-ups of the tracker; they get lost unless a scenario says otherwise."""

    kernel: Kernel
    meter: Meter
    settings: Settings
    parameters: FakeParameters
    store: Store
    programs: MemoryPrograms
    rates: Rates
    ec2: Ec2
    http: httpx.Client
    laws: Invariants
    stages: dict[str, tuple[str, ...]]
    _nature: Nature
    _ids: SeededIds
    _without: str

    def telemetry_of(self, function: str) -> Telemetry:
        """Where a new process of that function logs and measures."""
        raise NotImplementedError

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
            oddities=Oddities(telemetry=telemetry),
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
