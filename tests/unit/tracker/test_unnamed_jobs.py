"""When a job counts as forgotten: several complete answers in a row, over some time, and no failed one."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.measures import Metric
from agent_stack.domain.states import JobState
from agent_stack.outages import MAX_LINES, Outages
from agent_stack.tracker.job_states import JobAnswers, job_states
from agent_stack.tracker.unnamed_jobs import FORGOTTEN_AFTER, FORGOTTEN_ANSWERS, LONGEST_GAP, UnnamedJobs
from tests.simulator.clock import EPOCH
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.tracker.parts import ScriptedStacks
from tests.unit.values import a_run, job_id

RUN, OTHER = a_run(1), a_run(2)
STEP = FORGOTTEN_AFTER / (FORGOTTEN_ANSWERS - 1)
UNNAMED: Mapping[JobId, JobState] = {}
FAILED = JobAnswers(states={}, answered=frozenset())
SECOND = timedelta(seconds=1)


def said(states: Mapping[JobId, JobState] = UNNAMED) -> JobAnswers:
    return JobAnswers(states=states, answered=frozenset({RUN.job_id, OTHER.job_id}))


def counted(answers: Iterable[JobAnswers], gap: timedelta = STEP) -> tuple[frozenset[JobId], RecordedTelemetry]:
    """What is forgotten after these answers, that far apart."""
    telemetry = RecordedTelemetry()
    unnamed = UnnamedJobs(telemetry=telemetry)
    forgotten = frozenset[JobId]()
    for number, answer in enumerate(answers):
        forgotten = unnamed.record([RUN], answer, EPOCH + number * gap)
    return forgotten, telemetry


@pytest.mark.parametrize(
    "states", [UNNAMED, {job_id(1): JobState.UNRECOGNISED}, {job_id(1): JobState.LIMITED}], ids=["no", "odd", "inert"]
)
def test_several_complete_answers_in_a_row_make_a_job_forgotten_and_one_line(states: Mapping[JobId, JobState]) -> None:
    assert counted([said(states)] * (FORGOTTEN_ANSWERS - 1))[0] == frozenset()
    forgotten, telemetry = counted([said(states)] * (FORGOTTEN_ANSWERS + 3))
    assert forgotten == {RUN.job_id}
    assert telemetry.messages("INFO") == ["job_forgotten"]


def test_answers_in_quick_succession_are_not_enough() -> None:
    assert counted([said()] * (FORGOTTEN_ANSWERS + 3), gap=SECOND)[0] == frozenset()


def test_one_answer_that_names_the_job_begins_the_row_anew() -> None:
    named = said({RUN.job_id: JobState.RUNNING})
    assert counted([*[said()] * (FORGOTTEN_ANSWERS - 1), named, said()])[0] == frozenset()


def test_a_failed_answer_proves_nothing_in_either_direction() -> None:
    assert counted([FAILED] * 2 * FORGOTTEN_ANSWERS)[0] == frozenset()
    assert counted([*[said()] * FORGOTTEN_ANSWERS, FAILED])[0] == frozenset()
    assert counted([*[said()] * (FORGOTTEN_ANSWERS - 1), FAILED, said()])[0] == {RUN.job_id}


def test_a_long_silence_begins_the_row_anew() -> None:
    assert counted([said()] * 2 * FORGOTTEN_ANSWERS, gap=LONGEST_GAP + SECOND)[0] == frozenset()


@pytest.mark.parametrize("failing", ["unanswered", "half_answered"])
def test_an_answer_of_which_a_part_failed_is_not_complete(failing: str) -> None:
    silent: dict[str, Any] = {failing: frozenset({RUN.queue_key})}
    stacks = ScriptedStacks(states={RUN.job_id: JobState.RUNNING}, **silent)
    telemetry, failures = RecordedTelemetry(), Outages()
    for _ in range(3):
        answers = job_states([RUN, OTHER], stacks, telemetry, failures)  # type: ignore[arg-type]  # the one question
        assert answers.answered == frozenset()
    assert telemetry.messages("INFO") == ["job_states_unknown"], "one line for failures that are the same"


def test_states_that_stay_unknown_count_as_errors_and_their_return_is_logged() -> None:
    stacks = ScriptedStacks(unanswered=frozenset({RUN.queue_key}))
    telemetry, failures = RecordedTelemetry(), Outages()

    def ask() -> None:
        job_states([RUN], stacks, telemetry, failures)  # type: ignore[arg-type]  # the one question

    ask()
    assert Metric.ERRORS not in telemetry.counts, "one failure is no error"
    for _ in range(2):
        ask()
    assert telemetry.counts[Metric.ERRORS] == 2, "the alarm rings while it lasts"
    stacks.unanswered = frozenset()
    for _ in range(2):
        ask()
    assert telemetry.messages("INFO") == ["job_states_unknown", "job_states_known_again"]
    assert telemetry.counts[Metric.ERRORS] == 2


def test_states_that_stay_unknown_for_changing_reasons_count_as_errors_too() -> None:
    """A text may have a number of its own each time: whether it lasts is told by the failure before."""
    stacks, telemetry, failures = ScriptedStacks(unanswered=frozenset({RUN.queue_key})), RecordedTelemetry(), Outages()
    for number in range(20):
        stacks.no_answer = AgentStackError(f"no answer to request {number % 2 if number < 10 else number}")
        job_states([RUN], stacks, telemetry, failures)  # type: ignore[arg-type]  # the one question
    assert telemetry.counts[Metric.ERRORS] == 19
    assert len(telemetry.messages("INFO")) <= MAX_LINES
