"""A write that fails costs its own items one cycle. The step goes on, says so, and the next cycle does it again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.states import JobState, RunState
from agent_stack.tracker.remember_notices import RememberNotices
from agent_stack.tracker.requeue import Requeue
from tests.simulator.clock import EPOCH
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import SMALL, WatchedLedger
from tests.unit.dispatcher.test_bind import Desk as BindDesk
from tests.unit.tracker.test_extend import Desk as ExtendDesk
from tests.unit.tracker.test_notify import booting, situation, tick_of
from tests.unit.tracker.test_requeue import Classes, lost_run
from tests.unit.tracker.test_requeue import tick_of as lost_tick
from tests.unit.tracker.test_revoke import Jobs, Records
from tests.unit.values import a_policy, a_vm, job_id

ERRORS = [RetryError("throttled"), UnknownOutcomeError("no answer"), WaitError("not permitted")]


def failing(store: Any, method: str, error: AgentStackError) -> WatchedLedger:  # noqa: ANN401  (a store)
    return WatchedLedger(store=store, fails={method: [error]})


@pytest.mark.parametrize("error", ERRORS)
def test_a_failed_write_is_logged_with_how_many_it_was_of(error: AgentStackError) -> None:
    telemetry = RecordedTelemetry()

    def write(items: Any) -> Any:  # noqa: ANN401  (a ledger's own)
        raise error

    assert written(write, [1, 2], telemetry) == ()
    assert telemetry.records == [("ERROR", "runs_not_written", {"count": 2, "error": str(error)})]


def test_nothing_is_not_written() -> None:
    def write(items: Any) -> Any:  # noqa: ANN401  (a ledger's own)
        raise AssertionError

    assert written(write, [], RecordedTelemetry()) == ()


@pytest.mark.parametrize("error", ERRORS)
def test_bind(error: AgentStackError) -> None:
    desk = BindDesk()
    run, idle = desk.ready(), {SMALL: (a_vm(1),)}
    sound = desk.bind
    desk.bind = replace(sound, ledger=failing(desk.store, "bind", error))
    assert desk.pairs([run], idle) == {}
    desk.bind = sound
    assert desk.pairs([run], idle) == {run.job_id: a_vm(1).instance_id}


@pytest.mark.parametrize("error", ERRORS)
def test_extend(error: AgentStackError) -> None:
    desk = ExtendDesk()
    run = desk.run(1)
    sound = desk.extend
    desk.extend = replace(sound, ledger=failing(desk.store, "update", error))
    assert desk.cycle(run).extended == ()
    desk.extend = sound
    assert [one.job_id for one in desk.cycle(run).extended] == [run.job_id]


@pytest.mark.parametrize("error", ERRORS)
def test_requeue(error: AgentStackError) -> None:
    ledger = WatchedLedger(store=Records().store)
    run = lost_run(ledger, number=2)
    step = Requeue(ledger=ledger, classes=Classes(), telemetry=RecordedTelemetry())
    ledger.fails["update"] = [error]
    assert step(lost_tick(run)).verdicts[run.job_id].run == run
    assert step(lost_tick(run)).verdicts[run.job_id].run.state is RunState.RESERVED


@pytest.mark.parametrize("error", ERRORS)
def test_revoke(error: AgentStackError) -> None:
    records = Records(2)
    sound = records.ledger
    records.ledger = failing(records.store, "update", error)
    jobs = Jobs({job_id(1): JobState.CANCELED, job_id(2): JobState.CANCELED})
    after = records.claim(jobs, records.looked_at(JobState.CANCELED))
    assert {verdict.decision.action for verdict in after.verdicts.values()} == {Action.REVOKE}
    records.ledger = sound
    after = records.claim(jobs, records.looked_at(JobState.CANCELED))
    assert {verdict.decision.action for verdict in after.verdicts.values()} == {Action.END}


@pytest.mark.parametrize("error", ERRORS)
def test_what_cannot_be_remembered_is_sent_by_a_later_cycle(error: AgentStackError) -> None:
    ledger = WatchedLedger(store=Records().store)
    run = booting(ledger, 2)
    step = RememberNotices(ledger=ledger, policy=a_policy(), telemetry=RecordedTelemetry())
    tick: Callable[[], Any] = lambda: tick_of(situation(run))  # noqa: E731
    ledger.fails["update"] = [error]
    assert step(tick()).notifications == ()
    sent = step(tick()).notifications
    assert [notification.at - EPOCH for _, notification in sent] == [tick().now - EPOCH]
