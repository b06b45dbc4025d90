"""What build pages are told reads well, fits, and is told from the right level on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.domain import notices
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.failure_report import MAX_DETAIL_BYTES, failure_report
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.notices import MAX_CHARACTERS, SLOW_BOOT_MINUTES, NoticeKind, is_sent_at
from agent_stack.domain.policy import NotificationLevel
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, JobState, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.domain.waiting import STALE_AFTER, Waiting, WaitingList, WaitReason, waiting_notice
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm, job_id

LONG = "wörds " * 200
A_LONG_VM = a_vm(
    instance_type="u-24tb1.112xlarge", zone="us-gov-west-1a", capacity_type=CapacityType.SPOT, reason="R" * 300
)


def situation(seconds: float = 0, attempt: int = 1, **changes: object) -> Situation:
    run = a_run(class_name=ClassName("c" * 60)).reserved(now=EPOCH, until=EPOCH + timedelta(hours=1))
    for _ in range(attempt):
        run = run.bound(A_LONG_VM, now=EPOCH)
    values = {
        "run": run,
        "vm": A_LONG_VM,
        "described": True,
        "job_state": JobState.RESERVED,
        "mailbox_status": MailboxStatus(credential_holder=CredentialHolder.MAILBOX, stage=BootStage.AGENT_INSTALLING),
        "boot_timeout": timedelta(seconds=300),
        "policy": a_policy(),
        "now": EPOCH + timedelta(seconds=seconds),
        **changes,
    }
    return Situation(**values)  # type: ignore[arg-type]  # its own fields


def held_by(holder: CredentialHolder) -> MailboxStatus:
    return MailboxStatus(credential_holder=holder, stage=BootStage.AGENT_INSTALLING)


def with_an_agent(seconds: float, job_state: JobState, vm: Vm = A_LONG_VM) -> Situation:
    run = situation().run.running(now=EPOCH, observed_moments={}).with_facts(job_over_at=EPOCH)
    return situation(seconds, run=run, job_state=job_state, vm=vm)


LATER = EPOCH + timedelta(minutes=120)
LOG_URL = "https://eu-central-1.console.aws.amazon.com/log-events/"
WITH_LOGS = a_policy(vm_log_url=LOG_URL)
TERMINATED, TAKEN_BACK = a_vm(state=VmState.TERMINATED), held_by(CredentialHolder.TRACKER)
TOLD_OF_MIRRORS = MailboxStatus(
    credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_STARTED, detail=f"(mirrors 1/3 90 s) {LONG}"
)
SENT_IN = {
    NoticeKind.VM_REQUESTED: situation(),
    NoticeKind.VM_RUNNING: situation(9, vm=a_vm(state=VmState.RUNNING)),
    NoticeKind.SLOW_BOOT: situation(200),
    NoticeKind.OVERDUE: situation(300, mailbox_status=held_by(CredentialHolder.VM)),
    NoticeKind.RELAUNCH: situation(300, mailbox_status=TAKEN_BACK),
    NoticeKind.CANCELLED: situation(mailbox_status=TAKEN_BACK, job_state=JobState.CANCELED),
    NoticeKind.CANCEL_FORCED: with_an_agent(300, JobState.CANCELING),
    NoticeKind.VM_LOST: with_an_agent(300, JobState.RUNNING, vm=TERMINATED),
    NoticeKind.MIRRORS_MISSING: situation(mailbox_status=TOLD_OF_MIRRORS, job_state=JobState.RUNNING),
    NoticeKind.VM_LOG: replace(with_an_agent(300, JobState.RUNNING, vm=TERMINATED), policy=WITH_LOGS),
}
"""For each kind a situation whose decision sends it."""


FROM_THE_LIST = frozenset({NoticeKind.WAITING, NoticeKind.UNMATCHED})
"""Sent from the dispatcher's list of waiting jobs, by no decision."""

BY_A_STEP = frozenset({NoticeKind.VM_HELD})
"""Sent by `tracker.hold_failed_vms`, which knows what else is held; its own tests see it sent."""


@pytest.mark.parametrize("kind", [kind for kind in NoticeKind if kind not in FROM_THE_LIST | BY_A_STEP])
def test_each_kind_is_sent_by_a_decision(kind: NoticeKind) -> None:
    assert kind in {notice.kind for notice in decide(SENT_IN[kind]).notices}


def waits(reason: WaitReason) -> Waiting:
    return Waiting(
        job_id=job_id(), queue_key=QueueKey("q"), class_name=ClassName("c" * 60), reason=reason, words=LONG[:300]
    )


@pytest.mark.parametrize("kind", [kind for kind in FailureKind])  # noqa: C416  (an enumeration is no sequence)
def test_every_notice_of_a_vm_fits_and_says_what_comes_next(kind: FailureKind) -> None:
    failure = Failure(kind=kind, words=LONG)
    notices_sent = [
        notices.vm_requested(situation()),
        notices.vm_requested(situation(attempt=2)),
        notices.vm_running(situation(9)),
        *notices.mirrors_missing(situation(mailbox_status=TOLD_OF_MIRRORS)),
        notices.slow_boot(situation(500)),
        notices.overdue(situation(300)),
        notices.relaunch(situation(300), failure),
        notices.cancelled(situation()),
        notices.cancel_forced(situation()),
        notices.vm_lost(situation()),
        notices.vm_held(situation(), f"aws ssm start-session --target {A_LONG_VM.instance_id}", LATER),
    ]
    for notice in notices_sent:
        assert notice is not None
        assert len(notice.text) <= MAX_CHARACTERS
        assert "Next: " in notice.text
        assert A_LONG_VM.instance_id in notice.text
    assert {notice.kind for notice in notices_sent if notice} == set(NoticeKind) - {
        NoticeKind.WAITING,
        NoticeKind.UNMATCHED,
        NoticeKind.VM_LOG,
    }


@pytest.mark.parametrize("reason", list(WaitReason))
def test_every_reason_to_wait_fits_and_says_what_comes_next(reason: WaitReason) -> None:
    text = waiting_notice(waits(reason), a_policy(max_vcpus=10)).text
    assert len(text) <= MAX_CHARACTERS
    assert text.startswith("Waiting: ")
    assert "Next: " in text or text.endswith("…")


def test_a_slow_boot_is_told_at_one_two_four_and_eight_minutes() -> None:
    keys = [n.key for second in range(600) if (n := notices.slow_boot(situation(second))) is not None]
    assert list(dict.fromkeys(keys)) == [f"slow_boot_{minutes}" for minutes in SLOW_BOOT_MINUTES]


def test_the_last_attempt_does_not_promise_another_vm() -> None:
    last = notices.slow_boot(situation(60, attempt=3))
    assert last is not None
    assert "this job is failed by the stack, with the reason" in last.text


def test_each_level_tells_what_the_lower_ones_tell_and_more() -> None:
    by_level = [{kind for kind in NoticeKind if is_sent_at(kind, level)} for level in NotificationLevel]
    assert by_level[0] < by_level[1] < by_level[2] == set(NoticeKind)


def test_a_list_of_a_dispatcher_that_is_gone_tells_nothing() -> None:
    listed = WaitingList(at=EPOCH, jobs=(waits(WaitReason.NO_CAPACITY),))
    assert listed.current(EPOCH) == listed.jobs
    assert listed.current(EPOCH + STALE_AFTER) == ()


@pytest.mark.parametrize("kind", [None, *FailureKind])
def test_last_words_fit_and_name_a_remedy_whatever_was_said(kind: FailureKind | None) -> None:
    failure = None if kind is None else Failure(kind=kind, words=LONG)
    text = failure_report(situation(301, attempt=3), LONG, failure, "x\x1b[31m" * 9_000 + "the very end")
    assert len(text.encode()) <= MAX_DETAIL_BYTES
    assert "What an operator can change: " in text
    assert text.endswith("the very end")
    assert "\x1b" not in text


def test_last_words_tell_what_was_tried() -> None:
    run = a_run().bound(a_vm(1), now=EPOCH)
    spot = Failure(kind=FailureKind.SPOT, words="EC2 shows it terminated")
    run = run.requeued(spot, now=EPOCH + timedelta(seconds=48)).bound(a_vm(2), now=EPOCH)
    gone = a_vm(2, state=VmState.TERMINATED, reason="Client.InternalError")
    mailbox_status = MailboxStatus(
        credential_holder=CredentialHolder.TRACKER, stage=BootStage.PREPARING, stage_seconds=41.2
    )
    s = situation(
        60,
        run=run.with_facts(credential_holder=CredentialHolder.TRACKER),
        vm=gone,
        mailbox_status=mailbox_status,
        policy=a_policy(max_launch_attempts=2),
    )
    decided = decide(s)
    assert decided.action is Action.FINISH
    text = failure_report(s, decided.reason, decided.failure, "")
    assert "No agent could be started in 2 attempts: EC2 shows it terminated (Client.InternalError)." in text
    assert "1. i-00000000000000001 (m7i.large, on-demand, eu-central-1a), 48 s: EC2 interrupted it (spot)" in text
    assert "2. i-00000000000000002 (m7i.large, on-demand, eu-central-1a), 60 s: EC2 showed that it had ended" in text
    assert "Last boot stage: “preparing”, 41 s after it started" in text
    assert "encrypts the volume" in text
    assert "console shows nothing" in text


# --- the VM's own words, spot, and its log ---


def lost(detail: str, capacity_type: CapacityType = CapacityType.SPOT, reason: str = "") -> Situation:
    vm = a_vm(state=VmState.TERMINATED, capacity_type=capacity_type, reason=reason)
    run = a_run().bound(vm, now=EPOCH).running(now=EPOCH, observed_moments={})
    said = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_EXITED, detail=detail)
    return situation(300, run=run, vm=vm, job_state=JobState.RUNNING, mailbox_status=said, policy=WITH_LOGS)


@pytest.mark.parametrize(
    ("detail", "capacity_type", "reason", "spot"),
    [
        ("255 (spot notice) cancelled", CapacityType.SPOT, "", True),
        ("255 ", CapacityType.SPOT, "Server.SpotInstanceTermination", True),
        ("255 cancelled", CapacityType.SPOT, "Client.InstanceInitiatedShutdown", False),
        ("1 a job says (spot notice)", CapacityType.SPOT, "", False),
        ("255 (spot notice) a job lies", CapacityType.ON_DEMAND, "", False),
    ],
)
def test_the_page_says_spot_where_the_vm_or_ec2_says_so(
    detail: str,
    capacity_type: CapacityType,
    reason: str,
    spot: bool,  # noqa: FBT001  (a case)
) -> None:
    told = decide(lost(detail, capacity_type, reason)).notices[0].text
    assert ("was interrupted by EC2 (spot) while an agent had this job" in told) is spot


@pytest.mark.parametrize("code", ["0", "1", "2", "27", "255"])
def test_an_agent_that_left_its_job_is_quoted_at_every_exit_code(code: str) -> None:
    told = decide(lost(f"{code} {'x' * 250} the end")).notices[0].text
    assert "its agent ended: " + code in told
    assert "the end). Next: " in told


def test_a_long_reason_keeps_its_end_which_says_why() -> None:
    words = f"its agent ended without taking the job: 0 {'x' * 250} 404 Not Found"
    told = notices.relaunch(situation(), Failure(kind=FailureKind.AGENT, words=words)).text
    assert "its agent ended without" in told
    assert "404 Not Found. Next: " in told


def test_a_link_to_the_log_is_whole_or_is_not_told() -> None:
    s = lost("1 x")
    assert [n.text for n in notices.vm_log(s)] == [f"Log of the VM: {LOG_URL}{a_vm().instance_id}"]
    too_long = replace(s, policy=a_policy(vm_log_url=LOG_URL + "x" * 200))
    assert notices.vm_log(too_long) == ()
    assert LOG_URL + "x" * 200 + a_vm().instance_id in failure_report(
        too_long, "why", Failure(kind=FailureKind.AGENT, words="w"), None
    )


def test_a_vm_that_never_spoke_has_no_log_to_link_to() -> None:
    silent = situation(300, policy=WITH_LOGS, mailbox_status=MailboxStatus(credential_holder=CredentialHolder.MAILBOX))
    assert notices.vm_log(silent) == ()
    assert silent.run.binding is not None
    stood_by = replace(silent, run=replace(silent.run, binding=replace(silent.run.binding, standby=True)))
    assert [n.text for n in notices.vm_log(stood_by)] == [f"Log of the VM: {LOG_URL}{a_vm().instance_id}"]


def test_a_spot_notice_before_the_agent_had_the_job_is_a_spot_loss() -> None:
    vm = a_vm(capacity_type=CapacityType.SPOT)
    said = MailboxStatus(
        credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_EXITED, detail="255 (spot notice) cancelled"
    )
    decided = decide(
        situation(
            30,
            run=a_run().reserved(now=EPOCH, until=EPOCH + timedelta(hours=1)).bound(vm, now=EPOCH),
            vm=vm,
            mailbox_status=said,
        )
    )
    assert decided.action is Action.REQUEUE
    assert decided.failure is not None
    assert decided.failure.kind is FailureKind.SPOT


@pytest.mark.parametrize("detail", ["", "(mirrors 2/2 90 s) ", "mirrors", "(mirrors x/y 0 s) why"])
def test_a_page_is_told_of_mirrors_only_where_one_is_missing(detail: str) -> None:
    said = replace(TOLD_OF_MIRRORS, detail=detail)
    assert notices.mirrors_missing(situation(mailbox_status=said)) == ()
