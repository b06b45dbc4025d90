"""Where VMs are asked for: capacity type, pools, and the size of requests."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import RetryError
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, LaunchOrder
from agent_stack.domain.quota_room import QuotaRoom
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, ScriptedFleet, a_class
from tests.unit.values import a_run, a_vm

SPOT = a_class(SMALL, capacity_type=CapacityType.SPOT)
A, B = "spot:m7i.large:a", "spot:m7i.large:b"
LATER = EPOCH + timedelta(seconds=1)
NO_QUOTA = QuotaRoom(quotas={}, vcpus={}, now=EPOCH)


class Counter:
    """Where orders are made."""

    def __init__(self, **fleet: Any) -> None:  # noqa: ANN401  (the fleet's own fields)
        self.fleet, self.telemetry = ScriptedFleet(**fleet), RecordedTelemetry()

    def orders(
        self, vm_class: VmClass = SPOT, runs: tuple[Run, ...] = (a_run(),), unavailable: tuple[str, ...] = ()
    ) -> list[LaunchOrder]:
        make = LaunchOrders(fleet=self.fleet, ids=SeededIds(), telemetry=self.telemetry)
        memory = LaunchMemory(unavailable_pools=dict.fromkeys(unavailable, LATER))
        return [order for order, _ in make(vm_class, runs, memory, NO_QUOTA, EPOCH)]


def lost_in(zone: str, number: int = 1) -> Run:
    """A run whose last VM failed there."""
    vm = a_vm(number, zone=zone, capacity_type=CapacityType.SPOT)
    return a_run(number).bound(vm, now=EPOCH).requeued(Failure(kind=FailureKind.SPOT, words=""), now=EPOCH)


def test_more_vms_than_fit_a_request_are_asked_for_in_several_each_with_an_intent_of_its_own() -> None:
    runs = tuple(a_run(number) for number in range(MAX_VMS_OF_A_LAUNCH + 1))
    made = list(
        LaunchOrders(fleet=ScriptedFleet(), ids=SeededIds(), telemetry=RecordedTelemetry())(
            SPOT, runs, LaunchMemory(), NO_QUOTA, EPOCH
        )
    )
    assert [order.count for order, _ in made] == [MAX_VMS_OF_A_LAUNCH, 1]
    assert [run for _, chunk in made for run in chunk] == list(runs)
    assert len({order.intent_id for order, _ in made}) == 2


def test_a_pool_that_rests_is_not_asked() -> None:
    (order,) = Counter().orders(unavailable=(A,))
    assert (order.capacity_type, order.pools) == (CapacityType.SPOT, (B,))


def test_where_all_spot_rests_a_class_that_may_fall_back_is_asked_for_on_demand() -> None:
    (order,) = Counter().orders(replace(SPOT, fallback=True), unavailable=(A, B))
    assert order.capacity_type is CapacityType.ON_DEMAND
    assert set(order.pools) == {"on-demand:m7i.large:a", "on-demand:m7i.large:b"}


def test_where_all_rests_and_nothing_else_is_allowed_nothing_is_asked() -> None:
    counter = Counter()
    assert counter.orders(unavailable=(A, B)) == []
    assert ("INFO", "pools_unavailable", {"class_name": SMALL, "count": 1}) in counter.telemetry.records


def test_on_demand_pools_are_looked_up_only_where_they_may_be_used() -> None:
    strict, lenient = Counter(), Counter()
    strict.orders()
    lenient.orders(replace(SPOT, fallback=True))
    assert strict.fleet.journal == ["pools spot"]
    assert sorted(lenient.fleet.journal) == ["pools on-demand", "pools spot"]


def test_while_the_pools_are_not_known_nothing_is_asked() -> None:
    counter = Counter(no_pools=RetryError("no subnets yet"))
    assert counter.orders() == []
    assert counter.telemetry.messages("WARNING") == ["pools_unknown"]


def test_the_pools_where_these_runs_lost_their_last_vms_are_avoided() -> None:
    pools = {CapacityType.SPOT: ("spot:m7i.large:a", "spot:m7i.large:b", "spot:m7i.large:c")}
    (order,) = Counter(pools_by_type=pools).orders(runs=(lost_in("a", 1), lost_in("c", 2), a_run(3)))
    assert order.pools == ("spot:m7i.large:b",)


def test_the_only_pool_left_is_asked_though_a_vm_was_lost_there() -> None:
    (order,) = Counter().orders(runs=(lost_in("a"),), unavailable=(B,))
    assert order.pools == (A,)
