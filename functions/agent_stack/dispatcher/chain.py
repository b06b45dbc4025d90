"""Chain: the dispatcher's steps, in order. This is the only list of them.

A chain is a tuple of steps; each takes the cycle and returns the next one. With `ObserveOnly` the chain has no step
that changes anything. `ReadJobEnvironment` runs only with the parameter of that name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agent_stack.dispatcher.admit import Admit
from agent_stack.dispatcher.bind import AgentIdentity, Bind
from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherStep
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.find_standby import FindStandby
from agent_stack.dispatcher.first_pages import FirstPages
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.job_environment import ReadJobEnvironment
from agent_stack.dispatcher.launch import Launch
from agent_stack.dispatcher.launch_answers import LaunchAnswers
from agent_stack.dispatcher.launch_deadline import LaunchDeadline
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.list_standby import ListStandby
from agent_stack.dispatcher.metrics import DispatcherMetrics
from agent_stack.dispatcher.poll import Poll
from agent_stack.dispatcher.preempt import Preempt
from agent_stack.dispatcher.publish_program import PublishProgram
from agent_stack.dispatcher.publish_wait_reasons import PublishWaitReasons
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.record import Record
from agent_stack.dispatcher.recover import Recover
from agent_stack.dispatcher.register import Register
from agent_stack.dispatcher.replenish import Replenish
from agent_stack.dispatcher.reserve import Reserve
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.standby_room import StandbyRoom
from agent_stack.dispatcher.standby_troubles import StandbyTroubles
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.dispatcher.vm_count import VmCount
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.jobs import Queue
from agent_stack.domain.policy import Policy
from agent_stack.domain.stack_keys import StackKeyNames
from agent_stack.ports import Ports
from agent_stack.stack_keys import StackKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherOptions:
    """The settings that the chain needs in addition to the policy."""

    queues: tuple[Queue, ...]
    stack_key_names: StackKeyNames
    identity: AgentIdentity
    read_job_environment: bool
    program_sha256: str


def dispatcher_steps(
    ports: Ports, policy: Policy, options: DispatcherOptions, in_flight: InFlightLaunches
) -> tuple[DispatcherStep, ...]:
    """The dispatcher's chain."""
    telemetry = ports.telemetry
    stacks, fleet, ledger = ports.stacks, ports.fleet, ports.ledger
    tokens, empty_ledger = TokenSupply(), EmptyLedgerCache()
    capacity = CapacityCache(ledger=ledger, write_beside=in_flight.write_beside)
    vcpus = VcpuCache(instance_types=ports.instance_types, workers=ports.workers, telemetry=telemetry)
    quotas = QuotaWatch(fleet=fleet, in_flight=in_flight, vcpus=vcpus, workers=ports.workers, telemetry=telemetry)
    count = VmCount(
        ledger=ledger,
        in_flight=in_flight,
        workers=ports.workers,
        most=policy.max_instances,
        write_beside=in_flight.write_beside,
    )
    prefetch = VmPrefetch(fleet=fleet, workers=ports.workers, capacity=capacity, count=count, policy=policy)
    pool = StandbyPool(
        max_vcpus=policy.max_vcpus,
        fleet=fleet,
        records=ports.standby,
        workers=ports.workers,
        telemetry=telemetry,
        write_beside=in_flight.write_beside,
    )
    orders = LaunchOrders(fleet=fleet, ids=ports.ids, telemetry=telemetry)
    send = SendLaunch(fleet=fleet, ledger=ledger, in_flight=in_flight, telemetry=telemetry)
    room = LaunchRoom(in_flight=in_flight, prefetch=prefetch, policy=policy, telemetry=telemetry)
    vcpu_room = VcpuRoom(vcpus=vcpus, pool=pool, in_flight=in_flight, policy=policy)
    class_room = ClassRoom(pool=pool, in_flight=in_flight)
    program = PublishProgram(
        programs=ports.programs,
        ledger=ledger,
        program=ports.program,
        wanted=options.program_sha256,
        policy=policy,
        telemetry=telemetry,
    )
    listing = ListStandby(pool=pool, in_flight=in_flight, policy=policy, telemetry=telemetry)
    finding = FindStandby(pool=pool, fleet=fleet)
    first_pages = FirstPages(stacks=stacks, queues=options.queues, in_flight=in_flight, workers=ports.workers)
    environments = ReadJobEnvironment(stacks=stacks, workers=ports.workers, telemetry=telemetry)
    observing: tuple[DispatcherStep, ...] = (
        Register(
            stacks=stacks,
            queues=options.queues,
            stack_keys=StackKeys(names=options.stack_key_names, ledger=ledger),
            ledger=ledger,
            telemetry=telemetry,
            observe_only=policy.observe_only,
        ),
        Recover(
            ledger=ledger,
            fleet=fleet,
            in_flight=in_flight,
            prefetch=prefetch,
            capacity=capacity,
            empty_ledger=empty_ledger,
            classes=ports.classes,
            policy=policy,
            telemetry=telemetry,
            first_pages=first_pages,
        ),
        *(() if policy.observe_only else (listing,)),
        Poll(
            stacks=stacks,
            queues=options.queues,
            permission=in_flight.permission,
            policy=policy,
            clock=ports.clock,
            telemetry=telemetry,
            first_pages=first_pages,
        ),
        *(() if policy.observe_only else (finding,)),
        *((environments,) if options.read_job_environment else ()),
        Admit(
            capacity=capacity,
            in_flight=in_flight,
            prefetch=prefetch,
            quotas=quotas,
            vcpus=vcpus,
            policy=policy,
            clock=ports.clock,
            telemetry=telemetry,
        ),
    )
    acting: tuple[DispatcherStep, ...] = (
        Record(ledger=ledger, empty_ledger=empty_ledger, policy=policy, telemetry=telemetry),
        Reserve(stacks=stacks, ledger=ledger, policy=policy, telemetry=telemetry),
        Launch(
            send=send,
            in_flight=in_flight,
            capacity=capacity,
            orders=orders,
            room=room,
            vcpu_room=vcpu_room,
            class_room=class_room,
            answers=LaunchAnswers(fleet=fleet, in_flight=in_flight, vcpus=vcpus, ids=ports.ids, telemetry=telemetry),
            deadline=LaunchDeadline(
                ledger=ledger, vcpus=vcpus, permission=in_flight.permission, policy=policy, telemetry=telemetry
            ),
            quotas=quotas,
            vcpus=vcpus,
            program=program,
            tokens=tokens,
            policy=policy,
            telemetry=telemetry,
        ),
        Bind(
            stacks=stacks,
            ledger=ledger,
            tokens=tokens,
            permission=in_flight.permission,
            policy=policy,
            identity=options.identity,
            pool=pool,
            wake_ups=ports.wake_ups,
            telemetry=telemetry,
        ),
        Preempt(
            pool=pool,
            room=room,
            vcpu_room=vcpu_room,
            class_room=class_room,
            quotas=quotas,
            capacity=capacity,
            orders=orders,
            policy=policy,
            telemetry=telemetry,
        ),
        Replenish(
            pool=pool,
            troubles=StandbyTroubles(pool=pool, capacity=capacity, policy=policy, telemetry=telemetry),
            room=StandbyRoom(
                room=room, vcpu_room=vcpu_room, class_room=class_room, orders=orders, queues=options.queues
            ),
            orders=orders,
            send=send,
            fleet=fleet,
            in_flight=in_flight,
            capacity=capacity,
            empty_ledger=empty_ledger,
            quotas=quotas,
            program=program,
            policy=policy,
            ids=ports.ids,
            telemetry=telemetry,
        ),
        PublishWaitReasons(
            capacity=capacity, vcpus=vcpus, ledger=ledger, workers=ports.workers, policy=policy, telemetry=telemetry
        ),
    )
    measure = DispatcherMetrics(capacity=capacity, policy=policy, clock=ports.clock, telemetry=telemetry)
    return (*observing, *(() if policy.observe_only else acting), measure)


def warm_up_of(ports: Ports, policy: Policy) -> Callable[[], None]:
    """What a process makes ready before its first launch; nothing where it launches nothing."""
    launches = policy.launch_enabled and not policy.observe_only
    return ports.fleet.warm_up if launches else lambda: None


def in_flight_of(ports: Ports, permission: LaunchPermission) -> InFlightLaunches:
    """The in-flight launches of one dispatcher process, which the operator may pause."""
    return InFlightLaunches(
        fleet=ports.fleet,
        ledger=ports.ledger,
        workers=ports.workers,
        clock=ports.clock,
        telemetry=ports.telemetry,
        permission=permission,
    )
