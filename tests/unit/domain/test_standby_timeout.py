"""How long a standby VM may be silent once it has a job."""

from datetime import timedelta

import pytest

from agent_stack.domain.situations import STANDBY_TIMEOUT, BootAge, Situation
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, VmState
from agent_stack.domain.vms import MailboxStatus
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm

BOOT = timedelta(minutes=5)
SILENT = MailboxStatus(credential_holder=CredentialHolder.MAILBOX)
SECOND = timedelta(seconds=1)


def situation(
    age: timedelta, since: timedelta, status: MailboxStatus | None = SILENT, *, standby: bool = True
) -> Situation:
    """A run that was bound that long ago, to a VM that was then of that age."""
    vm = a_vm(1, state=VmState.RUNNING, launched_at=EPOCH - age, hold=timedelta(hours=4) if standby else None)
    return Situation(
        run=a_run(1).bound(vm, now=EPOCH),
        vm=vm,
        described=True,
        job_state=JobState.RESERVED,
        mailbox_status=status,
        boot_timeout=BOOT,
        policy=a_policy(),
        now=EPOCH + since,
    )


def test_a_prepared_vm_that_is_silent_is_late_after_twenty_seconds() -> None:
    hour = timedelta(hours=1)
    assert situation(hour, STANDBY_TIMEOUT - SECOND).boot_age is BootAge.EARLY
    assert situation(hour, STANDBY_TIMEOUT).boot_age is BootAge.LATE


def test_a_young_one_may_prepare_itself_for_as_long_as_a_boot_may_take() -> None:
    young = timedelta(minutes=1)
    assert situation(young, timedelta(minutes=4) - SECOND).boot_age is BootAge.EARLY
    assert situation(young, timedelta(minutes=4)).boot_age is BootAge.LATE


@pytest.mark.parametrize(
    "status",
    [
        None,
        MailboxStatus(credential_holder=CredentialHolder.VM),
        MailboxStatus(credential_holder=CredentialHolder.MAILBOX, stage=BootStage.BOOTING),
    ],
    ids=["mailbox not read", "took the credential", "says that it boots"],
)
def test_one_that_lives_or_may_live_has_its_classs_time(status: MailboxStatus | None) -> None:
    assert situation(timedelta(hours=1), STANDBY_TIMEOUT, status).timeout == BOOT


def test_a_vm_that_was_launched_for_the_job_has_its_classs_time() -> None:
    assert situation(timedelta(minutes=1), STANDBY_TIMEOUT, standby=False).timeout == BOOT


def test_a_job_on_a_vm_that_stood_by_for_long_is_not_beyond_its_lifetime() -> None:
    old = a_policy().max_lifetime + timedelta(hours=1)
    assert situation(old, SECOND).boot_age is BootAge.EARLY
    assert situation(old, SECOND, standby=False).boot_age is BootAge.BEYOND
