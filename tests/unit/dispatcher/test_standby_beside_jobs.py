"""What is asked for to stand by while jobs wait for VMs of their own."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.domain.backoff import Backoff, backoff_key
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.quota_buckets import bucket_of
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.parts import LARGE, SMALL, a_book, a_class
from tests.unit.dispatcher.standing_by import StandingBy, hot
from tests.unit.values import a_run

MINUTE = timedelta(minutes=1)
GPU = ClassName("gpu")
FULL_QUOTA = Ceiling(most=0, bound=1, tight=True, refused_at=EPOCH, code="VcpuLimitExceeded", message="full")
BACKOFF = Backoff(failures=3, since=EPOCH, until=EPOCH + MINUTE)


POOLS = {
    name: tuple(f"on-demand:{one}:{zone}" for zone in "ab")
    for name, one in ((SMALL, "m7i.large"), (LARGE, "m7i.4xlarge"), (GPU, "g6.xlarge"))
}


def a_dispatcher(memory: LaunchMemory, **policy: Any) -> StandingBy:  # noqa: ANN401  (a policy's own)
    """Its small class keeps two VMs standing by; jobs of the others wait."""
    dispatcher = StandingBy(memory=memory, **policy)
    dispatcher.fleet.pools_by_class = POOLS
    dispatcher.replenish.quotas.vcpus.want(("m7i.large", "m7i.4xlarge", "g6.xlarge"), EPOCH)
    gpu = a_class(GPU, instance_types=("g6.xlarge",))
    dispatcher.book = a_book(hot(2), a_class(LARGE, instance_types=("m7i.4xlarge",)), gpu)
    return dispatcher


def beside_a_job(waits: ClassName, memory: LaunchMemory, **policy: Any) -> int:  # noqa: ANN401  (a policy's own)
    """How many VMs are asked for to stand by while a job of that class waits for another launch."""
    dispatcher = a_dispatcher(memory, **policy)
    return dispatcher.replenish(dispatcher.cycle(unmet={waits: 1}, active=(a_run(1, class_name=waits),))).launching


def test_a_job_that_ec2_is_not_asked_for_now_keeps_no_other_class_from_standing_by_and_keeps_its_room() -> None:
    """It waits for EC2, and for nothing that a standby VM takes."""
    backs_off = LaunchMemory(backoffs={backoff_key(LARGE, CapacityType.ON_DEMAND): BACKOFF})
    assert beside_a_job(LARGE, LaunchMemory()) == 0
    assert beside_a_job(LARGE, backs_off) == 2
    assert beside_a_job(LARGE, backs_off, max_instances=2) == 1
    assert beside_a_job(LARGE, backs_off, max_instances=1) == 0
    assert beside_a_job(LARGE, backs_off, max_launches_per_minute=2) == 1


NO_CAPACITY = LaunchMemory(unavailable_pools=dict.fromkeys(POOLS[LARGE], EPOCH + MINUTE))


def test_a_job_of_a_class_that_has_no_pool_now_keeps_no_other_class_from_standing_by() -> None:
    assert beside_a_job(LARGE, NO_CAPACITY) == 2


def test_for_a_class_that_has_no_pool_now_no_vm_is_ended() -> None:
    dispatcher = a_dispatcher(NO_CAPACITY, max_instances=2)
    dispatcher.put(1, 2)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    assert dispatcher.reasons() == {}
    dispatcher.clock.sleep(MINUTE)
    dispatcher.preempt(dispatcher.cycle(unmet={LARGE: 1}))
    assert len(dispatcher.reasons()) == 1


def test_a_job_that_waits_for_a_quota_keeps_only_vms_under_that_quota_from_standing_by() -> None:
    of_gpus, of_others = (bucket_of(one, CapacityType.ON_DEMAND) for one in ("g6.xlarge", "m7i.4xlarge"))
    assert beside_a_job(GPU, LaunchMemory(quotas={of_gpus: FULL_QUOTA})) == 2
    large_only = replace(FULL_QUOTA, most=4, bound=16, tight=True)
    assert beside_a_job(LARGE, LaunchMemory(quotas={of_others: large_only})) == 0, (
        "small ones would take what becomes free"
    )


def test_of_a_class_whose_own_jobs_wait_no_standby_vm_is_considered() -> None:
    """Both would be asked for in the same pools, and the log would say so in turn, with each cycle."""
    backs_off = LaunchMemory(backoffs={backoff_key(SMALL, CapacityType.ON_DEMAND): BACKOFF})
    dispatcher = StandingBy(memory=backs_off)
    dispatcher.replenish(dispatcher.cycle(unmet={SMALL: 1}, active=(a_run(1, class_name=SMALL),)))
    assert "pools_unavailable" not in dispatcher.telemetry.messages("INFO")
