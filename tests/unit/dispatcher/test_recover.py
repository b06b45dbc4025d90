"""Recover: a crash between any two effects leaves a run without a VM or a VM without a run; both are found again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.errors import RetryError
from agent_stack.domain.holds import Hold
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.states import VmState
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.parts import (
    LARGE,
    SMALL,
    ScriptedFleet,
    a_book,
)
from tests.unit.dispatcher.ward import SECOND, Ward
from tests.unit.values import a_policy, a_run, a_vm

# --- VMs without a run ---


def test_the_vms_of_an_answer_that_was_recorded_and_not_bound_are_idle() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2), a_vm(3))))
    ward.left(1, spent=True, vms=(a_vm(1), a_vm(2)))
    ward.left(2, spent=True, vms=(a_vm(3),), class_name=LARGE)
    cycle = ward.cycle()
    assert cycle.idle_vms == {SMALL: (a_vm(1), a_vm(2)), LARGE: (a_vm(3),)}
    assert (cycle.unconfirmed, cycle.unconfirmed_by_class, ward.fleet.requests) == (0, {}, [])


def test_a_vm_that_a_run_is_bound_to_is_not_idle() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2))))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2)))
    ward.ledger.record([replace(a_run().bound(a_vm(1), now=EPOCH), version=1)])
    assert ward.cycle().idle_vms == {SMALL: (a_vm(2),)}
    assert set(ward.store.intents) == {IntentId("as-1")}


def test_an_intent_is_closed_once_all_its_vms_are_bound_or_too_old() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2))))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2, launched_at=EPOCH - timedelta(hours=1))))
    ward.ledger.record([replace(a_run().bound(a_vm(1), now=EPOCH), version=1)])
    assert (ward.cycle().idle_vms, ward.store.intents) == ({}, {})


def test_a_vm_about_to_power_itself_off_is_not_idle() -> None:
    age = a_policy().bindable_age
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2, launched_at=EPOCH + SECOND))))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2, launched_at=EPOCH + SECOND)))
    assert ward.cycle(now=EPOCH + age).idle_vms == {SMALL: (a_vm(2, launched_at=EPOCH + SECOND),)}


def test_the_age_of_an_idle_vm_is_what_ec2_shows_now() -> None:
    """A replay may name a VM that was there before, as if it were new."""
    ward = Ward(ScriptedFleet(shows=(a_vm(1, launched_at=EPOCH - timedelta(hours=1)),)))
    ward.left(spent=True, vms=(a_vm(1),))
    assert ward.cycle().idle_vms == {SMALL: ()}


@pytest.mark.parametrize("state", [VmState.SHUTTING_DOWN, VmState.TERMINATED, VmState.STOPPED])
def test_a_vm_that_ec2_shows_down_is_neither_idle_nor_hidden(state: VmState) -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1, state=state), a_vm(2))))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2)))
    cycle = ward.cycle()
    assert (cycle.idle_vms, cycle.unconfirmed) == ({SMALL: (a_vm(2),)}, 0)


def test_a_vm_that_ec2_hides_is_not_bound_and_counts_as_one_that_may_be_up() -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(2),)))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2)))
    cycle = ward.cycle()
    assert (cycle.idle_vms, cycle.unconfirmed) == ({SMALL: (a_vm(2),)}, 1)


def test_while_ec2_does_not_show_the_idle_vms_none_is_bound_and_all_count() -> None:
    ward = Ward(ScriptedFleet(look=RetryError("throttled")))
    ward.left(spent=True, vms=(a_vm(1), a_vm(2)))
    cycle = ward.cycle()
    assert (cycle.idle_vms, cycle.unconfirmed) == ({}, 2)
    assert ward.telemetry.messages("INFO") == ["idle_vms_unknown"]


# --- what is read, and what is not ---


def test_a_cycle_without_work_reads_ahead_what_the_first_launch_under_a_lease_has_to_know() -> None:
    ward = Ward()
    ward.cycle()
    assert "launched" not in ward.read_ahead, "a job may wait for the first cycle"
    for _ in range(2):
        ward.cycle()
        assert ward.read_ahead == ["launched", "launch_memory"]
    for fence in (2, 2, 4, 4):  # another process had the lease with number 3
        ward.cycle(fence=fence)
    assert ward.read_ahead == ["launched", "launch_memory"] * 2


@pytest.mark.parametrize("policy", [{"launch_enabled": False}, {"observe_only": True}])
def test_a_dispatcher_that_launches_nothing_reads_nothing_ahead(policy: dict[str, Any]) -> None:
    ward = Ward(**policy)
    for _ in range(3):
        ward.cycle()
    assert ward.read_ahead == []


def test_a_look_ahead_that_fails_stops_no_cycle() -> None:
    ward = Ward()
    ward.cycle()
    for method in ("launched", "launch_memory"):
        ward.memory.fails[method] = [RetryError("throttled")]
    assert ward.cycle().active == ()


def test_a_cycle_that_expects_to_launch_looks_at_the_vms_before_it_reads_the_ledger() -> None:
    ward = Ward()
    ward.cycle(expected_launches=1)
    assert ward.journal == ["describe", "active_runs", "open_intents"]
    ward.empty_ledger.invalidate()
    ward.cycle(expected_launches=0)
    assert ward.journal == ["active_runs", "open_intents"]


def test_an_empty_ledger_is_not_read_again_under_the_same_lease() -> None:
    ward = Ward()
    ward.cycle()
    cycle = ward.cycle()
    assert (ward.journal, cycle.book) == ([], a_book())
    ward.cycle(fence=2)
    assert ward.journal == ["active_runs", "open_intents"]


def test_a_ledger_with_a_run_or_a_launch_is_read_every_time() -> None:
    with_run, with_launch = Ward(), Ward(ScriptedFleet(shows=(a_vm(),)))
    with_run.waits()
    with_launch.left(spent=True, vms=(a_vm(),))
    for ward in (with_run, with_launch):
        ward.cycle()
        ward.cycle()
        assert ward.journal[:2] == ["active_runs", "open_intents"]


def test_a_dispatcher_that_only_observes_settles_no_launch() -> None:
    ward = Ward(observe_only=True)
    ward.waits()
    ward.left()
    cycle = ward.cycle()
    assert (ward.journal, cycle.unconfirmed) == (["active_runs"], 0)


def test_every_run_that_has_not_ended_is_active() -> None:
    ward = Ward()
    ward.waits(1)
    ward.ledger.record([replace(a_run(2).bound(a_vm(), now=EPOCH), version=1)])
    assert [run.job_id for run in ward.cycle().active] == list(ward.store.runs)


# --- VMs that are held because their boot failed ---


@pytest.mark.parametrize("minutes", [30, 0])
def test_holds_that_cannot_be_read_stop_no_cycle(minutes: int) -> None:
    """A filled mailbox refuses a second job anyway."""
    ward = Ward(ScriptedFleet(shows=(a_vm(1),)), hold_on_failure=timedelta(minutes=minutes))
    ward.left(spent=True, vms=(a_vm(1),))
    ward.ledger.fails["holds"] = [RetryError("throttled")]
    assert ward.cycle().idle_vms == {SMALL: (a_vm(1),)}
    assert "holds_unknown" in ward.telemetry.messages("INFO")


def held(ward: Ward, number: int) -> None:
    vm = a_vm(number)
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=SMALL, until=EPOCH + timedelta(minutes=30))
    assert ward.ledger.record_holds(ward.ledger.holds().adding(hold).next_version())


@pytest.mark.parametrize("minutes", [30, 0])
def test_a_held_vm_is_no_idle_vm_and_keeps_no_launch_open(minutes: int) -> None:
    """Its mailbox is filled, so a job that was paired with it would wait for nothing, cycle after cycle.

    Also after somebody turned holds off: a VM that is held already stays up until its time.
    """
    up = (a_vm(1, state=VmState.RUNNING), a_vm(2, state=VmState.RUNNING))
    ward = Ward(ScriptedFleet(shows=up), hold_on_failure=timedelta(minutes=minutes))
    ward.left(spent=True, vms=up)
    held(ward, 1)
    assert ward.cycle().idle_vms == {SMALL: (up[1],)}
    held(ward, 2)
    assert (ward.cycle().idle_vms, ward.store.intents) == ({}, {})


@pytest.mark.parametrize("minutes", [30, 0])
def test_holds_are_read_once_and_only_where_a_recorded_launch_has_a_vm_without_a_run(minutes: int) -> None:
    ward = Ward(ScriptedFleet(shows=(a_vm(1), a_vm(2), a_vm(3))), hold_on_failure=timedelta(minutes=minutes))
    ward.left(1, spent=True, vms=(a_vm(1), a_vm(4, launched_at=EPOCH - timedelta(hours=1))))
    ward.ledger.record([replace(a_run().bound(a_vm(1), now=EPOCH), version=1)])
    ward.cycle()
    assert "holds" not in ward.journal
    ward.left(2, spent=True, vms=(a_vm(2),))
    ward.left(3, spent=True, vms=(a_vm(3),))
    ward.cycle()
    assert ward.journal.count("holds") == 1
