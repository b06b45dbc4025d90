"""A story in which every kind of stored item comes up, in every state, as neighbouring versions must read it.

The fixture of an earlier version holds the items that its writers left of the same story.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import Level, Pause
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName, InstanceArn, IntentId, JobId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, Moment, Outcome
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting, WaitingList, WaitReason
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm, job_id

SECOND = timedelta(seconds=1)
LARGE = ClassName("large")
QUEUE, OTHER = QueueKey("default"), QueueKey("linux.arm")
TTL = timedelta(seconds=90)

RESERVED = EPOCH + 1 * SECOND
BOUND = EPOCH + 5 * SECOND + timedelta(microseconds=250)
LATER = EPOCH + 60 * SECOND

MEMORY = LaunchMemory(
    unavailable_pools={"spot:m7i.large:eu-central-1a": LATER, "spot": LATER + SECOND},
    breakers={LARGE: Breaker(until=LATER, since=EPOCH, failures=2, message="InvalidAMIID.NotFound: gone")},
    instances=Level(tokens=12.5, at=EPOCH),
    requests=Level(tokens=49, at=RESERVED),
    pause=Pause(until=LATER, throttles=3),
    asked=((EPOCH, 3), (RESERVED, 40)),
    last_error_by_class={LARGE: "InsufficientInstanceCapacity: none left"},
)


def spot_vm(number: int) -> Vm:
    return a_vm(number, capacity_type=CapacityType.SPOT, zone="eu-central-1b", instance_type="c7i.xlarge")


# --- active runs: how each goes on after it was recorded ---

RUNS: dict[str, Callable[[Run], list[Run]]] = {
    "recorded": lambda run: [],
    "reserved": lambda run: [run.reserved(now=RESERVED, until=LATER)],
    "reservation lost": lambda run: [lost := run.reserved(now=RESERVED, until=LATER), _no_longer_ours(lost)],
    "given up": lambda run: [run.failing("No VM of class “default” could be had within 600 s.")],
    "booting": lambda run: [_on(run)],
    "told": lambda run: [booting := _on(run), booting.with_facts(notices_sent=frozenset({"vm_requested", "slow_240"}))],
    "revoked": lambda run: [booting := _on(run), booting.with_facts(credential_holder=CredentialHolder.TRACKER)],
    "running": lambda run: [booting := _on(run), _running(booting)],
    "job over": lambda run: [
        booting := _on(run),
        running := _running(booting),
        running.with_facts(job_over_at=LATER),
    ],
    "requeued after spot and capacity": lambda run: _lost(run, FailureKind.SPOT, FailureKind.CAPACITY),
    "requeued after EC2 and its boot program": lambda run: _lost(run, FailureKind.EC2, FailureKind.BOOT_PROGRAM),
    "requeued after agent and time-out": lambda run: _lost(run, FailureKind.AGENT, FailureKind.TIMEOUT),
    "requeued after a revocation": lambda run: _lost(run, FailureKind.REVOKED),
    "finishing": lambda run: [
        *(before := _lost(run, FailureKind.SPOT, FailureKind.TIMEOUT)),
        again := _on(before[-1]),
        again.finishing("3 VMs failed.", now=LATER),
    ],
}


def _no_longer_ours(run: Run) -> Run:
    return run.with_facts(reservation_lost=True)


def _on(run: Run) -> Run:
    """The run on a spot VM, of which it has had as many as attempts."""
    return run.bound(spot_vm(100 * int(run.job_id[-4:]) + run.attempt), now=BOUND)


def _running(run: Run) -> Run:
    return run.running(now=LATER, observed_moments={Moment.VM_RUNNING: BOUND + SECOND, Moment.AGENT_STARTED: LATER})


def _lost(run: Run, *kinds: FailureKind) -> list[Run]:
    """The run after it lost a VM in each of these ways; told once of each."""
    steps: list[Run] = []
    for kind in kinds:
        booting = _on(run)
        told = booting.with_facts(notices_sent=frozenset({f"relaunch_{booting.attempt}"}))
        failure = Failure(kind=kind, words="in words")
        run = told.requeued(failure, now=BOUND + 47 * SECOND, class_name=ClassName("large/fallback"))
        steps += [booting, told, run]
    return steps


def number_of(name: str) -> int:
    """Of the run of that name; its job's, too."""
    return 1 + list(RUNS).index(name)


def first(name: str) -> Run:
    """The first version of that run."""
    return replace(a_run(number_of(name), now=EPOCH), queue_key=OTHER, priority=7)


def latest(name: str) -> Run:
    """The version of that run at the end of the story."""
    return [first(name), *RUNS[name](first(name))][-1]


# --- ended runs ---

ENDED = {outcome: job_id(100 + number) for number, outcome in enumerate(Outcome)}
"""Those with an even number had a VM, and were told of it."""


def _ended(outcome: Outcome, job: JobId) -> list[Run]:
    run = a_run(int(job[-4:]))
    steps = [run]
    if int(job[-4:]) % 2 == 0:
        steps += [run := run.bound(a_vm(int(job[-4:])), now=BOUND)]
        steps += [run := run.with_facts(notices_sent=frozenset({"vm_requested"}))]
    return [*steps, run.ended(outcome, now=LATER)]


# --- launches ---

INTENTS = {
    "open": Intent(
        intent_id=IntentId("as-1"),
        class_name=LARGE,
        request='{"count": 2}',
        count=2,
        queues=(QUEUE, OTHER),
        created_at=BOUND,
    ),
    "spent": Intent(
        intent_id=IntentId("as-2"),
        class_name=LARGE,
        request='{"count": 3}',
        count=3,
        queues=(QUEUE,),
        created_at=EPOCH,
        spent=True,
        vms=(a_vm(1, intent_id=IntentId("as-2")), replace(spot_vm(2), intent_id=IntentId("as-2"))),
    ),
    "spent for nothing": Intent(
        intent_id=IntentId("as-3"),
        class_name=LARGE,
        request='{"count": 1}',
        count=1,
        queues=(),
        created_at=EPOCH,
        spent=True,
    ),
}

# --- those who wait ---

SINCE = frozenset({WaitReason.NO_CLASS, WaitReason.PAUSED, WaitReason.REFUSED, WaitReason.CYCLE_ROOM})
"""Reasons that came after 0.1.0, which passes over them."""

REASONS = tuple(reason for reason in WaitReason if reason not in SINCE)

WAITING = WaitingList(
    at=BOUND,
    jobs=tuple(
        Waiting(job_id=job_id(200 + place), queue_key=OTHER, class_name=LARGE, reason=reason, words=f"{place}")
        for place, reason in enumerate(REASONS * 2)
    ),
)
TOLD = (WAITING.jobs[0], replace(WAITING.jobs[1], job_id=WAITING.jobs[0].job_id))
"""What one job was told of."""

# --- mailboxes ---

MAILBOXES = {
    name: 301 + number
    for number, name in enumerate(
        ("filled", "reported", "taken", "lost", "given again", "revoked", "agent started", "failed")
    )
}
"""The numbers of their VMs and jobs."""


def arn_of(mailbox: str) -> InstanceArn:
    return a_vm(MAILBOXES[mailbox]).arn


def tell(tables: Tables) -> None:
    """The story, by this version's own writers."""
    held = tables.dispatcher_lease.acquire("the first", now=EPOCH, ttl=TTL)
    assert held is not None
    for name, goes_on in RUNS.items():
        _write(tables, [first(name), *goes_on(first(name))])
    for outcome, job in ENDED.items():
        *steps, end = _ended(outcome, job)
        _write(tables, steps)
        tables.ledger.end([end])
    _launches(tables, held.fence)
    _mailboxes(tables)
    tables.dispatcher_lease.signal("the second", handover=True)


def _launches(tables: Tables, fence: int) -> None:
    ledger = tables.ledger
    for intent in INTENTS.values():
        ledger.write_intent(replace(intent, spent=False, vms=()), fence=fence)
        if intent.spent:
            ledger.spend_intent(intent)
    ledger.remember_launches(MEMORY, fence=fence)
    ledger.list_waiting(WAITING)
    for told in TOLD:
        ledger.claim_notices([told])


def _mailboxes(tables: Tables) -> None:
    for number in MAILBOXES.values():
        run = replace(a_run(number), queue_key=OTHER)
        _write(tables, [run, run.bound(a_vm(number), now=BOUND)])
    for name in ("taken", "lost", "given again", "agent started"):
        tables.vm_takes(arn_of(name))
    tables.vm_reports(arn_of("reported"), BootStage.AGENT_INSTALLING, "agent 3.99", 12.5)
    for name in ("lost", "given again"):
        tables.vm_reports(arn_of(name), BootStage.CREDENTIAL_LOST, "", 20)
    tables.mailbox.reissue(arn_of("given again"), "bkjat_another")
    tables.mailbox.revoke_credential(arn_of("revoked"))
    tables.vm_reports(arn_of("agent started"), BootStage.AGENT_STARTED, "", 31.25)
    tables.vm_reports(arn_of("failed"), BootStage.FAILED, "disk is full", 40)


def _write(tables: Tables, steps: Sequence[Run]) -> None:
    """A run, version by version, and its mailbox with the version that has a VM."""
    tables.ledger.record(steps[:1])
    for before, run in pairwise(steps):
        if run.binding is not None and before.binding is None:
            vm = a_vm(instance_id=run.binding.instance_id, arn=run.binding.arn)
            written = tables.ledger.bind([(run, a_letter(run, vm))])
        else:
            written = tables.ledger.update([run])
        assert written == [run]
