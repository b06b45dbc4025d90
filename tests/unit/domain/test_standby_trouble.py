"""What suspends a class's standby VMs, and what slows their launches down."""

from datetime import timedelta

from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.standby_trouble import (
    FORGOTTEN_AFTER,
    LONGEST_PAUSE,
    MAX_CLASSES,
    MAX_COUNTED,
    SUSPENDED_FOR,
    Trouble,
    current,
)
from tests.simulator.clock import EPOCH

MINUTE = timedelta(minutes=1)
CALM = Trouble(at=EPOCH)


def ended(trouble: Trouble, number: int) -> Trouble:
    return trouble.ended([InstanceId(f"i-{number}")], "the boot failed", EPOCH)


def test_three_misses_in_a_row_suspend_the_class_and_two_do_not() -> None:
    two = CALM.missed(2, latest=EPOCH, now=EPOCH)
    assert not two.is_suspended(EPOCH)
    three = two.missed(1, latest=EPOCH + MINUTE, now=EPOCH + MINUTE)
    assert three.is_suspended(EPOCH + SUSPENDED_FOR)
    assert not three.is_suspended(EPOCH + MINUTE + SUSPENDED_FOR)
    assert "3 standby VMs in a row" in three.reason
    assert three.missed_at == EPOCH + MINUTE


def test_a_job_that_is_taken_in_between_ends_the_row() -> None:
    row = CALM.missed(2, latest=EPOCH, now=EPOCH).hit(EPOCH).missed(2, latest=EPOCH, now=EPOCH)
    assert not row.is_suspended(EPOCH)
    assert CALM.hit(EPOCH + MINUTE) == CALM


def test_three_that_end_unprepared_wait_one_minute_then_twice_as_long_up_to_fifteen() -> None:
    trouble, pauses = CALM, []
    for number in range(9):
        trouble = ended(trouble, number)
        pauses.append(None if trouble.retry_at is None else (trouble.retry_at - EPOCH) / MINUTE)
    assert pauses == [None, None, 1, 2, 4, 8, 15, 15, 15]
    assert trouble.reason == "the boot failed"
    assert not trouble.may_launch(EPOCH + LONGEST_PAUSE - MINUTE)
    assert trouble.may_launch(EPOCH + LONGEST_PAUSE)


def test_one_vm_is_counted_once_however_often_it_is_looked_at() -> None:
    trouble = CALM
    for _ in range(5):
        trouble = ended(trouble, 1)
    assert trouble.unprepared == 1


def test_a_vm_that_is_prepared_ends_the_row() -> None:
    trouble = ended(ended(ended(CALM, 1), 2), 3)
    assert trouble.prepared(EPOCH).may_launch(EPOCH)


def test_what_is_remembered_is_bounded_and_forgotten() -> None:
    trouble = CALM
    for number in range(3 * MAX_COUNTED):
        trouble = ended(trouble, number)
    assert len(trouble.counted) == MAX_COUNTED
    many = {ClassName(f"c{n}"): Trouble(at=EPOCH + MINUTE * n) for n in range(2 * MAX_CLASSES)}
    kept = current(many, EPOCH + 2 * MAX_CLASSES * MINUTE)
    assert len(kept) == MAX_CLASSES
    assert current(many, EPOCH + FORGOTTEN_AFTER + 2 * MAX_CLASSES * MINUTE) == {}
