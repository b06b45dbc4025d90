"""Launch: within the room, the budget and the requests that there are."""

import pytest

from agent_stack.domain.budgets import Level, Pause
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.launching import SECOND, Room
from tests.unit.dispatcher.parts import LARGE, SMALL
from tests.unit.values import a_policy


def test_the_classes_share_the_room_that_there_is() -> None:
    room = Room(max_instances=3)
    room.cycle(*room.ready(2), *room.ready(2, first=3, class_name=LARGE))
    assert room.asked() == [(SMALL, 2), (LARGE, 1)]
    assert ("INFO", "launches_held_back", {"class_name": LARGE, "count": 1}) in room.telemetry.records


def test_without_room_nothing_is_asked_and_the_runs_are_counted_as_held_back() -> None:
    room = Room(max_instances=3)
    room.cycle(*room.ready(3), unconfirmed=4)
    assert room.asked() == []
    assert ("INFO", "launches_held_back", {"class_name": SMALL, "count": 3}) in room.telemetry.records


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (LaunchMemory(pause=Pause(until=EPOCH + SECOND, throttles=1)), "launches_paused"),
        (LaunchMemory(instances=Level(tokens=0, at=EPOCH)), "launches_held_back"),
    ],
)
def test_an_ec2_that_throttles_or_grants_too_few_is_not_asked(memory: LaunchMemory, said: str) -> None:
    room = Room(memory=memory)
    room.cycle(*room.ready(1))
    assert room.asked() == []
    assert room.telemetry.messages("INFO") == [said]
    assert "describe" not in room.journal, "and its VMs are not looked at"


def test_of_a_burst_no_more_requests_are_made_than_ec2_takes() -> None:
    room = Room(
        memory=LaunchMemory(requests=Level(tokens=1, at=EPOCH)), max_instances=5000, max_launches_per_minute=5000
    )
    room.cycle(*room.ready(MAX_VMS_OF_A_LAUNCH + 1))
    assert room.asked() == [(SMALL, MAX_VMS_OF_A_LAUNCH)]


def test_what_was_asked_for_is_charged_to_the_budget_and_kept_for_the_next_process() -> None:
    room = Room()
    room.cycle(*room.ready(3))
    assert room.store.launching.asked == ((EPOCH, 3),)
    assert room.store.launching.granted(a_policy().instance_budget, EPOCH) == 997


def test_a_cycle_that_taught_nothing_writes_no_lessons() -> None:
    room = Room(max_instances=0)
    room.cycle(*room.ready(1))
    assert "remember_launches" not in room.journal
