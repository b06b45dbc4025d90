"""Whatever a record holds comes back from the table: each field of it, set to something that is not its default."""

from dataclasses import MISSING, fields, replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.standby import _values, read_standby_vm
from agent_stack.domain.attempts import Attempt, FailureKind
from agent_stack.domain.identifiers import ClassName, InstanceId, IntentId, QueueKey
from agent_stack.domain.jobs import Origin
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Binding
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.states import CapacityType, CredentialHolder, Moment, Outcome, RunState, VmState
from tests.simulator.clock import EPOCH
from tests.unit.values import a_run, a_vm

MINUTE = timedelta(minutes=1)
LOST = Attempt(
    instance_id=InstanceId("i-0"),
    instance_type="m7i.large",
    zone="a",
    capacity_type=CapacityType.SPOT,
    kind=FailureKind.SPOT,
    seconds=7,
    standby=True,
)
RUN = replace(
    a_run(),
    state=RunState.BOOTING,
    version=3,
    attempt=2,
    priority=5,
    reserved_until=EPOCH + MINUTE,
    reservation_lost=True,
    lost_standby=True,
    binding=replace(Binding.to(a_vm(capacity_type=CapacityType.SPOT)), standby=True),
    credential_holder=CredentialHolder.TRACKER,
    failure_reason="why",
    finishing_at=EPOCH + 2 * MINUTE,
    job_over_at=EPOCH + 3 * MINUTE,
    outcome=Outcome.FAILED,
    tried=(LOST,),
    origin=Origin(pipeline_slug="app", pipeline_id="0190", build_number=42, build_branch="main"),
    notices_sent=frozenset({"vm_requested"}),
    notices_sent_before=4,
    timeline={moment: EPOCH + number * MINUTE for number, moment in enumerate(Moment)},
)
INTENT = Intent(
    intent_id=IntentId("as-1"),
    class_name=ClassName("small"),
    request="{}",
    count=2,
    queues=(QueueKey("default"),),
    created_at=EPOCH,
    capacity_type=CapacityType.SPOT,
    spent=True,
    vms=(a_vm(),),
    hold=MINUTE,
    shape="shape",
)
STANDBY = StandbyVm(
    instance_id=a_vm().instance_id,
    arn=a_vm().arn,
    class_name=ClassName("small"),
    launched_at=EPOCH,
    hold=MINUTE,
    shape="shape",
    instance_type="m7i.large",
    zone="a",
    capacity_type=CapacityType.SPOT,
    intent_id=IntentId("as-1"),
    closing=Closing.AGE,
)
KEPT_BY_EC2 = {"state", "vcpus"}
"""What EC2 says of a standby VM is not written down."""


@pytest.mark.parametrize("record", [RUN, INTENT, STANDBY], ids=lambda record: type(record).__name__)
def test_the_record_has_no_field_that_is_as_it_was_made(record: Any) -> None:  # noqa: ANN401  (one of three)
    for one in fields(record):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        assert getattr(record, one.name) != default or one.name in KEPT_BY_EC2, one.name


def test_a_run_comes_back_whole() -> None:
    stored = items.packed({"pk": "run#0", "sk": RUN.job_id, **items.run_values(RUN)})
    assert items.read_run(stored) == RUN


def test_an_intent_comes_back_whole() -> None:
    stored = items.packed({"pk": "intent", "sk": INTENT.intent_id, **items.intent_values(INTENT)})
    assert items.read_intent(stored) == INTENT


def test_a_standby_vm_comes_back_whole() -> None:
    assert STANDBY.state is VmState.PENDING
    assert read_standby_vm(items.packed({"sk": STANDBY.instance_id, **_values(STANDBY)})) == STANDBY
