"""`agent-stack status`: what a stack does now, in one view."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.domain.holds import Hold
from agent_stack.domain.pauses import Pauses
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import UP, RunState
from agent_stack.domain.waiting import Waiting, waiting_notice
from agent_stack_cli import lines, vms
from agent_stack_cli.connect import shell_on
from agent_stack_cli.errors import command, words_of
from agent_stack_cli.left_alone import BreakerView, left_alone
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

ERRORS_SINCE = timedelta(minutes=15)
MOST_ERRORS = 10
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue: its jobs by phase. `waiting` counts jobs that the dispatcher lists as waiting for longer."""

    queue: str
    paused: str
    reserved: int
    booting: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingView:
    """Jobs that wait for one reason, in the words of their build pages."""

    reason: str
    queue: str
    vm_class: str
    count: int
    words: str
    first_jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job and its VM."""

    job_id: str
    queue: str
    vm_class: str
    phase: str
    since: datetime
    attempt: int
    instance_id: str
    instance_type: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VmsView:
    """VMs of one class in one phase."""

    vm_class: str
    phase: str
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldView:
    """A VM whose boot failed and that stays up for a person."""

    instance_id: str
    vm_class: str
    until: datetime
    connect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """One bound, and what of it is taken: None when EC2 does not say. `limit` is None when there is none."""

    bound: str
    taken: int | None
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionView:
    """One function. `holds_until` is None when no invocation of it holds the lease."""

    function: str
    holds_until: datetime | None
    works: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """One message of level ERROR, how often it was logged, and its latest facts."""

    message: str
    function: str
    count: int
    latest: datetime
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything. A part is None when AWS does not show it; `unreadable` says why."""

    stack: str
    region: str
    at: datetime
    cloudformation: str
    launch_enabled: bool
    observe_only: bool
    paused: str
    functions: tuple[FunctionView, ...]
    queues: tuple[QueueView, ...]
    waiting: tuple[WaitingView, ...]
    waiting_as_of: datetime | None
    vms: tuple[VmsView, ...] | None
    held: tuple[HeldView, ...] | None
    jobs: tuple[JobView, ...]
    budgets: tuple[BudgetView, ...]
    breakers: tuple[BreakerView, ...]
    errors: tuple[ErrorView, ...] | None
    unreadable: tuple[str, ...]


def read(stack: Stack) -> Status:
    """The stack as ledger, EC2 and logs show it now."""
    now = stack.session.now()
    records = Records(stack=stack)
    runs, waiting, memory, pauses = records.active(), records.waiting(), records.memory(), records.pauses()
    unread: list[str] = []
    machines = _part("VMs", lambda: vms.living(stack), unread)
    up = None if machines is None else {machine.instance_id for machine in machines if machine.state in UP}
    held = None if up is None else {hold.instance_id: hold for hold in records.holds().vms if hold.instance_id in up}
    standby: dict[str, StandbyVm] = {vm.instance_id: vm for vm in records.standby()}
    by_vm: dict[str, Run] = {run.binding.instance_id: run for run in runs if run.binding is not None}
    errors = _part("errors", lambda: _errors(stack, now), unread)
    policy = stack.policy
    current = () if waiting is None else waiting.current(now)
    return Status(
        stack=stack.name,
        region=stack.session.region,
        at=now,
        cloudformation=stack.status,
        launch_enabled=policy.launch_enabled,
        observe_only=policy.observe_only,
        paused=_paused(pauses, "*"),
        functions=tuple(
            FunctionView(
                function=holder.function,
                holds_until=holder.until,
                works=holder.until is not None and holder.until > now,
            )
            for holder in records.holders()
        ),
        queues=tuple(
            QueueView(
                queue=queue,
                paused=_paused(pauses, queue),
                reserved=sum(run.queue_key == queue and run.state is RunState.RESERVED for run in runs),
                booting=sum(run.queue_key == queue and run.state is RunState.BOOTING for run in runs),
                running=sum(run.queue_key == queue and run.state is RunState.RUNNING for run in runs),
                waiting=sum(job.queue_key == queue for job in current),
            )
            for queue in stack.queues
        ),
        waiting=tuple(_grouped(stack, current)),
        waiting_as_of=None if waiting is None else waiting.at,
        vms=None if machines is None else tuple(_by_phase(machines, by_vm, held or {}, standby)),
        held=None if held is None else tuple(_held(stack, hold) for hold in held.values()),
        jobs=tuple(
            JobView(
                job_id=run.job_id,
                queue=run.queue_key,
                vm_class=run.class_name,
                phase=run.state,
                since=run.state_entered_at,
                attempt=run.attempt,
                instance_id=run.binding.instance_id if run.binding else "",
                instance_type=run.binding.instance_type if run.binding else "",
                zone=run.binding.zone if run.binding else "",
            )
            for run in sorted(runs, key=lambda run: run.state_entered_at)
        ),
        budgets=(
            BudgetView(bound="VMs (MaxInstances)", taken=None if up is None else len(up), limit=policy.max_instances),
            BudgetView(
                bound="launches in the last minute (MaxLaunchesPerMinute)",
                taken=memory.asked_within_a_minute(now),
                limit=policy.max_launches_per_minute,
            ),
            BudgetView(
                bound="EC2's launch bucket (InstanceBurst)",
                taken=int(policy.instance_budget.burst) - memory.granted(policy.instance_budget, now),
                limit=int(policy.instance_budget.burst),
            ),
        ),
        breakers=tuple(left_alone(memory, now)),
        errors=None if errors is None else tuple(errors),
        unreadable=(*records.unreadable, *unread),
    )


def _paused(pauses: Pauses, name: str) -> str:
    pause = pauses.paused.get(name)
    return "" if pause is None else pause.words


def _grouped(stack: Stack, waiting: Sequence[Waiting]) -> list[WaitingView]:
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for job in waiting:
        words = waiting_notice(job, stack.policy).text.removeprefix("Waiting: ")
        groups.setdefault((job.reason.value, job.queue_key, job.class_name, words), []).append(job.job_id)
    return [
        WaitingView(
            reason=reason, queue=queue, vm_class=vm_class, count=len(jobs), words=words, first_jobs=tuple(jobs[:5])
        )
        for (reason, queue, vm_class, words), jobs in groups.items()
    ]


def _held(stack: Stack, hold: Hold) -> HeldView:
    return HeldView(
        instance_id=hold.instance_id,
        vm_class=hold.class_name,
        until=hold.until,
        connect=command(*shell_on(stack, hold.instance_id)),
    )


def _by_phase(
    machines: Sequence[vms.Machine],
    runs: Mapping[str, Run],
    held: Container[str],
    standby: Mapping[str, StandbyVm],
) -> list[VmsView]:
    grouped: dict[tuple[str, str], list[datetime]] = {}
    for machine in machines:
        key = (machine.vm_class or "unknown", vms.phase(machine, runs, held, standby))
        grouped.setdefault(key, []).append(machine.launched_at)
    return [
        VmsView(vm_class=vm_class, phase=phase, count=len(times), oldest=min(times))
        for (vm_class, phase), times in sorted(grouped.items())
    ]


def _part(name: str, read: Callable[[], ValueT], unread: list[str]) -> ValueT | None:
    """One part of the view; None where AWS does not show it: the others are shown all the same."""
    try:
        return read()
    except (ClientError, BotoCoreError) as error:
        unread.append(f"{name}: {words_of(error)}")
        return None


def _errors(stack: Stack, now: datetime) -> list[ErrorView]:
    found = lines.errors(stack, since=now - ERRORS_SINCE)
    counts = Counter((line.message, line.function) for line in found)
    latest: dict[tuple[str, str], lines.Line] = {}
    for line in found:
        latest.setdefault((line.message, line.function), line)
    return [
        ErrorView(message=key[0], function=key[1], count=counts[key], latest=line.at, said=line.said)
        for key, line in list(latest.items())[:MOST_ERRORS]
    ]
