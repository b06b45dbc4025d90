"""`MaxLaunchAttempts`: no sequence of answers gives a job more VMs than that."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.record import Record
from agent_stack.dispatcher.reserve import Reserve
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.errors import AgentStackError, GiveUpError, NotFoundError, RetryError, UnknownOutcomeError
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import FINISH_SETTLES_AFTER, Situation
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, Outcome, RunState, VmState
from agent_stack.domain.vms import MailboxStatus
from agent_stack.ports import Reserved
from agent_stack.tracker.close import Close
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from agent_stack.tracker.finish import Finish
from agent_stack.tracker.requeue import Requeue
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, FixedClasses, ScriptedFleet, a_book
from tests.unit.values import a_job, a_letter, a_policy, a_vm, job_id

POLICY = a_policy(max_launch_attempts=3)
SAYS = ["listed", "reserve refused", "reserve unanswered", "lapses", "boot fails", "lost", "finish 404", "finish 422",
        "finish 409", "finish unknown", "finish 429", "time passes", "unmatched"]  # fmt: skip


@dataclass
class Buildkite:
    """Answers of every kind, as the test draws them."""

    reserves: str = ""
    finish_fails: AgentStackError | None = None

    def reserve(self, queue: object, job_ids: list[str], expiry: timedelta) -> Reserved:
        asked = frozenset(job_ids)
        if self.reserves == "reserve unanswered":
            return Reserved(reserved=frozenset(), not_reserved=frozenset(), errors=(RetryError("?"),))
        refused = self.reserves == "reserve refused"
        return Reserved(
            reserved=frozenset() if refused else asked,  # type: ignore[arg-type]  # ids of jobs
            not_reserved=asked if refused else frozenset(),  # type: ignore[arg-type]
        )

    def finish(self, *_: object, **__: object) -> None:
        if self.finish_fails is not None:
            raise self.finish_fails


@dataclass
class Story:
    """One job that never gets an agent, between the real steps that decide about it."""

    now: datetime = EPOCH
    store: Store = field(default_factory=Store)
    buildkite: Buildkite = field(default_factory=Buildkite)
    state: JobState = JobState.SCHEDULED
    bound: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        self.ledger, telemetry = MemoryLedger(store=self.store), RecordedTelemetry()
        self.record = Record(ledger=self.ledger, empty_ledger=EmptyLedgerCache(), policy=POLICY, telemetry=telemetry)
        self.reserve = Reserve(
            stacks=self.buildkite,  # type: ignore[arg-type]  # the one request that it makes
            ledger=self.ledger,
            policy=POLICY,
            telemetry=telemetry,
        )
        self.close = Close(ledger=self.ledger, telemetry=telemetry)
        self.requeue = Requeue(ledger=self.ledger, classes=FixedClasses(classes=a_book()), telemetry=telemetry)
        self.finish = Finish(
            stacks=self.buildkite,  # type: ignore[arg-type]  # the one request that it makes
            fleet=ScriptedFleet(),
            ledger=self.ledger,
            clock=VirtualClock(self.now),
            telemetry=telemetry,
        )

    def dispatcher(self, *, unmatched: bool) -> None:
        cycle = DispatcherCycle(now=self.now, fence=1, active=tuple(self.store.runs.values()))
        if not self.store.runs and self.state is JobState.SCHEDULED:
            job = a_job()
            listed = {"refused": ((job, "no class"),)} if unmatched else {"admitted": ((job, SMALL),)}
            cycle = self.record(DispatcherCycle(now=self.now, fence=1, **listed))  # either
        cycle = self.reserve(cycle)
        self.state = JobState.RESERVED if cycle.ready else self.state
        for run in cycle.ready:
            vm = a_vm(self.bound + 1, launched_at=self.now)
            made = run.bound(vm, now=self.now)
            self.bound += len(self.ledger.bind([(made, a_letter(made, vm))]))

    def tracker(self, *, lost: bool) -> None:
        verdicts: dict[object, Verdict] = {}
        for run in self.store.runs.values():
            situation = self._situation(run, lost=lost)
            verdicts[run.job_id] = Verdict(situation=situation, decision=decide(situation))
        cycle = TrackerCycle(now=self.now, verdicts=verdicts)  # type: ignore[arg-type]  # by job
        finish = replace(self.finish, clock=VirtualClock(self.now))
        cycle = self.close(finish(self.requeue(cycle)))
        self.over = self.over or any(run.outcome is Outcome.FAILED for run in self.store.history)

    def _situation(self, run: Run, *, lost: bool) -> Situation:
        failed = MailboxStatus(
            credential_holder=CredentialHolder.TRACKER, stage=BootStage.FAILED, stage_seconds=1.0, detail="no"
        )
        taken = run.with_facts(credential_holder=CredentialHolder.TRACKER) if run.binding is not None else run
        return Situation(
            run=self.ledger.update([taken])[0] if taken is not run else run,
            vm=a_vm(self.bound, state=VmState.TERMINATED if lost else VmState.RUNNING) if run.binding else None,
            described=True,
            job_state=self.state,
            mailbox_status=failed if run.binding is not None else None,
            boot_timeout=timedelta(minutes=5),
            policy=POLICY,
            now=self.now,
        )

    def step(self, said: str) -> None:
        self.now += timedelta(seconds=1)
        refusals: dict[str, AgentStackError] = {
            "finish 404": NotFoundError("404"),
            "finish 422": GiveUpError("422"),
            "finish 409": GiveUpError("409"),
            "finish unknown": UnknownOutcomeError("?"),
            "finish 429": RetryError("429"),
        }
        self.buildkite.reserves = said
        self.buildkite.finish_fails = refusals.get(said)
        match said:
            case "time passes":
                self.now += FINISH_SETTLES_AFTER
            case "lapses":
                self.state = JobState.SCHEDULED
            case _:
                pass
        if self.over:
            return
        self.dispatcher(unmatched=said == "unmatched")
        self.tracker(lost=said == "lost")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SAYS), min_size=5, max_size=60))
def test_no_sequence_of_answers_gives_a_job_more_vms_than_the_operator_allows(said: list[str]) -> None:
    story = Story()
    for one in said:
        story.step(one)
        assert story.bound <= POLICY.max_launch_attempts


def test_a_job_without_an_agent_does_get_every_vm_that_it_may_have() -> None:
    story = Story()
    for _ in range(20):
        story.step("boot fails")
    assert (story.bound, story.over) == (POLICY.max_launch_attempts, True)


@pytest.mark.parametrize("refusal", [NotFoundError("404"), GiveUpError("409"), GiveUpError("422")])
def test_a_refused_finish_of_a_job_that_is_still_reserved_keeps_the_run_until_the_job_is_finished(
    refusal: AgentStackError,
) -> None:
    story = Story()
    story.dispatcher(unmatched=False)
    while story.bound < POLICY.max_launch_attempts:
        story.tracker(lost=False)
        story.dispatcher(unmatched=False)
    story.buildkite.finish_fails = refusal
    story.tracker(lost=False)
    (run,) = story.store.runs.values()
    assert (run.finishing_at is not None, run.state is not RunState.ENDED) == (True, True)
    story.buildkite.finish_fails = None
    story.now += FINISH_SETTLES_AFTER
    story.tracker(lost=False)
    assert [run.outcome for run in story.store.history] == [Outcome.FAILED]
    assert story.store.earlier[job_id()].attempts == POLICY.max_launch_attempts


def test_a_requeue_is_the_answer_to_every_failed_boot_but_the_last() -> None:
    story = Story()
    story.dispatcher(unmatched=False)
    (run,) = story.store.runs.values()
    assert decide(story._situation(run, lost=False)).action is Action.REQUEUE
