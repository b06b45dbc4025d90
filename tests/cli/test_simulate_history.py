"""What a stack ran, as a load and as boot times: as much of it as its ledger keeps."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment, Outcome
from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation.history import boots_from, load_from
from tests.cli.served import Served
from tests.simulator.clock import EPOCH
from tests.unit.values import a_run, a_vm

SECOND = timedelta(seconds=1)


def an_ended_run(number: int, *, came: float, boots: float | None, ran: float, class_name: str = "large") -> Run:
    """A job that came so many seconds after the epoch; without `boots` no agent ever had it."""
    at = EPOCH + SECOND * came
    run = replace(
        a_run(number, now=at, class_name=ClassName(class_name)),
        timeline={Moment.SCHEDULED: at, Moment.RECORDED: at + SECOND},
    )
    if boots is None:
        return run.ended(Outcome.CANCELLED, now=at + SECOND * ran)
    run = run.bound(replace(a_vm(number), launched_at=at + 3 * SECOND), now=at + 4 * SECOND)
    started = at + SECOND * (3 + boots)
    moments = {Moment.AGENT_STARTED: started, Moment.JOB_RUNNING: started}
    run = run.running(now=started, observed_moments=moments)
    return run.ended(Outcome.FINISHED, now=started + SECOND * ran)


RUNS = [
    an_ended_run(1, came=600, boots=30, ran=100),
    an_ended_run(2, came=660, boots=50, ran=20, class_name="spot/on-demand"),
    an_ended_run(3, came=700, boots=None, ran=45),
]


def test_jobs_come_again_when_they_came_and_run_as_long_as_they_ran() -> None:
    load = load_from(RUNS, 0, name="ci", hours=None)
    assert [(job.at, job.seconds, job.agents) for job in load.jobs[:2]] == [
        (600, 100, ("class=large",)),
        (660, 20, ("class=spot",)),
    ]
    assert load.problems == ()
    assert "3 jobs that ci ran from 2026-01-05 09:00 UTC on" in load.said


def test_a_job_that_no_agent_ran_is_cancelled_when_it_ended() -> None:
    job = load_from(RUNS, 0, name="ci", hours=None).jobs[2]
    assert (job.at, job.cancel_at) == (700, 745)


def test_only_the_last_hours_count_and_records_that_cannot_be_read_are_said() -> None:
    late = an_ended_run(4, came=3 * 3600, boots=20, ran=5)
    load = load_from([*RUNS, late], 2, name="ci", hours=1)
    assert len(load.jobs) == 1
    assert load.problems == ("2 records of the ledger cannot be read, and are left out; run doctor",)


def test_boots_are_from_launch_to_agent() -> None:
    boots = boots_from(RUNS, name="ci")
    assert (boots.quantiles[0], boots.quantiles[-1]) == (30, 50)
    with pytest.raises(CliError, match="keeps no boot"):
        boots_from(RUNS[2:], name="ci")


def test_a_stack_without_a_history_is_told_what_else_there_is(served: Served) -> None:
    for words, problem in (("--load", "no job"), ("--boots", "no boot")):
        result = served.run("simulate", "--stack", "demo", words, "history", "--report", "none.html")
        assert result.exit_code == 1
        assert f"the ledger of demo keeps {problem}" in result.stderr
        assert "Next: " in result.stderr
