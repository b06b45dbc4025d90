"""What of this deployment stands under a full quota: VMs that are up, and those that EC2 does not show yet."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.quota_watch import LOOK_EVERY, LOOK_SOON, NOT_SHOWN_YET, SOON_FOR, QuotaWatch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.runs import Run
from agent_stack.domain.states import UP, CapacityType, VmState
from agent_stack.domain.vms import Vm
from tests.simulator.clock import EPOCH
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import AtOnce, a_book, a_vcpu_cache, an_in_flight
from tests.unit.values import a_run, a_vm

STANDARD = Bucket("on-demand:standard")
SECOND = timedelta(seconds=1)
FULL = LaunchMemory(quotas={STANDARD: Ceiling(most=1, refused_at=EPOCH, code="VcpuLimitExceeded", message="full")})


class Watched:
    """A dispatcher that watches a full quota, and an EC2 that counts its looks."""

    def __init__(self, shown: Sequence[Vm] | AgentStackError = ()) -> None:
        self.shown, self.looks = shown, 0
        self.telemetry = RecordedTelemetry()
        fleet: Any = SimpleNamespace(describe=self.describe)
        self.watch = QuotaWatch(
            fleet=fleet, in_flight=an_in_flight(), vcpus=a_vcpu_cache(), workers=AtOnce(), telemetry=self.telemetry
        )

    def describe(self) -> Sequence[Vm]:
        self.looks += 1
        if isinstance(self.shown, AgentStackError):
            raise self.shown
        return self.shown

    def at(self, now: datetime, *active: Run, memory: LaunchMemory = FULL) -> Ceiling | None:
        cycle = DispatcherCycle(now=now, fence=1, book=a_book(), active=active)
        return self.watch.watch(cycle, memory).quotas.get(STANDARD)


def used(shown: Sequence[Vm], *active: Run) -> tuple[int | None, int | None]:
    """VMs and vCPUs of this deployment, after a look that shows these."""
    watched = Watched(shown)
    watched.at(EPOCH, *active)
    ceiling = watched.at(EPOCH + SECOND, *active)
    assert ceiling is not None
    return ceiling.vms, ceiling.vcpus


@pytest.mark.parametrize("state", VmState)
def test_a_vm_counts_while_it_is_up(state: VmState) -> None:
    assert used([a_vm(1, state=state)]) == ((1, 2) if state in UP else (0, 0))


def test_a_vm_counts_under_the_quota_of_its_own_capacity_type() -> None:
    assert used([a_vm(1, capacity_type=CapacityType.SPOT)]) == (0, 0)


def test_a_fresh_vm_of_a_run_counts_before_ec2_shows_it_and_no_vm_counts_twice() -> None:
    fresh = a_run().bound(a_vm(1), now=EPOCH)
    old = a_run(2).bound(a_vm(2, launched_at=EPOCH - NOT_SHOWN_YET), now=EPOCH)
    assert used([], fresh) == (1, 2)
    assert used([a_vm(1)], fresh) == (1, 2)
    assert used([a_vm(1, state=VmState.TERMINATED)], fresh) == (0, 0)
    assert used([], old) == (0, 0)


def test_ec2_is_looked_at_every_few_seconds_while_a_quota_is_full_and_never_else() -> None:
    watched = Watched()
    for second in range(20):
        watched.at(EPOCH + second * SECOND)
    assert watched.looks == 20 * SECOND / LOOK_EVERY
    assert watched.at(EPOCH + 60 * SECOND, memory=LaunchMemory()) is None
    assert watched.looks == 20 * SECOND / LOOK_EVERY


def test_it_is_looked_at_sooner_for_a_while_after_a_vm_was_closed_because_of_a_quota() -> None:
    watched = Watched()
    watched.watch.expect_an_end(EPOCH)
    seconds = int(SOON_FOR.total_seconds())
    for second in range(seconds):
        watched.at(EPOCH + second * SECOND)
    assert watched.looks == seconds * SECOND / LOOK_SOON
    for second in range(seconds, 2 * seconds):
        watched.at(EPOCH + second * SECOND)
    assert watched.looks == pytest.approx(seconds * (SECOND / LOOK_SOON + SECOND / LOOK_EVERY), abs=1)


def test_a_look_that_fails_leaves_what_is_known() -> None:
    watched = Watched(RetryError("throttled"))
    known = replace(FULL, quotas={STANDARD: replace(FULL.quotas[STANDARD], vms=3, vcpus=6)})
    for second in range(3):
        assert watched.at(EPOCH + second * SECOND, memory=known) == known.quotas[STANDARD]
    assert watched.telemetry.messages() == ["vms_unknown"]
