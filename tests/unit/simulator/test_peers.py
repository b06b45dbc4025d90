"""The models of other ways to launch: they ask as often as they say, and EC2's budgets bind them as they bind us."""

import pytest

from tests.bench.peers import COOLDOWN_SECONDS, POLL_SECONDS, QUEUE_SECONDS, queue_fed, scaling_group


@pytest.mark.parametrize("jobs", [1, 10, 100])
def test_a_launcher_asks_once_for_ten_and_tags_and_writes_for_each(jobs: int) -> None:
    assert queue_fed(jobs).changes == -(-jobs // 10) + 2 * jobs


def test_a_launcher_waits_for_its_queue_and_one_batch_after_the_other() -> None:
    assert queue_fed(1).asked > QUEUE_SECONDS
    assert queue_fed(1_000).asked > 5 * queue_fed(100).asked


def test_a_group_asks_three_times_whatever_comes_and_its_vms_stay_up() -> None:
    one, many = scaling_group(1), scaling_group(1_000)
    assert one.requests == many.requests == 3
    assert POLL_SECONDS / 2 < one.asked < 1.5 * POLL_SECONDS
    assert one.tail == many.tail > 0


def test_a_group_in_its_cooldown_waits_for_its_end() -> None:
    waited = scaling_group(1, after_scale_out=60).asked
    assert COOLDOWN_SECONDS - 60 < waited < COOLDOWN_SECONDS - 60 + 2 * POLL_SECONDS


def test_ec2_grants_a_group_a_thousand_vms_at_once_and_two_a_second_after_them() -> None:
    assert scaling_group(1_100).asked - scaling_group(1_000).asked >= 40
