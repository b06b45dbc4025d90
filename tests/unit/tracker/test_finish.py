"""Finish: recorded first, asked once, and each job for itself."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack.adapters.stacks_api.limits import FINISH
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.errors import AgentStackError, GiveUpError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import FINISH_SETTLES_AFTER
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, Outcome
from agent_stack.domain.vms import MailboxStatus
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.finish import EXIT_STATUS, SENT_WITHIN, Finish
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import ScriptedFleet, WatchedLedger
from tests.unit.tracker.parts import NOW, ScriptedStacks, a_cycle, a_verdict
from tests.unit.values import a_run, a_vm, job_id


class Court:
    """Runs that wait for their end."""

    def __init__(self, finishes: Mapping[JobId, AgentStackError] | None = None) -> None:
        self.journal: list[str] = []
        self.store, self.telemetry, self.clock = Store(), RecordedTelemetry(), VirtualClock(NOW)
        self.ledger = WatchedLedger(store=self.store, journal=self.journal)
        self.stacks = ScriptedStacks(finishes=finishes or {}, journal=self.journal)
        self.finish = Finish(
            stacks=self.stacks,  # type: ignore[arg-type]  # the one request that it makes
            fleet=ScriptedFleet(),
            ledger=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
        )

    def runs(self, count: int) -> list[Run]:
        won = list(self.ledger.record([a_run(number, failure_reason="No VM.") for number in range(1, count + 1)]))
        self.journal.clear()
        return won

    def cycle(self, *runs: Run, action: Action = Action.FINISH) -> TrackerCycle:
        return self.finish(a_cycle(*(a_verdict(run, action, reason="No VM.") for run in runs)))

    def outcomes(self) -> dict[JobId, Outcome | None]:
        return {run.job_id: run.outcome for run in self.store.history}


def test_the_intention_is_recorded_before_buildkite_is_asked_and_the_end_after() -> None:
    court = Court()
    court.cycle(*court.runs(1))
    assert court.journal == ["update", "finish", "end"]


def test_buildkite_is_asked_with_the_exit_status_of_a_lost_agent_and_told_why() -> None:
    court = Court()
    (run,) = court.runs(1)
    court.cycle(run)
    ((queue, job, exit_status, detail),) = court.stacks.finished
    assert (queue, job, exit_status) == (run.queue_key, run.job_id, EXIT_STATUS)
    assert detail.startswith("No VM.")


@pytest.mark.parametrize(
    ("detail", "is_read"),
    [("", True), ("1 ", True), ("255 (spot notice) ", True), ("1 ERROR  404", False), ("disk is full", False)],
)
def test_the_console_is_read_where_the_vm_gave_no_words(detail: str, is_read: bool) -> None:  # noqa: FBT001  (a case)
    court = Court()
    (run,) = court.ledger.record([a_run(1)])
    (run,) = court.ledger.update([run.bound(a_vm(), now=NOW)])
    said = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_EXITED, detail=detail)
    court.finish(a_cycle(a_verdict(run, Action.FINISH, mailbox_status=said)))
    ((_, _, _, told),) = court.stacks.finished
    assert ("console" in told) is is_read


def test_what_a_console_shows_reaches_the_build_page_as_text_that_nothing_obeys() -> None:
    court = Court()
    (run,) = court.ledger.record([a_run(1)])
    (run,) = court.ledger.update([run.bound(a_vm(), now=NOW)])
    shown = "\x1b[31mred\x1b[0m \x07bell\r\nlast \x00line"
    fleet: Any = SimpleNamespace(console_output=lambda _: shown)
    replace(court.finish, fleet=fleet)(a_cycle(a_verdict(run, Action.FINISH)))
    ((_, _, _, told),) = court.stacks.finished
    console = told.partition("console:\n")[2]
    assert "red" in console
    assert "last" in console
    assert all(c.isprintable() or c == "\n" for c in console)


def test_a_job_that_was_finished_leaves_an_ended_run_with_its_reason() -> None:
    court = Court()
    (run,) = court.runs(1)
    after = court.cycle(run).verdicts[run.job_id].run
    (ended,) = court.store.history
    assert ended == after
    assert (ended.outcome, ended.failure_reason, ended.finishing_at) == (Outcome.FAILED, "No VM.", NOW)
    assert court.store.runs == {}


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (GiveUpError("404"), Outcome.RELEASED, "job_not_finished"),
        (UnknownOutcomeError("no answer"), None, "job_finish_unknown"),
        (RetryError("429"), None, "job_finish_failed"),
        (WaitError("token expired"), None, "job_finish_failed"),
    ],
)
def test_one_finish_that_failed_does_not_stop_the_others(
    error: AgentStackError, outcome: Outcome | None, said: str
) -> None:
    court = Court({job_id(2): error})
    court.cycle(*court.runs(3))
    assert [job for _, job, _, _ in court.stacks.finished] == [job_id(1), job_id(2), job_id(3)]
    expected = {job_id(1): Outcome.FAILED, job_id(2): outcome, job_id(3): Outcome.FAILED}
    assert court.outcomes() == {job: end for job, end in expected.items() if end is not None}
    assert [one for one in court.telemetry.messages() if one != "job_finished"] == [said]


def test_a_finish_whose_outcome_is_unknown_is_not_asked_again_until_it_must_have_arrived() -> None:
    court = Court({job_id(1): UnknownOutcomeError("no answer")})
    court.cycle(*court.runs(1))
    (run,) = court.store.runs.values()
    for later, action in ((FINISH_SETTLES_AFTER / 2, Action.KEEP), (FINISH_SETTLES_AFTER, Action.FINISH)):
        seen = a_verdict(run, Action.KEEP, job_state=JobState.RESERVED, now=NOW + later).situation
        assert decide(seen).action is action


def test_in_a_cycle_that_lasts_the_intention_has_the_time_at_which_it_is_recorded() -> None:
    """Another tracker counts from it: with the cycle's beginning it asked while this request was under way."""
    court = Court({job_id(1): UnknownOutcomeError("no answer")})
    court.clock.sleep(FINISH_SETTLES_AFTER)
    court.cycle(*court.runs(1))
    (run,) = court.store.runs.values()
    assert run.finishing_at == NOW + FINISH_SETTLES_AFTER


@pytest.mark.parametrize(("seconds", "asked"), [(9, [job_id(1), job_id(2)]), (11, [job_id(1)])])
def test_what_cannot_be_asked_soon_after_its_intention_is_left_to_a_later_cycle(
    seconds: int, asked: list[JobId]
) -> None:
    court = Court()
    finish = court.stacks.finish

    def slowly(*args: object, **named: object) -> None:
        court.clock.sleep(timedelta(seconds=seconds))
        finish(*args, **named)  # type: ignore[arg-type]  # as it was called

    court.stacks.finish = slowly  # type: ignore[method-assign]
    court.cycle(*court.runs(2))
    assert [job for _, job, _, _ in court.stacks.finished] == asked
    assert set(court.outcomes()) == set(asked)
    assert court.telemetry.messages().count("job_finish_later") == 2 - len(asked)
    for run in court.store.runs.values():
        seen = a_verdict(run, Action.KEEP, job_state=JobState.RESERVED, now=NOW + FINISH_SETTLES_AFTER).situation
        assert decide(seen).action is Action.FINISH


def test_a_request_is_over_before_another_process_may_ask_again() -> None:
    assert SENT_WITHIN + FINISH.timeout < FINISH_SETTLES_AFTER


def test_after_a_finish_whose_outcome_is_unknown_the_cycle_speaks_of_the_run_as_recorded() -> None:
    court = Court({job_id(1): UnknownOutcomeError("no answer")})
    (run,) = court.runs(1)
    assert court.cycle(run).verdicts[run.job_id].run == court.store.runs[run.job_id]


@pytest.mark.parametrize("state", [JobState.FINISHED, JobState.BROKEN, JobState.CANCELED])
def test_a_tracker_that_died_between_asking_and_recording_learns_the_end_from_the_jobs_state(state: JobState) -> None:
    court = Court()
    (run,) = court.runs(1)
    court.ledger.fails["end"] = [RetryError("throttled")]
    court.cycle(run)
    assert court.telemetry.messages("ERROR") == ["runs_not_written"]
    (left,) = court.store.runs.values()
    assert left.finishing_at == NOW
    decision = decide(a_verdict(left, Action.KEEP, job_state=state).situation)
    assert (decision.action, decision.outcome) == (Action.END, Outcome.FAILED)


def test_when_no_intention_can_be_recorded_buildkite_is_not_asked() -> None:
    court = Court()
    runs = court.runs(2)
    court.ledger.fails["update"] = [RetryError("throttled")]
    court.cycle(*runs)
    assert court.stacks.finished == []
    assert court.telemetry.messages("ERROR") == ["runs_not_written"]


def test_a_run_that_another_changed_meanwhile_is_not_finished_and_the_others_are() -> None:
    court = Court()
    first, second = court.runs(2)
    court.ledger.update([first.bound(a_vm(), now=EPOCH)])
    court.cycle(first, second)
    assert [job for _, job, _, _ in court.stacks.finished] == [second.job_id]
    assert court.outcomes() == {second.job_id: Outcome.FAILED}


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.FINISH])
def test_only_what_was_decided_to_be_finished_is(action: Action) -> None:
    court = Court()
    (run,) = court.runs(1)
    assert court.cycle(run, action=action).verdicts[run.job_id].run == run
    assert court.stacks.finished == []
