"""What the dispatcher may expect of the place where VMs find the boot program's second stage."""

import gzip
from datetime import timedelta

from agent_stack.domain.programs import VmProgram
from tests.contract.tables import AnyTables, Tables

FIRST, SECOND = VmProgram(text="echo first\n"), VmProgram(text="echo 'sécond'\n")


def known(tables: AnyTables) -> dict[str, bool]:
    return {program.sha256: program.superseded_at is None for program in tables.programs.published()}


def test_nothing_is_there_at_first(tables: AnyTables) -> None:
    assert tables.programs.published() == []


def test_the_latest_is_the_current_one(tables: AnyTables) -> None:
    tables.programs.publish(FIRST)
    tables.programs.publish(SECOND)
    assert known(tables) == {FIRST.sha256: False, SECOND.sha256: True}


def test_publishing_it_again_changes_nothing(tables: AnyTables) -> None:
    tables.programs.publish(FIRST)
    tables.programs.publish(SECOND)
    before = tables.programs.published()
    tables.clock.sleep(timedelta(minutes=5))
    tables.programs.publish(SECOND)
    assert sorted(tables.programs.published(), key=str) == sorted(before, key=str)


def test_after_a_rollback_the_old_one_is_the_current_one_again(tables: AnyTables) -> None:
    tables.programs.publish(FIRST)
    tables.programs.publish(SECOND)
    tables.programs.publish(FIRST)
    assert known(tables) == {FIRST.sha256: True, SECOND.sha256: False}


def test_what_was_removed_is_gone_and_may_be_removed_again(tables: AnyTables) -> None:
    tables.programs.publish(FIRST)
    tables.programs.publish(SECOND)
    tables.programs.remove(FIRST.sha256)
    tables.programs.remove(FIRST.sha256)
    assert known(tables) == {SECOND.sha256: True}


def test_a_vm_finds_the_text_under_its_hash_for_as_long_as_it_is_published(tables: AnyTables) -> None:
    tables.programs.publish(SECOND)
    if not isinstance(tables, Tables):
        return  # no VM reads the one in memory
    (item,) = [item for item in tables.items("MailboxTable") if "program" in item]
    assert item["instance_arn"] == {"S": f"program#{SECOND.sha256}"}
    assert gzip.decompress(item["program"]["B"]).decode() == SECOND.text
    assert "expires_at" not in item
