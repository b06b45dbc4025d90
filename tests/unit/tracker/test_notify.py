"""The steps that tell: each thing once, bounded, remembered before it is sent; and the list of those who wait."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.admit import Admit
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.publish_wait_reasons import MIN_INTERVAL, REFRESH_INTERVAL, PublishWaitReasons
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import Budget, Level
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.policy import NotificationLevel
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, Moment, VmState
from agent_stack.domain.vms import MailboxStatus
from agent_stack.domain.waiting import MAX_NOTICES_PER_CYCLE, Waiting, WaitingList, WaitReason
from agent_stack.ports import Claims, JobStates, Notification
from agent_stack.tracker.cycle import TrackerCycle, TrackerStep
from agent_stack.tracker.decide import Decide
from agent_stack.tracker.notify_waiting import READ_INTERVAL, NotifyWaiting
from agent_stack.tracker.remember_notices import MAX_NOTICES_OF_RUNS, RememberNotices
from agent_stack.tracker.send_notifications import SendNotifications
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import (
    AtOnce,
    a_book,
    a_capacity,
    a_class,
    a_prefetch,
    a_quota_watch,
    a_vcpu_cache,
    an_in_flight,
)
from tests.unit.values import a_job, a_policy, a_run, a_vm, job_id

DEFAULT = ClassName("default")
BOOK = ClassBook(
    classes={DEFAULT: VmClass(name=DEFAULT, instance_types=("m7i.large",), image="ami-1", max_instances=2)},
    default=DEFAULT,
)
SECOND = timedelta(seconds=1)


class Pages:
    """Buildkite's build pages, and its job states."""

    def __init__(self, states: Mapping[JobId, JobState] | None = None) -> None:
        self.notices_sent: list[tuple[JobId, str]] = []
        self.requests = 0
        self._states = states or {}

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        self.requests += 1
        self.notices_sent += [(notification.job_id, notification.text) for notification in notifications]
        return {}

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        return JobStates(states={job_id: self._states[job_id] for job_id in job_ids if job_id in self._states})


def situation(run: Run, state: JobState | None = JobState.RESERVED, **changes: object) -> Situation:
    values: dict[str, Any] = {
        "run": run,
        "vm": a_vm(state=VmState.RUNNING),
        "described": True,
        "job_state": state,
        "mailbox_status": MailboxStatus(credential_holder=run.credential_holder),
        "boot_timeout": timedelta(seconds=300),
        "policy": a_policy(),
        "now": EPOCH + SECOND,
        **changes,
    }
    return Situation(**values)


def booting(ledger: MemoryLedger, number: int = 1, **changes: object) -> Run:
    run = replace(a_run(number).bound(a_vm(number), now=EPOCH), version=1, **changes)  # type: ignore[arg-type]
    (recorded,) = ledger.record([run])
    return recorded


def tick_of(*situations: Situation, now: datetime = EPOCH + SECOND) -> TrackerCycle:
    return Decide(telemetry=RecordedTelemetry())(TrackerCycle(now=now, situations=situations))


# --- tell ---


def then_sent(step: TrackerStep, pages: Any) -> TrackerStep:  # noqa: ANN401  (what stands for the port)
    send = SendNotifications(stacks=pages, clock=VirtualClock(), telemetry=RecordedTelemetry())
    return lambda cycle: send(step(cycle))


def tell(pages: Any, ledger: Any, **policy: object) -> TrackerStep:  # noqa: ANN401  (what stands for the ports)
    return then_sent(RememberNotices(ledger=ledger, policy=a_policy(**policy), telemetry=RecordedTelemetry()), pages)


def test_what_was_told_is_not_told_again() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    booting(ledger)
    for _ in range(3):
        (run,) = ledger.active_runs()
        tell(pages, ledger)(tick_of(situation(run)))
    assert len(pages.notices_sent) == 1
    assert pages.requests == 1


def test_what_cannot_be_remembered_is_not_sent() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    run = booting(ledger)
    ledger.update([run.with_facts()])  # somebody else has written the run since
    tell(pages, ledger)(tick_of(situation(run)))
    assert pages.notices_sent == []


@pytest.mark.parametrize("left", [2, 1, 0, -1])
def test_a_job_is_told_so_much_and_no_more_over_all_its_attempts(left: int) -> None:
    """Another version may allow more."""
    pages, ledger = Pages(), MemoryLedger(store=Store())
    run = booting(ledger, notices_sent_before=MAX_NOTICES_OF_RUNS - left)
    slow = situation(run, now=EPOCH + timedelta(seconds=61))
    tell(pages, ledger, notification_level=NotificationLevel.VERBOSE)(tick_of(slow, now=slow.now))
    assert len(pages.notices_sent) == max(0, left)


def test_the_moments_of_a_boot_are_written_down_even_where_nothing_is_told() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    run = booting(ledger)
    quiet = tell(pages, ledger, notification_level=NotificationLevel.QUIET)
    quiet(tick_of(situation(run)))
    (run,) = ledger.active_runs()
    assert run.timeline[Moment.VM_RUNNING] == EPOCH + SECOND
    version = run.version
    quiet(tick_of(situation(run)))
    assert ledger.active_runs()[0].version == version
    started = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_STARTED)
    quiet(tick_of(situation(run, mailbox_status=started)))
    assert Moment.AGENT_STARTED in ledger.active_runs()[0].timeline
    assert pages.requests == 0


# --- explain ---


def waits(number: int, reason: WaitReason = WaitReason.MAX_INSTANCES, queue: str = "default") -> Waiting:
    return Waiting(job_id=job_id(number), queue_key=QueueKey(queue), class_name=DEFAULT, reason=reason)


def explain(pages: Any, ledger: Any, **policy: object) -> TrackerStep:  # noqa: ANN401  (what stands for the ports)
    return then_sent(NotifyWaiting(ledger=ledger, policy=a_policy(**policy), telemetry=RecordedTelemetry()), pages)


def test_each_waiting_job_is_told_each_reason_once_even_by_two_trackers() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    one, other = explain(pages, ledger), explain(pages, ledger)
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1), waits(2, queue="second"))))
    for step in (one, other):
        step(TrackerCycle(now=EPOCH))
    assert sorted(job for job, _ in pages.notices_sent) == [job_id(1), job_id(2)]
    assert pages.requests == 2
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1, WaitReason.NO_CAPACITY),)))
    for step in (one, other):
        step(TrackerCycle(now=EPOCH + READ_INTERVAL))
    assert len(pages.notices_sent) == 3


def test_so_many_are_told_in_one_tick_and_the_others_in_the_next() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    step = explain(pages, ledger)
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=tuple(waits(n) for n in range(1, 251))))
    counts = []
    for second in range(5):
        step(TrackerCycle(now=EPOCH + second * SECOND))
        counts.append(len(pages.notices_sent))
    assert counts == [MAX_NOTICES_PER_CYCLE, 200, 250, 250, 250]


def test_a_notification_whose_claim_failed_is_claimed_again() -> None:
    class TakesOne(MemoryLedger):
        """The first time only."""

        takes = 1

        def claim_notices(self, waiting: Sequence[Waiting]) -> Claims:
            taken, TakesOne.takes = waiting[: TakesOne.takes], 9
            return replace(MemoryLedger.claim_notices(self, taken), undecided=waiting[len(taken) :])

    pages, ledger = Pages(), TakesOne(store=Store())
    step = explain(pages, ledger)
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1), waits(2))))
    for seconds in range(3):
        step(TrackerCycle(now=EPOCH + seconds * READ_INTERVAL))
    assert [job for job, _ in pages.notices_sent] == [job_id(1), job_id(2)]


def test_the_list_is_not_read_every_second() -> None:
    class Counted(MemoryLedger):
        reads = 0

        def waiting(self) -> WaitingList | None:
            Counted.reads += 1
            return None

    step = explain(Pages(), Counted(store=Store()))
    for second in range(10):
        step(TrackerCycle(now=EPOCH + second * SECOND))
    assert Counted.reads == 2


def test_a_job_that_has_a_vm_by_now_is_not_told_that_it_waits() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1), waits(2))))
    explain(pages, ledger)(TrackerCycle(now=EPOCH, situations=(situation(booting(ledger, 1)),)))
    assert [job for job, _ in pages.notices_sent] == [job_id(2)]


def test_at_the_quiet_level_nobody_is_told_that_they_wait() -> None:
    pages, ledger = Pages(), MemoryLedger(store=Store())
    ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1),)))
    explain(pages, ledger, notification_level=NotificationLevel.QUIET)(TrackerCycle(now=EPOCH))
    assert pages.notices_sent == []


def test_a_job_that_no_class_fits_is_told_once_at_every_level() -> None:
    for level in NotificationLevel:
        pages, ledger = Pages(), MemoryLedger(store=Store())
        ledger.list_waiting(WaitingList(at=EPOCH, jobs=(waits(1, WaitReason.NO_CLASS),)))
        step = explain(pages, ledger, notification_level=level)
        for seconds in range(30):
            step(TrackerCycle(now=EPOCH + seconds * SECOND))
        assert [job for job, _ in pages.notices_sent] == [job_id(1)]


# --- note ---


def note(ledger: Any, **policy: object) -> PublishWaitReasons:  # noqa: ANN401  (a ledger, or what stands for one)
    values = a_policy(**policy)
    return PublishWaitReasons(
        capacity=a_capacity(ledger=ledger),
        vcpus=a_vcpu_cache(),
        ledger=ledger,
        workers=AtOnce(),
        policy=values,
        telemetry=RecordedTelemetry(),
    )


@pytest.mark.parametrize(("reason", "words"), [(WaitReason.MAX_VCPUS, ""), (WaitReason.CLASS_MAXIMUM, "3")])
def test_a_reserved_job_that_waits_for_a_maximum_reads_which(reason: WaitReason, words: str) -> None:
    ledger = MemoryLedger(store=Store())
    book = a_book(a_class(DEFAULT, max_instances=3))
    cycle = DispatcherCycle(now=EPOCH + 60 * SECOND, fence=1, ready=(a_run(1, class_name=DEFAULT),), book=book)
    note(ledger)(replace(cycle, held_back={DEFAULT: reason}))
    listed = ledger.waiting()
    assert listed is not None
    assert [(one.reason, one.words) for one in listed.jobs] == [(reason, words)]


def test_the_list_is_written_when_it_changed_and_not_too_often() -> None:
    ledger = MemoryLedger(store=Store())
    step = note(ledger)
    step(DispatcherCycle(now=EPOCH, fence=1))
    assert ledger.waiting() is None
    written = []
    for second in range(0, 90, 5):
        now = EPOCH + second * SECOND
        jobs = (waits(1), waits(2)) if second < 30 else (waits(2),)
        step(DispatcherCycle(now=now, fence=1, waiting=jobs))
        listed = ledger.waiting()
        assert listed is not None
        written.append((listed.at - EPOCH).total_seconds())
    assert list(dict.fromkeys(written)) == [0, 30]
    step(DispatcherCycle(now=EPOCH + 30 * SECOND + REFRESH_INTERVAL, fence=1, waiting=(waits(2),)))
    listed = ledger.waiting()
    assert listed is not None
    assert listed.at == EPOCH + 30 * SECOND + REFRESH_INTERVAL
    step(DispatcherCycle(now=listed.at + MIN_INTERVAL, fence=1))
    assert ledger.waiting() == WaitingList(at=listed.at + MIN_INTERVAL)


@pytest.mark.parametrize(
    ("memory", "policy", "reason"),
    [
        (LaunchMemory(), {"launch_enabled": False}, WaitReason.LAUNCH_DISABLED),
        (
            LaunchMemory(
                breakers={
                    DEFAULT: Breaker(until=EPOCH + timedelta(hours=1), since=EPOCH, failures=1, message="InvalidAMIID")
                }
            ),
            {},
            WaitReason.BROKEN,
        ),
        (LaunchMemory(unavailable_pools={"on-demand": EPOCH + timedelta(hours=1)}), {}, WaitReason.QUOTA),
        (
            LaunchMemory(unavailable_pools={"on-demand:m7i.large:a": EPOCH + timedelta(hours=1)}),
            {},
            WaitReason.NO_CAPACITY,
        ),
        (
            LaunchMemory(instances=Level(tokens=0, at=EPOCH)),
            {"instance_budget": Budget(burst=10, per_second=0.001)},
            WaitReason.EC2_BUDGET,
        ),
        (LaunchMemory(unavailable_pools={"spot:m7i.large:a": EPOCH + timedelta(hours=1)}), {}, None),
    ],
)
def test_a_run_without_a_vm_is_listed_with_what_keeps_ec2_from_giving_one(
    memory: LaunchMemory, policy: dict[str, object], reason: WaitReason | None
) -> None:
    ledger = MemoryLedger(store=Store())
    ledger.remember_launches(memory, fence=1)
    now = EPOCH + timedelta(seconds=31)
    ready = (a_run(1), a_run(2), a_run(3, now=now))
    cycle = DispatcherCycle(now=now, fence=1, book=BOOK, ready=ready, bound=(a_run(2),))
    note(ledger, **policy)(cycle)
    listed = ledger.waiting()
    assert [(w.job_id, w.reason) for w in (listed.jobs if listed else ())] == ([(job_id(1), reason)] if reason else [])


def test_a_list_that_cannot_be_written_costs_nothing() -> None:
    class Throttled(MemoryLedger):
        def list_waiting(self, waiting: WaitingList) -> None:
            raise RetryError("throttled")

    cycle = DispatcherCycle(now=EPOCH, fence=1, waiting=(waits(1),))
    assert note(Throttled(store=Store()))(cycle) == cycle


# --- admit ---


@pytest.mark.parametrize(
    ("policy", "admitted", "reason"),
    [
        ({"launch_enabled": False}, 0, WaitReason.LAUNCH_DISABLED),
        ({"max_instances": 1}, 1, WaitReason.MAX_INSTANCES),
        ({"max_launches_per_minute": 1}, 1, WaitReason.LAUNCH_RATE),
        ({"instance_budget": Budget(burst=1, per_second=0.001)}, 1, WaitReason.EC2_BUDGET),
        ({"max_vcpus": 2}, 1, WaitReason.MAX_VCPUS),
        ({}, 2, WaitReason.CLASS_MAXIMUM),
    ],
)
def test_a_job_that_is_not_admitted_has_a_reason(policy: dict[str, object], admitted: int, reason: WaitReason) -> None:
    ledger: Any = MemoryLedger(store=Store())
    values = a_policy(**policy)
    capacity = a_capacity(ledger=ledger)
    listed = tuple(a_job(n, scheduled_at=EPOCH - timedelta(seconds=40 - n)) for n in range(1, 5))
    fresh = a_job(9, scheduled_at=EPOCH)
    cycle = DispatcherCycle(now=EPOCH, fence=1, book=BOOK, listed=(*listed, fresh))
    vcpus = a_vcpu_cache()
    after = Admit(
        capacity=capacity,
        in_flight=an_in_flight(),
        prefetch=a_prefetch(capacity, values),
        quotas=a_quota_watch(vcpus),
        vcpus=vcpus,
        policy=values,
        clock=VirtualClock(),
        telemetry=RecordedTelemetry(),
    )(cycle)
    assert len(after.admitted) == admitted
    assert [(w.job_id, w.reason) for w in after.waiting] == [(job_id(n), reason) for n in range(admitted + 1, 5)]


# --- decide ---


def test_what_is_odd_is_said_once() -> None:
    ledger, telemetry = MemoryLedger(store=Store()), RecordedTelemetry()
    run = booting(ledger).running(now=EPOCH, observed_moments={})
    step = Decide(telemetry=telemetry)
    for _ in range(3):
        step(TrackerCycle(now=EPOCH, situations=(situation(run, JobState.RESERVED),)))
    assert telemetry.messages() == ["run_decided"]
