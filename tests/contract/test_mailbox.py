"""What the tracker may expect of the mailboxes, and what a VM finds in its own."""

import pytest

from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import Baton, BootStage
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm

ARN = a_vm().arn


@pytest.fixture
def filled(tables: Tables) -> Tables:
    (run,) = tables.ledger.record([a_run()])
    bound = run.bound(a_vm(), now=EPOCH)
    tables.ledger.bind([(bound, a_letter(bound, a_vm()))])
    return tables


def take_as_the_vm(tables: Tables) -> None:
    tables.client.update_item(
        TableName="MailboxTable",
        Key={"instance_arn": {"S": ARN}},
        UpdateExpression="REMOVE credential SET stage = :stage, stage_seconds = :seconds, detail = :detail",
        ConditionExpression="attribute_exists(credential)",
        ExpressionAttributeValues={
            ":stage": {"S": "credential_taken"},
            ":seconds": {"N": "12.5"},
            ":detail": {"S": "line one\nline two" + "x" * 1000},
        },
    )


def test_who_takes_the_baton_first_has_it(filled: Tables) -> None:
    assert filled.mailbox.take_baton(ARN)
    with pytest.raises(filled.client.exceptions.ConditionalCheckFailedException):
        take_as_the_vm(filled)
    assert filled.mailbox.read([ARN])[ARN].baton is Baton.TRACKER


def test_taking_it_again_is_having_it(filled: Tables) -> None:
    assert filled.mailbox.take_baton(ARN)
    assert filled.mailbox.take_baton(ARN)


def test_a_vm_that_has_it_keeps_it(filled: Tables) -> None:
    take_as_the_vm(filled)
    assert not filled.mailbox.take_baton(ARN)
    assert filled.mailbox.read([ARN])[ARN].baton is Baton.VM


def test_a_credential_is_renewed_until_somebody_takes_it(filled: Tables) -> None:
    assert filled.mailbox.renew(ARN, "bkjat_fresh")
    assert filled.items("MailboxTable")[0]["credential"] == {"S": "bkjat_fresh"}
    take_as_the_vm(filled)
    assert not filled.mailbox.renew(ARN, "bkjat_late")
    assert "credential" not in filled.items("MailboxTable")[0]


def test_the_vms_own_words_are_cropped_and_printable(filled: Tables) -> None:
    take_as_the_vm(filled)
    mail = filled.mailbox.read([ARN])[ARN]
    assert (mail.stage, mail.stage_seconds) == (BootStage.CREDENTIAL_TAKEN, 12.5)
    assert len(mail.detail) == 300
    assert mail.detail.startswith("line one line two")


def test_a_mailbox_that_is_not_there_is_left_out(filled: Tables) -> None:
    other = InstanceArn("arn:aws:ec2:eu-central-1:123456789012:instance/i-none")
    assert set(filled.mailbox.read([ARN, other])) == {ARN}
    assert not filled.mailbox.take_baton(other)
    assert len(filled.items("MailboxTable")) == 1


def test_reading_keeps_no_credential(filled: Tables) -> None:
    assert "bkjat_secret" not in repr(filled.mailbox.read([ARN]))
