"""Bind: one run to one VM, by one transaction, whoever else writes at the same time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.bind import AGENT_TOKEN, PLACEHOLDER, AgentIdentity, Bind
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId, QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import RunState, VmState
from agent_stack.domain.vms import Assignment, Vm
from agent_stack.ports import JobTokens
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, a_book, a_class, a_standby_pool
from tests.unit.values import a_letter, a_policy, a_run, a_vm

SECOND = timedelta(seconds=1)
QUEUE, OTHER = QueueKey("default"), QueueKey("other")


@dataclass
class Mint:
    """Buildkite, as far as tokens go: it issues none for some jobs, and none at all for some queues."""

    withheld: frozenset[JobId] = frozenset()
    closed: frozenset[QueueKey] = frozenset()
    asked: list[tuple[QueueKey, list[JobId], timedelta]] = field(default_factory=list)

    def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
        self.asked.append((queue, list(job_ids), lifetime))
        if queue in self.closed:
            return JobTokens(tokens={}, not_issued=frozenset(), errors=(RetryError("429"),))
        issued = {job_id: f"token of {job_id}" for job_id in job_ids if job_id not in self.withheld}
        return JobTokens(tokens=issued, not_issued=frozenset(job_ids) & self.withheld)


@dataclass
class WakeUpsCounted:
    """The tracker's queue."""

    sent: int = 0

    def wake_tracker(self) -> None:
        self.sent += 1


class Desk:
    """Where runs and VMs are joined."""

    def __init__(self, mint: Mint | None = None, kind: str = "job-token") -> None:
        self.mint, self.store, self.telemetry = mint or Mint(), Store(), RecordedTelemetry()
        self.ledger, self.tokens = MemoryLedger(store=self.store), TokenSupply()
        self.pool, self.wake_ups = a_standby_pool(self.store), WakeUpsCounted()
        stacks: Any = self.mint
        self.bind = Bind(
            stacks=stacks,
            ledger=self.ledger,
            tokens=self.tokens,
            policy=a_policy(),
            identity=AgentIdentity(
                endpoint="https://agent.buildkite.com/v3",
                deployment="stack",
                credential_kind=kind,
                deployment_tags=("team=a",),
            ),
            telemetry=self.telemetry,
            pool=self.pool,
            wake_ups=self.wake_ups,
        )

    def ready(self, number: int = 1, class_name: ClassName = SMALL, queue: QueueKey = QUEUE) -> Run:
        (run,) = self.ledger.record([replace(a_run(number, class_name=class_name), queue_key=queue)])
        return run

    def pairs(self, ready: Sequence[Run], idle: Mapping[ClassName, tuple[Vm, ...]]) -> dict[JobId, InstanceId]:
        """Which run got which VM."""
        cycle = self.bind(
            DispatcherCycle(now=EPOCH + SECOND, fence=1, book=a_book(), ready=tuple(ready), idle_vms=idle)
        )
        return {run.job_id: run.binding.instance_id for run in cycle.bound if run.binding is not None}

    def letter(self, vm: Vm) -> Assignment:
        return self.store.boxes[vm.arn].assignment


# --- who gets which VM ---


def test_the_first_run_gets_the_oldest_vm_of_its_class() -> None:
    desk = Desk()
    first, second = desk.ready(1), desk.ready(2)
    young, old = a_vm(1, launched_at=EPOCH), a_vm(2, launched_at=EPOCH - SECOND)
    assert desk.pairs([second, first], {SMALL: (young, old)}) == {
        second.job_id: old.instance_id,
        first.job_id: young.instance_id,
    }


def test_a_run_gets_no_vm_of_another_class() -> None:
    desk = Desk()
    small, large = desk.ready(1), desk.ready(2, LARGE)
    assert desk.pairs([small, large], {LARGE: (a_vm(1), a_vm(2))}) == {large.job_id: a_vm(1).instance_id}


def test_without_a_pair_no_token_is_asked_for() -> None:
    desk = Desk()
    assert desk.pairs([desk.ready()], {SMALL: ()}) == {}
    assert desk.pairs([], {SMALL: (a_vm(),)}) == {}
    assert desk.mint.asked == []
    assert not desk.tokens.down(EPOCH + SECOND), "nothing was learnt about tokens"


def test_tokens_are_asked_for_those_runs_alone_that_get_a_vm() -> None:
    desk = Desk()
    first, second = desk.ready(1), desk.ready(2)
    desk.pairs([first, second], {SMALL: (a_vm(1),)})
    assert desk.mint.asked == [(QUEUE, [first.job_id], a_policy().reservation)]


# --- what is written ---


def test_run_and_mailbox_are_written_together() -> None:
    desk = Desk()
    run = desk.ready()
    desk.pairs([run], {SMALL: (a_vm(),)})
    (stored,) = desk.ledger.active_runs()
    assert stored == run.bound(a_vm(), now=EPOCH + SECOND)
    assert stored.state is RunState.BOOTING
    letter = desk.letter(a_vm())
    assert (letter.job_id, letter.queue_key, letter.credential) == (run.job_id, QUEUE, f"token of {run.job_id}")
    assert (letter.agent_name, letter.credential_kind) == (f"stack-{a_vm().instance_id}", "job-token")
    assert letter.expires_at == EPOCH + SECOND + a_policy().max_lifetime


def test_an_agent_is_told_the_operators_name_of_its_class_and_the_tags_of_both() -> None:
    desk = Desk()
    run = desk.ready(class_name=ClassName("small/m7i.large"))
    tagged = a_book(a_class(SMALL, agent_tags=("gpu=no",)))
    desk.bind(DispatcherCycle(now=EPOCH, fence=1, book=tagged, ready=(run,), idle_vms={run.class_name: (a_vm(),)}))
    assert desk.letter(a_vm()).agent_tags == ("class=small", "team=a", "gpu=no")


def test_a_run_of_a_class_that_was_removed_since_still_gets_its_vm() -> None:
    desk = Desk()
    removed = ClassName("removed")
    run = desk.ready(class_name=removed)
    assert desk.pairs([run], {removed: (a_vm(),)}) == {run.job_id: a_vm().instance_id}
    assert desk.letter(a_vm()).agent_tags == ("class=removed", "team=a")


def test_a_vm_that_reads_the_agent_token_elsewhere_gets_a_placeholder_and_buildkite_is_not_asked() -> None:
    desk = Desk(kind=AGENT_TOKEN)
    desk.pairs([desk.ready()], {SMALL: (a_vm(),)})
    assert (desk.letter(a_vm()).credential, desk.mint.asked) == (PLACEHOLDER, [])
    assert not desk.tokens.down(EPOCH + SECOND)


# --- others write, too ---


def test_of_two_dispatchers_that_give_one_vm_to_two_runs_one_wins() -> None:
    desk = Desk()
    first, second = desk.ready(1), desk.ready(2)
    assert desk.pairs([first], {SMALL: (a_vm(),)}) == {first.job_id: a_vm().instance_id}
    assert desk.pairs([second], {SMALL: (a_vm(),)}) == {}
    assert desk.letter(a_vm()).job_id == first.job_id
    assert desk.store.runs[second.job_id] == second
    assert ("INFO", "jobs_not_bound", {"count": 1}) in desk.telemetry.records


def test_of_two_dispatchers_that_give_one_run_two_vms_one_wins() -> None:
    desk = Desk()
    run = desk.ready()
    desk.pairs([run], {SMALL: (a_vm(1),)})
    assert desk.pairs([run], {SMALL: (a_vm(2),)}) == {}
    assert set(desk.store.boxes) == {a_vm(1).arn}, "the second VM gets no letter"


def test_a_run_that_the_tracker_ended_meanwhile_costs_only_its_own_pair() -> None:
    desk = Desk()
    first, second = desk.ready(1), desk.ready(2)
    del desk.store.runs[first.job_id]
    assert desk.pairs([first, second], {SMALL: (a_vm(1), a_vm(2))}) == {second.job_id: a_vm(2).instance_id}
    assert set(desk.store.boxes) == {a_vm(2).arn}


def test_a_vm_that_has_a_letter_is_given_to_nobody_else() -> None:
    desk = Desk()
    run = desk.ready(1)
    another = a_run(9).bound(a_vm(), now=EPOCH)
    desk.ledger.record([a_run(9)])
    desk.ledger.bind([(another, a_letter(another, a_vm()))])
    assert desk.pairs([run], {SMALL: (a_vm(),)}) == {}
    assert desk.letter(a_vm()).job_id == another.job_id


# --- tokens ---


def test_a_job_without_a_token_keeps_waiting_and_the_others_are_bound() -> None:
    desk = Desk()
    first, second = desk.ready(1), desk.ready(2)
    desk.mint.withheld = frozenset({first.job_id})
    assert set(desk.pairs([first, second], {SMALL: (a_vm(1), a_vm(2))})) == {second.job_id}
    assert desk.store.runs[first.job_id] == first
    assert a_vm(1).arn not in desk.store.boxes
    assert desk.telemetry.messages() == ["token_not_issued", "job_bound", "jobs_not_bound"]
    assert desk.telemetry.counts[Metric.TOKENS_NOT_ISSUED] == 1


def test_a_queue_that_issues_no_tokens_holds_up_no_other_queue() -> None:
    desk = Desk(Mint(closed=frozenset({QUEUE})))
    first, second = desk.ready(1), desk.ready(2, queue=OTHER)
    assert set(desk.pairs([first, second], {SMALL: (a_vm(1), a_vm(2))})) == {second.job_id}
    assert desk.telemetry.messages("ERROR") == ["tokens_not_issued"]
    assert not desk.tokens.down(EPOCH + SECOND), "some tokens came"


def test_where_no_token_came_at_all_launches_wait() -> None:
    desk = Desk(Mint(closed=frozenset({QUEUE})))
    desk.pairs([desk.ready()], {SMALL: (a_vm(),)})
    assert desk.tokens.down(EPOCH + SECOND)


def test_tokens_are_asked_for_in_one_request_a_queue() -> None:
    desk = Desk()
    runs = [desk.ready(1), desk.ready(2, queue=OTHER), desk.ready(3)]
    desk.pairs(runs, {SMALL: (a_vm(1), a_vm(2), a_vm(3))})
    asked = {queue: job_ids for queue, job_ids, _ in desk.mint.asked}
    assert len(desk.mint.asked) == 2
    assert asked == {QUEUE: [runs[0].job_id, runs[2].job_id], OTHER: [runs[1].job_id]}


@pytest.mark.parametrize(("queue", "named"), [("default", "default"), ("_default", ""), ("__default__", "")])
def test_an_agent_of_the_default_queue_names_none_because_only_buildkite_knows_its_key(queue: str, named: str) -> None:
    desk = Desk()
    desk.pairs([desk.ready(queue=QueueKey(queue))], {SMALL: (a_vm(),)})
    assert desk.letter(a_vm()).queue_key == named


# --- the tracker is woken ---

STANDBY = replace(a_vm(1), hold=timedelta(hours=4))


def bind_standby(desk: Desk, *, vm: Vm = STANDBY, active: Sequence[Run] = ()) -> None:
    desk.pool.add([StandbyVm.of(vm, class_name=SMALL, hold=timedelta(hours=4), shape="")])
    run = desk.ready()
    listed = (StandbyVm.of(replace(vm, state=VmState.RUNNING), class_name=SMALL, hold=timedelta(hours=4), shape=""),)
    desk.bind(
        DispatcherCycle(
            now=EPOCH + timedelta(hours=1),
            fence=1,
            book=a_book(),
            ready=(run,),
            active=(run, *active),
            standby={SMALL: listed},
        )
    )


def test_a_job_on_a_standby_vm_wakes_the_tracker_because_ec2_tells_nothing_of_it() -> None:
    desk = Desk()
    bind_standby(desk)
    assert desk.wake_ups.sent == 1


def test_a_tracker_that_is_at_work_is_not_woken() -> None:
    desk = Desk()
    bind_standby(desk, active=[a_run(2).bound(a_vm(2), now=EPOCH)])
    assert desk.wake_ups.sent == 0


def test_a_job_on_a_vm_that_was_launched_for_it_wakes_no_tracker() -> None:
    desk = Desk()
    assert desk.pairs([desk.ready()], {SMALL: (a_vm(),)})
    assert desk.wake_ups.sent == 0


def test_a_standby_vm_that_was_closed_wakes_no_tracker() -> None:
    desk = Desk()
    desk.store.put_box(STANDBY.arn, None)
    bind_standby(desk)
    assert desk.wake_ups.sent == 0


def test_a_standby_vm_that_could_not_be_bound_is_offered_to_no_job_until_the_next_look() -> None:
    closed, given = Desk(), Desk()
    closed.store.put_box(STANDBY.arn, None)
    for desk in (closed, given):
        bind_standby(desk)
    assert closed.pool._spoiled == {STANDBY.instance_id}
    assert given.pool._spoiled == set()


def test_a_pause_that_begins_while_buildkite_issues_tokens_binds_nothing() -> None:
    class Slow(Mint):
        def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
            permission.observe(Pauses(paused={"default": OperatorPause(since=EPOCH)}), timedelta())
            return super().issue_tokens(queue, job_ids, lifetime)

    permission, desk = LaunchPermission(), Desk(Slow())
    desk.bind = replace(desk.bind, permission=permission)
    here, there = desk.ready(1), desk.ready(2, queue=OTHER)
    assert set(desk.pairs([here, there], {SMALL: (a_vm(1), a_vm(2))})) == {there.job_id}
    assert desk.store.runs[here.job_id] == here
