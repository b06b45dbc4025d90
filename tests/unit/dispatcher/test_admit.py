"""Which of the listed jobs start now: by class, priority, age, queue, and every bound there is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.dispatcher.admit import Admit
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.cycle_room import FEWEST
from agent_stack.domain.backoff import Backoff, backoff_key
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import LOOK_AHEAD, Budget
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook, Unmatched, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.notices import MAX_CHARACTERS
from agent_stack.domain.policy import UnmatchedJobs
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import CapacityType
from agent_stack.domain.waiting import MAX_UNMATCHED_LISTED, NO_CLASS, PATIENCE, WaitReason
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import (
    LARGE,
    SMALL,
    SilentInstanceTypes,
    a_book,
    a_capacity,
    a_class,
    a_prefetch,
    a_quota_watch,
    a_vcpu_cache,
    an_in_flight,
)
from tests.unit.values import a_job, a_policy, a_run, a_vm

QUEUE, OTHER = QueueKey("default"), QueueKey("other")
SECOND = timedelta(seconds=1)


def admit(memory: LaunchMemory | None = None, **policy: object) -> Admit:
    rules, capacity = a_policy(**policy), a_capacity(memory)
    vcpus = a_vcpu_cache()
    return Admit(
        capacity=capacity,
        in_flight=an_in_flight(),
        prefetch=a_prefetch(capacity, rules),
        quotas=a_quota_watch(vcpus),
        vcpus=vcpus,
        policy=rules,
        clock=VirtualClock(),
        telemetry=RecordedTelemetry(),
    )


def a_tick(jobs: Sequence[Job], **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
    return DispatcherCycle(**{"now": EPOCH, "fence": 1, "book": a_book(), "listed": tuple(jobs), **found})


def numbers(cycle: DispatcherCycle) -> list[int]:
    """Which jobs were admitted, in order."""
    return [int(job.job_id.rpartition("-")[2]) for job, _ in cycle.admitted]


def test_high_priority_goes_first_and_of_equals_the_oldest() -> None:
    jobs = [
        a_job(1, scheduled_at=EPOCH - 3 * SECOND),
        a_job(2, scheduled_at=EPOCH - 9 * SECOND),
        a_job(3, priority=5),
        a_job(4, priority=-1, scheduled_at=EPOCH - 99 * SECOND),
    ]
    assert numbers(admit()(a_tick(jobs))) == [3, 2, 1, 4]


def test_a_full_queue_does_not_starve_another() -> None:
    crowd = [a_job(number, scheduled_at=EPOCH - 99 * SECOND) for number in range(1, 9)]
    late = [a_job(number, queue_key=OTHER) for number in (11, 12)]
    assert numbers(admit(max_instances=4)(a_tick([*crowd, *late]))) == [1, 11, 2, 12]


def test_a_paused_queue_starts_nothing() -> None:
    jobs = [a_job(1), a_job(2, queue_key=OTHER)]
    assert numbers(admit()(a_tick(jobs, paused=frozenset({QUEUE})))) == [2]


def test_live_runs_take_their_place_and_those_given_up_do_not() -> None:
    active = (a_run(21), a_run(22).bound(a_vm(), now=EPOCH), a_run(23).failing("why not"))
    assert numbers(admit(max_instances=3)(a_tick([a_job(1), a_job(2)], active=active))) == [1]


def test_a_class_has_its_own_maximum_whatever_type_its_jobs_chose() -> None:
    book = a_book(a_class(SMALL, max_instances=2, allowed_types=("m7*.*",)), a_class(LARGE))
    jobs = [
        a_job(1, rules=("instance-type=m7a.large",)),
        a_job(2),
        a_job(3, rules=("class=large",)),
    ]
    running = a_run(21, class_name=ClassName("small/m7g.large"))
    assert numbers(admit()(a_tick(jobs, book=book, active=(running,)))) == [1, 3]


def test_vcpus_have_a_maximum_and_smaller_jobs_behind_pass_by() -> None:
    jobs = [a_job(1, rules=("class=large",), priority=2), a_job(2, rules=("class=large",), priority=1), a_job(3)]
    assert numbers(admit(max_vcpus=18)(a_tick(jobs))) == [1, 3]
    running = a_run(21, class_name=LARGE)
    assert numbers(admit(max_vcpus=18)(a_tick(jobs, active=(running,)))) == [3]


def test_a_vm_that_runs_counts_with_its_own_type_and_one_that_comes_with_the_largest() -> None:
    book = a_book(a_class(SMALL, instance_types=("m7i.large", "m7i.xlarge")))
    running = a_run(21).bound(a_vm(), now=EPOCH)  # an m7i.large: 2 vCPUs
    assert numbers(admit(max_vcpus=6)(a_tick([a_job(1)], book=book, active=(running,)))) == [1]
    assert numbers(admit(max_vcpus=5)(a_tick([a_job(1)], book=book, active=(running,)))) == []
    chosen = a_job(1, rules=("instance-type=m7i.large",))
    assert numbers(admit(max_vcpus=4)(a_tick([chosen], book=book, active=(running,)))) == [1]


@pytest.mark.parametrize("policy", [{"max_vcpus": 3}, {"max_instances": 1}])
def test_a_job_that_is_being_finished_counts_while_it_has_its_vm(policy: dict[str, Any]) -> None:
    ending = a_run(21, class_name=SMALL).bound(a_vm(), now=EPOCH).finishing("no agent", now=EPOCH)
    assert numbers(admit(**policy)(a_tick([a_job(1)], active=(ending,)))) == []
    given_up = a_run(21, class_name=SMALL).failing("too late")
    assert numbers(admit(**policy)(a_tick([a_job(1)], active=(given_up,)))) == [1]


def test_a_job_whose_vm_is_on_its_way_counts_with_the_types_that_were_asked_for() -> None:
    """The operator has taken the large type out of the class meanwhile."""
    comes = a_run(21, class_name=SMALL)
    asked: dict[str, Any] = {"active": (comes,), "types_on_their_way": {SMALL: frozenset({"m7i.4xlarge"})}}
    jobs = [a_job(1, rules=("class=large",))]
    assert numbers(admit(max_vcpus=31)(a_tick(jobs, **asked))) == []
    assert numbers(admit(max_vcpus=32)(a_tick(jobs, **asked))) == [1]


def test_a_vm_that_never_fits_into_max_vcpus_is_said_to_be_too_large_and_others_lack_nothing_by_it() -> None:
    """Else its job would wait for an end that makes no room, and nothing would be launched to stand by meanwhile."""
    jobs = [a_job(1, rules=("class=large",), scheduled_at=EPOCH - 60 * SECOND), a_job(2)]
    cycle = admit(max_vcpus=15)(a_tick(jobs))
    assert numbers(cycle) == [2]
    words = "a VM of it has up to 16 vCPUs, and MaxVcpus is 15. Raise MaxVcpus, or name smaller types"
    assert [(w.reason, w.words) for w in cycle.waiting] == [(WaitReason.BROKEN, words)]
    assert cycle.lacking == {(LARGE, WaitReason.BROKEN)}


def test_vcpus_that_nobody_knows_hold_a_job_back_with_the_true_reason_and_are_asked_for_again() -> None:
    silent = SilentInstanceTypes()
    step = replace(admit(max_vcpus=100), vcpus=a_vcpu_cache(silent))
    job = a_job(1, scheduled_at=EPOCH - 60 * SECOND)
    for at in range(12):
        cycle = step(a_tick([job], now=EPOCH + at * SECOND))
        assert numbers(cycle) == []
        assert [w.words for w in cycle.waiting] == ["EC2 has not said yet how many vCPUs m7i.large has (MaxVcpus)"]
    assert len(silent.asked) == 2
    assert numbers(replace(admit(), vcpus=a_vcpu_cache(silent))(a_tick([job]))) == [1]  # nobody counts
    assert len(silent.asked) == 2


def test_a_type_that_ec2_does_not_know_counts_nothing_beside_others_and_is_said_where_it_is_alone() -> None:
    book = a_book(a_class(SMALL, instance_types=("m7i.large", "m99.large")), a_class(LARGE, instance_types=("m99.x",)))
    jobs = [a_job(1), a_job(2, rules=("class=large",), scheduled_at=EPOCH - 60 * SECOND)]
    cycle = admit(max_vcpus=2)(a_tick(jobs, book=book))
    assert numbers(cycle) == [1]
    assert [(w.reason, w.words) for w in cycle.waiting] == [
        (WaitReason.BROKEN, "EC2 knows no instance type m99.x"),
    ]


@pytest.mark.parametrize("unmatched", list(UnmatchedJobs))
def test_a_job_of_a_broken_class_waits_with_the_reason_whatever_becomes_of_jobs_that_no_class_fits(
    unmatched: UnmatchedJobs,
) -> None:
    error = ConfigurationError(setting="ClassesParameter", value="/c", problem="classes.gpu.image: gone", remedy="-")
    book = replace(a_book(), broken={ClassName("gpu"): error})
    jobs = [a_job(1, rules=("class=gpu",), scheduled_at=EPOCH - 60 * SECOND), a_job(2)]
    cycle = admit(unmatched_jobs=unmatched)(a_tick(jobs, book=book, clogging=frozenset({QUEUE})))
    assert numbers(cycle) == [2]
    assert cycle.refused == ()
    assert [(w.class_name, w.reason, w.words) for w in cycle.waiting] == [
        ("gpu", WaitReason.BROKEN, "classes.gpu.image: gone")
    ]


def test_no_more_than_ec2_will_grant_within_half_a_minute() -> None:
    budget = Budget(burst=10, per_second=0.1)
    jobs = [a_job(number) for number in range(1, 30)]
    most = int(budget.burst + LOOK_AHEAD.total_seconds() * budget.per_second)
    assert len(admit(instance_budget=budget)(a_tick(jobs)).admitted) == most
    waiting = (a_run(41), a_run(42))
    assert len(admit(instance_budget=budget)(a_tick(jobs, active=waiting)).admitted) == most - 2


def test_no_more_than_may_be_launched_in_a_minute() -> None:
    jobs = [a_job(number) for number in range(1, 30)]
    asked = LaunchMemory(asked=((EPOCH - 30 * SECOND, 4), (EPOCH - 61 * SECOND, 100)))
    assert len(admit(asked, max_launches_per_minute=7)(a_tick(jobs)).admitted) == 3
    waiting = (a_run(41), a_run(42))  # what they need is asked for first
    assert len(admit(asked, max_launches_per_minute=7)(a_tick(jobs, active=waiting)).admitted) == 1


@pytest.mark.parametrize("failing", [{CapacityType.SPOT}, {CapacityType.SPOT, CapacityType.ON_DEMAND}])
def test_a_run_gives_its_place_away_only_while_all_that_its_class_may_ask_for_fails(failing: set[CapacityType]) -> None:
    book = a_book(a_class(SMALL, capacity_type=CapacityType.SPOT, fallback=True), a_class(LARGE))
    backoff = Backoff(failures=3, since=EPOCH - SECOND, until=EPOCH + SECOND)
    memory = LaunchMemory(backoffs={backoff_key(SMALL, kind): backoff for kind in failing})
    jobs = [a_job(number, rules=("class=large",)) for number in (1, 2)]
    done = admit(memory, max_instances=2)(a_tick(jobs, book=book, active=(a_run(21, class_name=SMALL),)))
    assert numbers(done) == [1, 2][: len(failing)]


def test_a_broken_class_waits_and_others_go_on() -> None:
    broken = Breaker(until=EPOCH + SECOND, since=EPOCH, failures=1, message="no such image")
    jobs = [a_job(1), a_job(2, rules=("class=large",))]
    assert numbers(admit(LaunchMemory(breakers={SMALL: broken}))(a_tick(jobs))) == [2]


def test_with_launches_disabled_nothing_is_admitted_and_nothing_refused_that_fits() -> None:
    done = admit(launch_enabled=False)(a_tick([a_job(1)]))
    assert (done.admitted, done.refused) == ((), ())


@pytest.mark.parametrize(
    ("mode", "clogging", "refused"),
    [
        (UnmatchedJobs.FAIL, False, True),
        (UnmatchedJobs.IGNORE, True, False),
        (UnmatchedJobs.AUTO, True, True),
        (UnmatchedJobs.AUTO, False, False),
    ],
)
def test_a_job_that_nobody_fits_is_refused_or_left_alone_as_the_operator_says(
    mode: UnmatchedJobs,
    clogging: bool,  # noqa: FBT001  (a case)
    refused: bool,  # noqa: FBT001  (its outcome)
) -> None:
    step = admit(unmatched_jobs=mode)
    cycle = a_tick([a_job(1, rules=("gpu=true",))], clogging=frozenset({QUEUE} if clogging else ()))
    for _ in range(2):
        assert bool(step(cycle).refused) == refused
    assert step.telemetry.messages().count("job_ignored") == (0 if refused else 1)  # type: ignore[attr-defined]  # recorded


def test_a_job_that_no_class_fits_is_listed_with_what_would_match_once_others_had_time_to_take_it() -> None:
    job = a_job(1, rules=("class=smal",), scheduled_at=EPOCH - 2700 * SECOND, runnable_at=EPOCH)
    step = admit()
    soon, later = (step(a_tick([job], now=EPOCH + waited)) for waited in (PATIENCE - SECOND, PATIENCE))
    assert (soon.unmatched, soon.unmatched_jobs) == ((), 0)
    (waiting,) = later.unmatched
    assert (waiting.reason, later.unmatched_jobs) == (WaitReason.NO_CLASS, 1)
    assert "class “smal”" in waiting.words
    assert "class=small" in waiting.words


def test_jobs_that_no_class_fits_take_turns_on_the_list() -> None:
    crowd = [a_job(number, rules=("gpu=true",)) for number in range(2 * MAX_UNMATCHED_LISTED + 1)]
    step, listed = admit(), set()
    for minute in range(1, 2 * len(crowd)):
        cycle = step(a_tick(crowd, now=EPOCH + minute * 60 * SECOND))
        assert len(cycle.unmatched) <= MAX_UNMATCHED_LISTED
        assert cycle.unmatched_jobs == len(crowd)
        listed |= {waiting.job_id for waiting in cycle.unmatched}
    assert len(listed) == len(crowd)


@dataclass(frozen=True, kw_only=True)
class NothingFits(ClassBook):
    """Notes each time that somebody asks what would match."""

    classes: dict[ClassName, VmClass] = field(default_factory=dict)
    default: ClassName = NO_CLASS
    compared: list[str] = field(default_factory=list)

    def match(self, rules: tuple[str, ...], queue: QueueKey) -> Unmatched:
        """No class."""

        def fits() -> str:
            self.compared.append(rules[0])
            return "Would match: class=small."

        return Unmatched(why="Nothing fits.", fits=fits)


@pytest.mark.parametrize("mode", [UnmatchedJobs.IGNORE, UnmatchedJobs.FAIL])
def test_a_crowd_that_no_class_fits_costs_a_cycle_a_bounded_number_of_comparisons_and_lines(
    mode: UnmatchedJobs,
) -> None:
    crowd = [a_job(number, rules=(f"class=x{number}",), scheduled_at=EPOCH - 60 * SECOND) for number in range(1_000)]
    step = admit(unmatched_jobs=mode)
    book = NothingFits()
    cycle = step(a_tick(crowd, book=book))
    assert 0 < len(book.compared) <= 2 * MAX_UNMATCHED_LISTED
    lines = step.telemetry.messages().count("job_ignored")  # type: ignore[attr-defined]  # recorded
    assert lines == (MAX_UNMATCHED_LISTED if mode is UnmatchedJobs.IGNORE else 0)
    assert all(reason.startswith("Nothing fits.") for _, reason in cycle.refused)


def test_each_of_a_crowd_that_no_class_fits_is_logged_once() -> None:
    crowd = [a_job(number, rules=("gpu=true",)) for number in range(2 * MAX_UNMATCHED_LISTED + 1)]
    step = admit(unmatched_jobs=UnmatchedJobs.IGNORE)
    for second in range(15, 60 * 2 * len(crowd), 30):
        step(a_tick(crowd, now=EPOCH + second * SECOND))
    ignored = [fields["job_id"] for _, name, fields in step.telemetry.records if name == "job_ignored"]  # type: ignore[attr-defined]  # recorded
    assert len(ignored) == len(set(ignored)) == len(crowd)


def test_what_a_pipeline_writes_is_cropped_and_printable_on_the_list() -> None:
    job = a_job(1, rules=("class=a\x1b[31m\u202e" + "x" * 9999,), scheduled_at=EPOCH - 60 * SECOND)
    (waiting,) = admit()(a_tick([job])).unmatched
    assert len(waiting.words) <= MAX_CHARACTERS
    assert waiting.words.isprintable()


def test_jobs_of_one_build_start_in_the_order_of_their_steps() -> None:
    jobs = [a_job(number) for number in (7, 3, 9, 1)]
    assert numbers(admit()(a_tick(jobs))) == [7, 3, 9, 1]


JOBS = st.lists(
    st.builds(
        lambda number, priority, queue, age: a_job(
            number, priority=priority, queue_key=queue, scheduled_at=EPOCH - age * SECOND
        ),
        st.integers(1, 99),
        st.integers(-2, 2),
        st.sampled_from([QUEUE, OTHER]),
        st.integers(0, 9),
    ),
    max_size=20,
    unique_by=lambda job: job.job_id,
)


@given(jobs=JOBS, most=st.integers(1, 12))
def test_places_are_never_exceeded_never_wasted_and_shared_evenly(jobs: list[Job], most: int) -> None:
    done = admit(max_instances=most)(a_tick(jobs))
    assert len(done.admitted) == min(most, len(jobs))
    shares = Counter(job.queue_key for job, _ in done.admitted)
    listed = Counter(job.queue_key for job in jobs)
    for queue, other in ((QUEUE, OTHER), (OTHER, QUEUE)):
        if shares[queue] > shares[other] + 1:
            assert shares[other] == listed[other]  # it had no more
    for queue in listed:
        own = [job for job, _ in done.admitted if job.queue_key == queue]
        left = [job for job in jobs if job.queue_key == queue and job not in own]
        assert all((-a.priority, a.scheduled_at) <= (-b.priority, b.scheduled_at) for a in own for b in left)


# --- what one cycle can work on ---


def test_no_more_jobs_are_admitted_than_the_cycle_works_on_and_the_others_are_told() -> None:
    jobs = [a_job(number, scheduled_at=EPOCH - PATIENCE) for number in range(FEWEST + 30)]
    cycle = admit(max_instances=10_000)(a_tick(jobs, room=FEWEST + 10))
    assert len(cycle.admitted) == FEWEST + 10
    assert {waiting.reason for waiting in cycle.waiting} == {WaitReason.CYCLE_ROOM}
    assert len(cycle.waiting) == 20
    assert cycle.lacking == {(SMALL, WaitReason.CYCLE_ROOM)}


def test_jobs_for_standby_vms_need_room_as_well() -> None:
    jobs = [a_job(number, scheduled_at=EPOCH) for number in range(FEWEST + 30)]
    standby = {
        SMALL: tuple(
            StandbyVm(
                instance_id=a_vm(number).instance_id,
                arn=a_vm(number).arn,
                class_name=SMALL,
                launched_at=EPOCH,
                hold=timedelta(hours=1),
            )
            for number in range(FEWEST + 30)
        )
    }
    assert len(admit(max_instances=10_000)(a_tick(jobs, room=FEWEST, standby=standby)).admitted) == FEWEST


def test_runs_that_get_their_vm_in_this_cycle_take_its_room_but_not_all_of_it() -> None:
    jobs = [a_job(number, scheduled_at=EPOCH) for number in range(1_000)]
    waiting = tuple(a_run(2_000 + number) for number in range(300))
    idle = {SMALL: tuple(a_vm(number) for number in range(400))}
    budget = Budget(burst=10_000, per_second=100)
    step = admit(max_instances=10_000, max_launches_per_minute=10_000, instance_budget=budget)
    assert len(step(a_tick(jobs, room=500, active=waiting, idle_vms=idle)).admitted) == 200
    assert len(step(a_tick(jobs, room=500, active=waiting)).admitted) == 500
    assert len(step(a_tick(jobs, room=300, active=waiting, idle_vms=idle)).admitted) == FEWEST


def test_a_cycle_that_has_read_for_long_admits_fewer() -> None:
    jobs = [a_job(number, scheduled_at=EPOCH) for number in range(1_000)]
    step = admit(max_instances=10_000)
    assert isinstance(step.clock, VirtualClock)
    began = step.clock.monotonic()
    step.clock.sleep(6 * SECOND)
    cycle = step(a_tick(jobs, room=800, began=began))
    assert len(cycle.admitted) == 400
    assert cycle.work_began == began + 6 * SECOND
