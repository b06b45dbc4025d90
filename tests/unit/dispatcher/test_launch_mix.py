"""A spot class of which some VMs are bought on-demand: what EC2 is asked for."""

from datetime import timedelta
from typing import Any

from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.purchase_mix import PurchaseMix
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.launching import SECOND, Room
from tests.unit.dispatcher.parts import SMALL, a_book, a_class, an_intent
from tests.unit.values import a_run, a_vm

ON_DEMAND, SPOT = CapacityType.ON_DEMAND, CapacityType.SPOT
MIXED = a_book(a_class(SMALL, capacity_type=SPOT, mix=PurchaseMix(base=1, percent=50)))


def asked(room: Room, count: int, **found: Any) -> list[tuple[CapacityType | None, int]]:  # noqa: ANN401  (a cycle's own)
    room.cycle(*room.ready(count, first=50), book=MIXED, **found)
    return [(intent.capacity_type, intent.count) for intent in room.in_flight.intents]


def test_the_first_vms_are_the_base_and_the_share_of_on_demand() -> None:
    room = Room()
    assert asked(room, 5) == [(ON_DEMAND, 3), (SPOT, 2)]
    assert {intent.class_name for intent in room.in_flight.intents} == {SMALL}


def test_vms_that_are_up_idle_or_asked_for_count() -> None:
    bound = a_run(1, class_name=SMALL).bound(a_vm(1, capacity_type=ON_DEMAND), now=EPOCH)
    idle = {SMALL: (a_vm(2, capacity_type=SPOT),)}
    assert asked(Room(), 3, active=(bound,), idle_vms=idle) == [(ON_DEMAND, 2)]  # the third run gets the idle VM
    room = Room()
    first = asked(room, 1)
    assert first == [(ON_DEMAND, 1)]
    assert asked(room, 3) == [(ON_DEMAND, 1), (ON_DEMAND, 1), (SPOT, 1)]


def test_where_on_demand_has_no_room_its_part_is_asked_for_as_spot() -> None:
    dry = {f"on-demand:m7i.large:{zone}": EPOCH + SECOND for zone in "ab"}
    assert asked(Room(memory=LaunchMemory(unavailable_pools=dry)), 5) == [(SPOT, 5)]


def test_where_spot_has_no_room_only_the_part_of_on_demand_starts() -> None:
    dry = {f"spot:m7i.large:{zone}": EPOCH + SECOND for zone in "ab"}
    assert asked(Room(memory=LaunchMemory(unavailable_pools=dry)), 5) == [(ON_DEMAND, 3)]


def test_vms_that_stand_by_count_neither_idle_nor_asked_for_nor_with_a_job() -> None:
    """They are bought as the class says, which would make all other VMs on-demand."""
    hold = timedelta(hours=4)
    bound = a_run(1, class_name=SMALL).bound(a_vm(1, capacity_type=SPOT, hold=hold), now=EPOCH)
    room = Room()
    room.in_flight.begin(an_intent(capacity_type=SPOT, hold=hold, shape="shape"))
    assert asked(room, 5, active=(bound,))[1:] == [(ON_DEMAND, 3), (SPOT, 2)]


def test_vms_that_fell_back_to_on_demand_count_as_on_demand() -> None:
    """Of the class itself, where spot had nothing, and of jobs that had lost two spot VMs."""
    own = a_run(1, class_name=SMALL).bound(a_vm(1, capacity_type=ON_DEMAND), now=EPOCH)
    lost_two = a_run(2, class_name=on_demand_name(SMALL)).bound(a_vm(2, capacity_type=ON_DEMAND), now=EPOCH)
    assert asked(Room(), 4, active=(own, lost_two)) == [(ON_DEMAND, 2), (SPOT, 2)]
    assert asked(Room(), 4, idle_vms={on_demand_name(SMALL): (a_vm(3, capacity_type=ON_DEMAND),)}) == [
        (ON_DEMAND, 2),
        (SPOT, 2),
    ]
