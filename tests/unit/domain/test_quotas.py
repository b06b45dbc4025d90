"""A quota as a ceiling: how much is asked for next, and whose turn it is."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.identifiers import Bucket, ClassName, JobId
from agent_stack.domain.quota_buckets import bucket_of, group_of, quota_name
from agent_stack.domain.quota_room import Applicant, QuotaRoom, turns_of
from agent_stack.domain.quotas import MAX_HELD, RETRIES_AFTER_AN_END, Ceiling, after_refusal, current
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.quotas import bucket_of as true_bucket
from tests.unit.domain.lessons import a_class, at

STANDARD = Bucket("on-demand:standard")


def refused(
    before: Ceiling | None = None, *, asked: int = 1, launched: int = 0, vcpus: int = 2, after: float = 0.0
) -> Ceiling:
    return after_refusal(
        before, asked=asked, launched=launched, vcpus=vcpus, code="VcpuLimitExceeded", message="", now=at(after)
    )


@pytest.mark.parametrize("instance_type", sorted(catalogue()))
def test_every_type_of_the_catalogue_counts_against_the_quota_of_its_group(instance_type: str) -> None:
    assert group_of(instance_type) == true_bucket(instance_type)


def test_quotas_have_the_names_that_service_quotas_shows() -> None:
    standard = "Standard (A, C, D, H, I, M, R, T, Z)"
    assert quota_name(bucket_of("m7i.large", CapacityType.ON_DEMAND)) == f"Running On-Demand {standard} instances"
    assert quota_name(bucket_of("m7i.large", CapacityType.SPOT)) == f"All {standard} Spot Instance Requests"
    assert quota_name(bucket_of("g5.xlarge", CapacityType.ON_DEMAND)) == "Running On-Demand G and VT instances"


def test_a_refusal_halves_the_request_down_to_one_and_then_the_quota_is_full() -> None:
    ceiling, asked, sizes = None, 20, []
    while True:
        sizes.append(asked)
        ceiling = refused(ceiling, asked=asked)
        asked = ceiling.vms_allowed(2, EPOCH)
        if not asked:
            break
    assert sizes == [20, 10, 5, 2, 1]
    assert ceiling.is_full(2)
    assert not ceiling.is_full(1)


def test_a_part_means_that_it_is_full_at_once() -> None:
    assert refused(asked=20, launched=2).vms_allowed(2, EPOCH) == 0


def test_where_ec2_names_the_ceiling_nothing_above_it_is_asked_for() -> None:
    words = "more vCPU capacity than your current vCPU limit of 5 allows"
    ceiling = after_refusal(None, asked=500, launched=0, vcpus=2, code="c", message=words, now=EPOCH)
    assert ceiling.vms_allowed(2, EPOCH) == 2
    none = after_refusal(None, asked=500, launched=0, vcpus=2, code="c", message=words.replace("5", "0"), now=EPOCH)
    assert none.is_full(1)


def test_after_an_end_it_is_tried_at_once_and_then_more_slowly() -> None:
    ceiling = refused().seen(vms=2, vcpus=4, now=EPOCH, full=True)
    assert ceiling.vms_allowed(2, at(179)) == 0
    assert ceiling.vms_allowed(2, at(180)) == 1
    ceiling = ceiling.seen(vms=1, vcpus=2, now=at(100), full=True)
    tried = []
    for second in range(100, 700):
        if ceiling.vms_allowed(2, at(second)):
            tried.append(second - 100)
            ceiling = refused(ceiling, after=second)
    assert tried == [0, 10, 30, 60, 240, 420]
    assert [timedelta(seconds=one) for one in tried[:4]] == list(RETRIES_AFTER_AN_END)


def test_what_an_end_freed_is_asked_for_in_one_request() -> None:
    ceiling = refused(asked=20, launched=10).seen(vms=10, vcpus=20, now=EPOCH, full=True)
    assert ceiling.seen(vms=6, vcpus=12, now=at(5), full=True).vms_allowed(2, at(5)) == 4


def test_room_that_others_gave_back_is_found_in_steps_that_double() -> None:
    ceiling = refused()
    sizes = []
    for _ in range(4):
        sizes.append(ceiling.vms_allowed(2, at(200)))
        ceiling = ceiling.granted(launched=sizes[-1], vcpus=2 * sizes[-1], now=at(200))
    assert sizes == [1, 2, 4, 8]


def test_a_large_vm_that_does_not_fit_leaves_small_ones_alone() -> None:
    ceiling = refused(vcpus=16)
    assert ceiling.is_full(16)
    assert ceiling.vms_allowed(2, EPOCH) == 7
    full = refused(refused(vcpus=2), vcpus=16)
    assert full.is_full(2)


def test_the_deadline_stands_still_only_while_vms_of_this_deployment_fill_it() -> None:
    ceiling = refused()
    for second in range(0, 100, 5):
        ceiling = ceiling.seen(vms=1, vcpus=2, now=at(second), full=True)
    for second in range(100, 200, 5):
        ceiling = ceiling.seen(vms=0, vcpus=0, now=at(second), full=True)
    assert ceiling.held_since(EPOCH) == timedelta(seconds=95)
    assert ceiling.held_since(at(50)) == timedelta(seconds=45)
    for second in range(200, 5_000, 50):
        ceiling = ceiling.seen(vms=1, vcpus=2, now=at(second), full=True)
    assert len(ceiling.held) == MAX_HELD


def test_a_ceiling_is_forgotten_when_nothing_was_refused_for_a_quarter_of_an_hour() -> None:
    assert current({STANDARD: refused()}, at(899)) != {}
    assert current({STANDARD: refused()}, at(900)) == {}


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 1), st.sampled_from([1, 2, 16])), max_size=30))
def test_whatever_is_answered_a_request_is_never_larger_than_what_was_just_refused(
    answers: list[tuple[int, int, int]],
) -> None:
    ceiling = None
    for second, (asked, launched, vcpus) in enumerate(answers):
        ceiling = refused(ceiling, asked=asked, launched=launched, vcpus=vcpus, after=second)
        if launched == 0:
            assert ceiling.vms_allowed(vcpus, at(second)) < asked or asked == 1
        assert ceiling.most >= 0


def applicant(number: int, *, waited: float, name: str = "small", priority: int = 0) -> Applicant:
    return Applicant(
        job_id=JobId(f"j{number}"),
        class_name=ClassName(name),
        priority=priority,
        since=at(-waited),
        sizes={STANDARD: 16 if name == "large" else 2},
    )


def test_who_has_waited_for_ten_minutes_has_the_next_room() -> None:
    quotas = {STANDARD: refused(vcpus=16)}
    old, young = applicant(1, waited=600, name="large"), applicant(2, waited=599)
    assert turns_of(quotas, [young, old], EPOCH) == {STANDARD: old}
    assert turns_of(quotas, [young], EPOCH) == {}
    urgent = applicant(3, waited=1, priority=1)
    assert turns_of(quotas, [old, urgent], EPOCH) == {}
    small = a_class(ClassName("small"), instance_types=("m7i.large",))
    room = QuotaRoom(quotas=quotas, vcpus={"m7i.large": 2}, now=EPOCH)
    assert room.allowed(small) == 7
    turn = QuotaRoom(quotas=quotas, vcpus={"m7i.large": 2}, now=EPOCH, turns={STANDARD: ClassName("large")})
    assert turn.allowed(small) == 0


def test_what_does_not_fit_into_an_empty_quota_gets_no_turn_for_which_others_wait() -> None:
    old = applicant(1, waited=900, name="large")
    empty = refused(refused(vcpus=16).seen(vms=0, vcpus=0, now=EPOCH, full=True), vcpus=16)
    assert turns_of({STANDARD: empty}, [old], EPOCH) == {}
    words = "current vCPU limit of 8 allows"
    known = after_refusal(None, asked=1, launched=0, vcpus=16, code="c", message=words, now=EPOCH)
    assert turns_of({STANDARD: known}, [old], EPOCH) == {}
    assert known.never_fits(16)
    assert not known.never_fits(8)


def test_a_quota_with_a_launch_on_its_way_waits_for_the_answer() -> None:
    quotas = {STANDARD: refused(asked=20)}
    small = a_class()
    assert QuotaRoom(quotas=quotas, vcpus={}, now=EPOCH, busy=frozenset({STANDARD})).allowed(small) == 0
    assert QuotaRoom(quotas={}, vcpus={}, now=EPOCH, busy=frozenset({STANDARD})).allowed(small) is None
