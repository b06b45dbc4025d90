"""What the tracker may expect of the mailboxes, and what a VM finds in its own."""

import pytest

from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import BootStage, CredentialHolder
from agent_stack.ports import ClosedMailboxes
from tests.contract.tables import AnyTables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm

ARN = a_vm().arn


@pytest.fixture
def filled(tables: AnyTables) -> AnyTables:
    (run,) = tables.ledger.record([a_run()])
    bound = run.bound(a_vm(), now=EPOCH)
    tables.ledger.bind([(bound, a_letter(bound, a_vm()))])
    return tables


def test_who_takes_the_baton_first_has_it(filled: AnyTables) -> None:
    assert filled.mailbox.revoke_credential(ARN)
    assert filled.vm_takes(ARN) is None
    assert filled.mailbox.read([ARN])[ARN].credential_holder is CredentialHolder.TRACKER


def test_a_mailbox_that_is_closed_takes_no_assignment(tables: AnyTables) -> None:
    for _ in range(2):
        assert tables.ledger.close_mailboxes([ARN]) == ClosedMailboxes(closed=frozenset({ARN}))
    (run,) = tables.ledger.record([a_run()])
    bound = run.bound(a_vm(), now=EPOCH)
    assert tables.ledger.bind([(bound, a_letter(bound, a_vm()))]) == []
    assert tables.ledger.active_runs() == [run]
    assert tables.mailbox.read([ARN])[ARN].closed
    assert not tables.mailbox.revoke_credential(ARN)
    assert not tables.mailbox.reissue(ARN, "bkjat_x")
    assert tables.vm_takes(ARN) is None


def test_a_mailbox_that_has_an_assignment_is_not_closed_and_stays_as_it_is(filled: AnyTables) -> None:
    other = a_vm(2).arn
    assert filled.ledger.close_mailboxes([ARN, other]) == ClosedMailboxes(closed=frozenset({other}))
    assert not filled.mailbox.read([ARN])[ARN].closed
    assert filled.vm_takes(ARN) is not None


def test_taking_it_again_is_having_it(filled: AnyTables) -> None:
    assert filled.mailbox.revoke_credential(ARN)
    assert filled.mailbox.revoke_credential(ARN)


def test_a_vm_that_has_it_keeps_it(filled: AnyTables) -> None:
    assert filled.vm_takes(ARN) is not None
    assert not filled.mailbox.revoke_credential(ARN)
    assert filled.mailbox.read([ARN])[ARN].credential_holder is CredentialHolder.VM


def test_a_credential_is_renewed_until_somebody_takes_it(filled: AnyTables) -> None:
    assert filled.mailbox.renew(ARN, "bkjat_fresh")
    assert filled.vm_takes(ARN) == "bkjat_fresh"
    assert not filled.mailbox.renew(ARN, "bkjat_late")
    assert filled.vm_takes(ARN) is None


def test_the_vms_own_words_are_cropped_and_printable(filled: AnyTables) -> None:
    assert filled.vm_takes(ARN) == "bkjat_secret"
    filled.vm_reports(ARN, "credential_taken", "line one\nline two" + "x" * 1000, 12.5)
    mailbox_status = filled.mailbox.read([ARN])[ARN]
    assert (mailbox_status.stage, mailbox_status.stage_seconds) == (BootStage.CREDENTIAL_TAKEN, 12.5)
    assert len(mailbox_status.detail) == 300
    assert mailbox_status.detail.startswith("line one line two")


def test_a_mailbox_that_is_not_there_is_left_out(filled: AnyTables) -> None:
    other = InstanceArn("arn:aws:ec2:eu-central-1:123456789012:instance/i-none")
    assert set(filled.mailbox.read([ARN, other])) == {ARN}
    assert not filled.mailbox.revoke_credential(other)
    assert set(filled.mailbox.read([ARN, other])) == {ARN}


def test_reading_keeps_no_credential(filled: AnyTables) -> None:
    assert "bkjat_secret" not in repr(filled.mailbox.read([ARN]))


def test_a_vm_that_lost_its_credential_gets_another_three_times_at_most(filled: AnyTables) -> None:
    filled.vm_takes(ARN)
    assert not filled.mailbox.reissue(ARN, "bkjat_nobody_asked")
    for number in range(3):
        filled.vm_reports(ARN, "credential_lost", "", 1.0)
        assert filled.mailbox.reissue(ARN, f"bkjat_{number}")
        assert not filled.mailbox.reissue(ARN, "bkjat_twice")
        assert filled.vm_takes(ARN) == f"bkjat_{number}"
    filled.vm_reports(ARN, "credential_lost", "", 1.0)
    assert not filled.mailbox.reissue(ARN, "bkjat_fourth")


def test_what_we_took_back_is_never_given_again(filled: AnyTables) -> None:
    filled.mailbox.revoke_credential(ARN)
    filled.vm_reports(ARN, "credential_lost", "", 1.0)
    assert not filled.mailbox.reissue(ARN, "bkjat_again")


def test_a_vm_is_told_of_its_hold_only_when_the_tracker_has_its_credential(filled: AnyTables) -> None:
    assert not filled.mailbox.hold(ARN, 600)
    assert filled.vm_reads_hold(ARN) is None
    assert filled.mailbox.revoke_credential(ARN)
    assert filled.mailbox.hold(ARN, 600)
    assert filled.mailbox.hold(ARN, 590)
    assert filled.vm_reads_hold(ARN) == 590


def test_a_vm_that_took_its_credential_is_never_told_to_stay(filled: AnyTables) -> None:
    assert filled.vm_takes(ARN) is not None
    assert not filled.mailbox.hold(ARN, 600)
    assert not filled.mailbox.revoke_credential(ARN)
    assert not filled.mailbox.hold(ARN, 600)
    assert filled.vm_reads_hold(ARN) is None


def test_a_mailbox_that_is_gone_is_not_made_again(filled: AnyTables) -> None:
    assert not filled.mailbox.hold(a_vm(2).arn, 600)
    assert filled.mailbox.read([a_vm(2).arn]) == {}


def test_a_vm_that_waits_for_its_hold_says_so(filled: AnyTables) -> None:
    filled.vm_reports(ARN, "failed", "(waits) disk is on fire", 12.5)
    status = filled.mailbox.read([ARN])[ARN]
    assert (status.waits, status.detail) == (True, "disk is on fire")
    filled.vm_reports(ARN, "failed", "disk is on fire (waits) ", 12.5)
    assert not filled.mailbox.read([ARN])[ARN].waits
