"""What the suites about standby VMs share."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.domain.identifiers import ClassName, IntentId
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import Closing, StandbyVm
from tests.contract.tables import AnyTables
from tests.simulator.clock import EPOCH
from tests.unit.values import a_letter, a_run, a_vm

HOLD = timedelta(hours=4)


def standby_vm(number: int = 1, **changes: Any) -> StandbyVm:  # noqa: ANN401  (a VM's own)
    made = StandbyVm.of(a_vm(number), class_name=ClassName("small"), hold=HOLD, shape="f00d")
    return replace(made, **changes)


def closing(number: int = 1) -> StandbyVm:
    return standby_vm(number, closing=Closing.AGE)


def intent(**changes: Any) -> Intent:  # noqa: ANN401  (an intent's own)
    made = Intent(
        intent_id=IntentId("as-9"),
        class_name=ClassName("default"),
        request="{}",
        count=2,
        queues=(),
        created_at=EPOCH,
        hold=HOLD,
        shape="f00d",
    )
    return replace(made, **changes)


def bind(tables: AnyTables, number: int = 1) -> list[Run]:
    (run,) = tables.ledger.record([a_run(number)]) or [a_run(number)]
    bound = run.bound(standby_vm(number).vm, now=EPOCH)
    return list(tables.ledger.bind([(bound, a_letter(bound, a_vm(number)))]))
