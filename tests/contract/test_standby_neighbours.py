"""What a version that knows no standby VMs makes of what this one stores: nothing that harms a job."""

from datetime import timedelta

from agent_stack.adapters.dynamodb import items
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.standby_trouble import Trouble
from tests.contract.standby import HOLD, bind, intent, standby_vm
from tests.contract.tables import Tables
from tests.simulator.clock import EPOCH

NEW = {"standby", "hold", "shape", "preempting"}
"""Attributes that an older version does not ask for."""

PARTITIONS = {"intent", "launching", "waiting", "stack_keys", "lease"}
"""What an older version queries, besides the shards of its runs."""


def test_the_list_is_in_a_partition_that_no_older_version_queries(dynamo: Tables) -> None:
    dynamo.standby.add([standby_vm()])
    (item,) = dynamo.items()
    assert item["pk"]["S"] not in PARTITIONS
    assert not item["pk"]["S"].startswith(("run#", "history#", "tombstone#", "told#"))


def test_without_the_new_attributes_a_launch_and_a_run_are_what_they_were(dynamo: Tables) -> None:
    held = dynamo.dispatcher_lease.acquire("us", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    dynamo.ledger.write_intent(intent(), fence=held.fence)
    (run,) = bind(dynamo)
    for item in dynamo.items():
        older = {name: value for name, value in item.items() if name not in NEW}
        if item["pk"]["S"] == "intent":
            assert not items.read_intent(older).stands_by
        elif item["pk"]["S"].startswith("run#"):
            read = items.read_run(older)
            assert read.binding is not None
            assert run.binding is not None
            assert read.binding.instance_id == run.binding.instance_id


def test_an_attempt_on_a_standby_vm_is_read_by_its_first_six_parts(dynamo: Tables) -> None:
    (run,) = bind(dynamo)
    lost = run.requeued(Failure(kind=FailureKind.TIMEOUT, words="silent"), now=EPOCH)
    (text,) = items.run_values(lost)["tried"]
    *six, more = text.split("|")
    assert (len(six), more) == (6, "s")
    assert not lost.may_stand_by


def test_what_suspends_a_class_is_remembered_and_survives_a_version_that_drops_it(dynamo: Tables) -> None:
    trouble = Trouble(at=EPOCH).missed(3, latest=EPOCH, now=EPOCH)
    memory = LaunchMemory(standby={ClassName("small"): trouble}, preempting=((EPOCH, EPOCH + HOLD),))
    dynamo.ledger.remember_launches(memory, fence=1)
    assert dynamo.ledger.launch_memory() == memory
    dynamo.ledger.remember_launches(LaunchMemory(), fence=1)
    assert dynamo.ledger.launch_memory().standby == {}
