"""What the tracker knows of idle standby VMs, which it ends, and which keep it busy."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.situations import Situation
from agent_stack.domain.standby import OVERSTAY, Closing, StandbyVm
from agent_stack.domain.states import JobState, VmState
from agent_stack.domain.vms import Vm
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.standby_watch import READ_EVERY, StandbyWatch
from agent_stack.tracker.vcpu_meter import VcpuMeter
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryStandbyVms, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_policy, a_run, a_vm

HOLD = timedelta(hours=4)
IDLE = a_vm(1, state=VmState.RUNNING, hold=HOLD)


class Records(MemoryStandbyVms):
    """A list that counts how often it is read, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(store=Store())
        object.__setattr__(self, "reads", 0)
        object.__setattr__(self, "error", None)

    reads: int
    error: AgentStackError | None

    def listed(self) -> list[StandbyVm]:
        object.__setattr__(self, "reads", self.reads + 1)
        if self.error is not None:
            raise self.error
        return list(super().listed())


def watch(*vms: Vm) -> tuple[StandbyWatch, Records]:
    records = Records()
    records.add([StandbyVm.of(vm, class_name=ClassName("small"), hold=HOLD, shape="") for vm in vms])
    return StandbyWatch(records=records, telemetry=RecordedTelemetry()), records


def cycle(vm: Vm, now: datetime = EPOCH, closing: Closing | None = None, *, listed: bool = True) -> TrackerCycle:
    record = StandbyVm.of(vm, class_name=ClassName("small"), hold=HOLD, shape="")
    standby = {vm.instance_id: replace(record, closing=closing)} if listed else {}
    return TrackerCycle(now=now, described=True, vms={vm.instance_id: vm}, standby=standby)


def test_without_a_standby_vm_that_has_no_run_nothing_is_read() -> None:
    looks, records = watch(IDLE)
    bound = a_run(1).bound(IDLE, now=EPOCH)
    assert looks([a_vm(2), IDLE], [bound], EPOCH) == {}
    assert looks([replace(IDLE, state=VmState.SHUTTING_DOWN)], [], EPOCH) == {}
    assert records.reads == 0


def test_the_list_is_read_every_few_seconds_and_at_once_for_a_vm_that_it_did_not_have() -> None:
    looks, records = watch(IDLE)
    for seconds in (0, 1, 4):
        found = looks([IDLE], [], EPOCH + timedelta(seconds=seconds))
        assert found is not None
        assert set(found) == {IDLE.instance_id}
    assert records.reads == 1
    looks([IDLE], [], EPOCH + READ_EVERY)
    looks([IDLE, a_vm(3, hold=HOLD)], [], EPOCH + READ_EVERY)
    assert records.reads == 3


def test_a_list_that_cannot_be_read_is_not_known_rather_than_empty() -> None:
    looks, records = watch(IDLE)
    object.__setattr__(records, "error", RetryError("throttled"))
    assert looks([IDLE], [], EPOCH) is None


@pytest.mark.parametrize(
    ("closing", "listed", "age", "quiet"),
    [
        (None, True, timedelta(hours=1), True),
        (Closing.AGE, True, timedelta(hours=1), False),
        (None, False, timedelta(hours=1), False),
        (None, True, HOLD + OVERSTAY, False),
    ],
    ids=["waits", "closed", "not listed", "overstays"],
)
def test_only_a_listed_vm_within_its_hold_keeps_no_tracker_busy(
    closing: Closing | None,
    listed: bool,  # noqa: FBT001  (a table's columns)
    age: timedelta,
    quiet: bool,  # noqa: FBT001  (a table's columns)
) -> None:
    looked = cycle(IDLE, EPOCH + age, closing, listed=listed)
    assert looked.stands_by(IDLE) == quiet
    assert looked.busy != quiet


def test_while_the_list_is_not_known_a_vm_within_its_hold_is_left_alone() -> None:
    looked = replace(cycle(IDLE), standby=None)
    assert looked.stands_by(IDLE)
    assert not looked.stands_by(a_vm(2))


def test_a_lifetime_begins_with_the_binding_or_after_the_hold() -> None:
    assert cycle(IDLE).births() == {IDLE.instance_id: IDLE.launched_at + HOLD}
    assert cycle(a_vm(2), listed=False).births() == {InstanceId(a_vm(2).instance_id): a_vm(2).launched_at}


def test_a_vm_that_waits_for_a_job_is_on_the_dispatcher_s_meter_and_not_on_the_tracker_s() -> None:
    """The tracker comes once a minute and has nothing to compare with; what both counted would be counted twice."""
    waits, meter = replace(IDLE, vcpus=2), VcpuMeter()
    for seconds in (0, 5):
        began = replace(cycle(waits, EPOCH + HOLD / 2), fence=1, began=timedelta(seconds=seconds))
        assert meter.read(began) == 0
    closed = replace(cycle(waits, EPOCH + HOLD / 2, Closing.AGE), fence=1, began=timedelta(seconds=15))
    assert meter.read(closed) == 20


def test_a_vm_that_stood_by_is_on_the_tracker_s_meter_from_its_binding() -> None:
    """The tracker was asleep for a minute, in which the dispatcher counted the VM."""
    now = EPOCH + HOLD / 2
    run = a_run().bound(IDLE, now=now - timedelta(seconds=3))
    booting = Situation(
        run=run,
        vm=IDLE,
        described=True,
        job_state=JobState.RESERVED,
        mailbox_status=None,
        boot_timeout=timedelta(minutes=1),
        policy=a_policy(),
        now=now,
    )
    taken, meter = replace(cycle(replace(IDLE, vcpus=2), now), fence=1), VcpuMeter()
    meter.read(replace(taken, began=timedelta()))
    bound = replace(taken, began=timedelta(seconds=60), situations=(booting,))
    assert meter.read(bound) == 2 * 3
    unknown = replace(bound, began=timedelta(seconds=62), standby=None)
    assert meter.read(unknown) == 2 * 2, "the list cannot be read, and the VM has a run all the same"
