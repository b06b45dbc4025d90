"""What the stages may expect of a ledger."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.answers import Answer
from agent_stack.domain.attempts import Failure, FailureKind, PriorUsage
from agent_stack.domain.budgets import Budget
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import GiveUpError
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey, StackKey
from agent_stack.domain.jobs import Origin
from agent_stack.domain.launching import Intent, Launched, LaunchError, LaunchErrorClass, LaunchOutcome, VmLook
from agent_stack.domain.lessons import learn
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.states import CapacityType, CredentialHolder, Moment, Outcome
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import MAX_NOTICES_OF_A_JOB, Waiting, WaitingList, WaitReason
from agent_stack.ports import Claims
from tests.contract.tables import AnyTables, bind
from tests.simulator.clock import EPOCH
from tests.unit.values import a_job, a_letter, a_run, a_vm, job_id

TIMED_OUT = Failure(kind=FailureKind.TIMEOUT, words="no agent after 300 s")


def pair(number: int) -> tuple[Run, Vm]:
    return a_run(number), a_vm(number)


def intent(**changes: object) -> Intent:
    values: dict[str, Any] = {
        "intent_id": IntentId("as-1"),
        "class_name": ClassName("default"),
        "request": "{}",
        "count": 2,
        "queues": (QueueKey("default"),),
        "created_at": EPOCH,
        **changes,
    }
    return Intent(**values)


def test_a_run_keeps_its_pipeline_and_build_to_its_end(tables: AnyTables) -> None:
    origin = Origin(pipeline_slug="app", pipeline_id="01890000-0000-7000-8000-000000000001", build_number=42)
    run = replace(a_run(1), origin=origin)
    (recorded,) = tables.ledger.record([run])
    assert tables.ledger.active_runs() == [run]
    (ended,) = tables.ledger.end([recorded.ended(Outcome.RELEASED, now=EPOCH)])
    assert ended.origin == origin


def test_of_two_records_of_one_job_one_wins(tables: AnyTables) -> None:
    assert len(tables.ledger.record([a_run()])) == 1
    assert tables.ledger.record([a_run()]) == []
    assert len(tables.ledger.active_runs()) == 1


def test_one_job_that_is_recorded_already_costs_only_itself(tables: AnyTables) -> None:
    tables.ledger.record([a_run(5)])
    won = tables.ledger.record([a_run(n) for n in range(1, 131)])
    assert [run.job_id for run in won] == [job_id(n) for n in range(1, 131) if n != 5]
    assert len(tables.ledger.active_runs()) == 130


def test_a_run_comes_back_as_it_was_written(tables: AnyTables) -> None:
    run, vm = pair(1)
    (run,) = tables.ledger.record([run])
    (run,) = tables.ledger.update([run.reserved(now=EPOCH, until=EPOCH + timedelta(seconds=900))])
    (run,) = bind(tables, run, vm)
    (run,) = tables.ledger.update(
        [run.with_facts(notices_sent=frozenset({"vm_requested"}), credential_holder=CredentialHolder.VM)]
    )
    (run,) = tables.ledger.update([run.finishing("because", now=EPOCH)])
    assert tables.ledger.active_runs() == [run]
    assert run.timeline[Moment.BOUND] == EPOCH


def test_an_update_wins_only_on_top_of_its_predecessor(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    later = run.reserved(now=EPOCH, until=EPOCH)
    assert tables.ledger.update([later]) == [later]
    assert tables.ledger.update([run.failing("too late")]) == []
    assert tables.ledger.active_runs() == [later]


def test_binding_fills_the_mailbox_with_it(tables: AnyTables) -> None:
    run, vm = pair(1)
    (run,) = tables.ledger.record([run])
    assert len(bind(tables, run, vm)) == 1
    assert tables.mailbox.read([vm.arn])[vm.arn].credential_holder is CredentialHolder.MAILBOX


def test_a_vm_is_bound_to_one_job_only_and_a_conflict_costs_its_own_pair(tables: AnyTables) -> None:
    runs = tables.ledger.record([a_run(n) for n in range(1, 4)])
    vms = [a_vm(1), a_vm(1), a_vm(3)]
    bound = [run.bound(vm, now=EPOCH) for run, vm in zip(runs, vms, strict=True)]
    first = tables.ledger.bind([(bound[0], a_letter(bound[0], vms[0]))])
    rest = tables.ledger.bind([(run, a_letter(run, vm)) for run, vm in zip(bound[1:], vms[1:], strict=True)])
    assert [run.job_id for run in (*first, *rest)] == [job_id(1), job_id(3)]
    assert {run.job_id: run.binding is not None for run in tables.ledger.active_runs()} == {
        job_id(1): True,
        job_id(2): False,
        job_id(3): True,
    }


def test_a_job_is_bound_to_one_vm_only(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    assert len(bind(tables, run, a_vm(1))) == 1
    assert bind(tables, run, a_vm(2)) == []
    assert set(tables.mailbox.read([a_vm(1).arn, a_vm(2).arn])) == {a_vm(1).arn}


def test_a_handed_back_run_can_be_bound_again(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (run,) = bind(tables, run, a_vm(1))
    (run,) = tables.ledger.update([run.requeued(TIMED_OUT, now=EPOCH)])
    (run,) = bind(tables, run, a_vm(2))
    assert run.attempt == 2
    assert [attempt.instance_id for attempt in run.tried] == [a_vm(1).instance_id]
    assert tables.ledger.active_runs() == [run]


def test_an_ended_run_is_history_and_what_it_used_up_is_remembered(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (run,) = bind(tables, run, a_vm())
    (run,) = tables.ledger.update([run.with_facts(notices_sent=frozenset({"vm_requested"}))])
    (ended,) = tables.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    assert tables.ledger.active_runs() == []
    assert tables.ledger.earlier([run.job_id, job_id(2)]) == {run.job_id: PriorUsage(attempts=1, notices_sent=1)}
    assert tables.ledger.end([run.ended(Outcome.LOST, now=EPOCH)]) == []
    assert tables.ledger.record([a_run(attempt=1)]) != []
    assert ended.outcome is Outcome.RELEASED


def test_a_standby_vm_that_a_job_lost_is_remembered_with_its_later_runs(tables: AnyTables) -> None:
    stood_by = replace(a_vm(1), hold=timedelta(hours=1))
    (run,) = tables.ledger.record([a_run()])
    (run,) = bind(tables, run, stood_by)
    (run,) = tables.ledger.update([run.requeued(TIMED_OUT, now=EPOCH)])
    assert tables.ledger.active_runs() == [run]
    assert run.lost_standby
    (run,) = bind(tables, run, a_vm(2))
    tables.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    (used,) = tables.ledger.earlier([run.job_id]).values()
    assert (used.attempts, used.counted, used.lost_standby) == (2, 1, True)


def test_a_run_ends_only_on_top_of_its_predecessor(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run()])
    (later,) = tables.ledger.update([run.failing("why")])
    assert tables.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH)]) == []
    assert tables.ledger.active_runs() == [later]


def test_a_later_run_that_never_had_a_vm_leaves_the_attempts_of_the_job_as_they_were(tables: AnyTables) -> None:
    (run,) = tables.ledger.record([a_run(attempt=3)])
    tables.ledger.end([run.ended(Outcome.RELEASED, now=EPOCH)])
    (refused,) = tables.ledger.record([a_run(now=EPOCH + timedelta(seconds=1), failure_reason="no class")])
    (refused,) = tables.ledger.update([refused.with_facts(notices_sent=frozenset({"x"}))])
    assert tables.ledger.end([refused.ended(Outcome.RELEASED, now=EPOCH + timedelta(seconds=2))]) != []
    assert tables.ledger.earlier([run.job_id])[run.job_id] == PriorUsage(attempts=3, notices_sent=1)


def test_an_intent_needs_the_lease_under_its_number(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    tables.ledger.write_intent(intent(), fence=held.fence)
    with pytest.raises(GiveUpError):
        tables.ledger.write_intent(intent(intent_id=IntentId("as-2")), fence=held.fence - 1)
    assert tables.ledger.open_intents() == [intent()]


def test_the_vms_of_each_intent_are_counted_with_it_and_a_look_beside_them(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    assert tables.ledger.launched() == Launched()
    tables.ledger.write_intent(intent(), fence=held.fence)
    with pytest.raises(GiveUpError):
        tables.ledger.write_intent(intent(intent_id=IntentId("as-2")), fence=held.fence - 1)
    assert tables.ledger.launched() == Launched(vms=2)
    look = VmLook(taken=7, launched=2, at=EPOCH)
    tables.ledger.record_look(look)
    tables.ledger.write_intent(intent(intent_id=IntentId("as-3"), count=3), fence=held.fence)
    assert tables.ledger.launched() == Launched(vms=5, look=look)
    tables.ledger.record_look(replace(look, taken=9))
    assert tables.ledger.launched() == Launched(vms=5, look=replace(look, taken=9))
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    assert tables.ledger.launched().uncounted == 0, "this version counts"


def test_an_intent_is_written_once_and_spent_only_while_it_is_open(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("a", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    tables.ledger.write_intent(intent(), fence=held.fence)
    with pytest.raises(GiveUpError):
        tables.ledger.write_intent(intent(request="another"), fence=held.fence)
    assert tables.ledger.open_intents() == [intent()]
    tables.ledger.close_intent(intent().intent_id)
    tables.ledger.spend_intent(intent(spent=True))
    assert tables.ledger.open_intents() == []


def test_a_spent_intent_keeps_its_vms_until_it_is_closed(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    tables.ledger.write_intent(intent(), fence=held.fence)
    spent = intent(spent=True, vms=(a_vm(1), a_vm(2)))
    tables.ledger.spend_intent(spent)
    assert tables.ledger.open_intents() == [spent]
    tables.ledger.close_intent(spent.intent_id)
    tables.ledger.close_intent(spent.intent_id)
    assert tables.ledger.open_intents() == []


def test_what_ec2_taught_comes_back_as_it_was_kept(tables: AnyTables) -> None:
    assert tables.ledger.launch_memory() == LaunchMemory()
    refused = LaunchError(error_class=LaunchErrorClass.CONFIGURATION, code="InvalidAMIID.NotFound", message="no such")
    dry = LaunchError(
        error_class=LaunchErrorClass.CAPACITY,
        code="InsufficientInstanceCapacity",
        message="dry",
        pool="spot:m7i.large:a",
    )
    memory = LaunchMemory().asking(7, Budget(burst=10, per_second=0.5), EPOCH)
    quota = LaunchError(
        error_class=LaunchErrorClass.QUOTA, code="VcpuLimitExceeded", message="no more", pool="spot:m7i.large:a"
    )
    arm = LaunchError(
        error_class=LaunchErrorClass.CONFIGURATION,
        code="InvalidParameterValue",
        message="of another architecture",
        pool="spot:m7g.large:b",
    )
    unlisted = LaunchError(
        error_class=LaunchErrorClass.UNRECOGNISED, code="Unheard", message="of", pool="spot:m7i.large:b"
    )
    memory = learn(
        memory,
        Answer(
            vm_class=VmClass(name=ClassName("default"), instance_types=("m7i.large",), image="ami-1"),
            capacity_type=CapacityType.ON_DEMAND,
            outcome=LaunchOutcome(vms=(), errors=(refused, dry, quota, arm, unlisted), count=3),
            all_pools=("on-demand:m7i.large:a",),
            now=EPOCH,
            jitter=0.5,
            vcpus={"m7i.large": 2},
        ),
    )
    memory = memory.throttled(EPOCH, 0.5)
    assert all((memory.breakers, memory.unavailable_pools, memory.quotas, memory.refused, memory.backoffs))
    tables.ledger.remember_launches(memory, fence=4)
    assert tables.ledger.launch_memory() == memory
    tables.ledger.remember_launches(LaunchMemory(), fence=3)  # of a dispatcher that lost its lease since
    assert tables.ledger.launch_memory() == memory
    for learnt in (LaunchMemory(), memory, LaunchMemory()):  # one dispatcher writes again and again
        tables.ledger.remember_launches(learnt, fence=5)
        assert tables.ledger.launch_memory() == learnt


def test_what_is_learnt_is_kept_after_somebody_has_deleted_the_lease(tables: AnyTables) -> None:
    """Its numbers begin anew then, and what was written under a larger one is older all the same."""
    tables.ledger.remember_launches(LaunchMemory(), fence=5000)
    held = tables.dispatcher_lease.acquire("me", now=EPOCH, ttl=timedelta(seconds=9))
    assert held is not None
    asked = LaunchMemory(asked=((EPOCH, 7),))
    tables.ledger.remember_launches(asked, fence=held.fence - 1)
    assert tables.ledger.launch_memory() == LaunchMemory()
    tables.ledger.remember_launches(asked, fence=held.fence)
    assert tables.ledger.launch_memory() == asked
    tables.ledger.remember_launches(LaunchMemory(), fence=held.fence - 1)
    assert tables.ledger.launch_memory() == asked


def waits(number: int, reason: WaitReason, words: str = "") -> Waiting:
    return Waiting(
        job_id=job_id(number),
        queue_key=QueueKey("default"),
        class_name=ClassName("default"),
        reason=reason,
        words=words,
    )


def test_the_list_of_those_who_wait_comes_back_in_its_order(tables: AnyTables) -> None:
    assert tables.ledger.waiting() is None
    jobs = (
        waits(3, WaitReason.MAX_INSTANCES),
        waits(1, WaitReason.BROKEN, "InvalidAMIID.NotFound: no such"),
        waits(2, WaitReason.MAX_INSTANCES),
    )
    tables.ledger.list_waiting(WaitingList(at=EPOCH, jobs=jobs))
    assert tables.ledger.waiting() == WaitingList(at=EPOCH, jobs=jobs)
    tables.ledger.list_waiting(WaitingList(at=EPOCH))
    assert tables.ledger.waiting() == WaitingList(at=EPOCH)


def test_each_job_is_told_each_reason_once(tables: AnyTables) -> None:
    first = [waits(1, WaitReason.NO_CAPACITY), waits(2, WaitReason.NO_CAPACITY)]
    assert tables.ledger.claim_notices(first).claimed == first
    again = [waits(1, WaitReason.NO_CAPACITY), waits(1, WaitReason.QUOTA), waits(3, WaitReason.NO_CAPACITY)]
    assert tables.ledger.claim_notices(again).claimed == again[1:]
    assert tables.ledger.claim_notices([*first, *again]) == Claims(claimed=[], undecided=[])


def test_no_job_is_told_too_many_reasons(tables: AnyTables) -> None:
    notices_sent = [reason for reason in WaitReason if tables.ledger.claim_notices([waits(1, reason)]).claimed]
    assert len(notices_sent) == MAX_NOTICES_OF_A_JOB < len(WaitReason)


def test_stack_keys_come_back_as_they_were_recorded_and_a_record_is_begun_once(tables: AnyTables) -> None:
    assert tables.ledger.stack_keys() is None
    begun = StackKeyRecord(prefix="ci", long=True)
    tables.ledger.record_stack_keys(begun, only_if_new=True)
    assert tables.ledger.stack_keys() == begun
    kept = StackKeyRecord(
        prefix="ci",
        long=True,
        keys={QueueKey("linux.arm"): StackKey("ci-linux-arm-0123456789")},
        retired={StackKey("old-arm"): QueueKey("linux.arm")},
    )
    tables.ledger.record_stack_keys(kept)
    tables.ledger.record_stack_keys(begun, only_if_new=True)
    assert tables.ledger.stack_keys() == kept


def test_a_run_keeps_where_its_job_comes_from_and_since_when_it_waits_into_its_history(tables: AnyTables) -> None:
    job = a_job(
        runnable_at=EPOCH - timedelta(seconds=1),
        pipeline_slug="app",
        pipeline_id="0190d2f8-0000-4000-8000-000000000009",
        build_number=1234,
        build_branch="feature|x",
    )
    run = Run.of(job, class_name=ClassName("default"), now=EPOCH, failure_reason=None)
    tables.ledger.record([run])
    (stored,) = tables.ledger.active_runs()
    assert stored == run
    assert stored.waits_since == EPOCH - timedelta(seconds=1)
    origin = stored.origin
    assert (origin.pipeline_slug, origin.pipeline_id, origin.build_number, origin.build_branch) == (
        "app",
        job.pipeline_id,
        1234,
        "feature|x",
    )
    (ended,) = tables.ledger.end([stored.ended(Outcome.RELEASED, now=EPOCH)])
    assert ended.origin == origin
