"""Pipelines in the whole stack on the virtual clock: what becomes of every job, and what the person does meanwhile."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulator.buildkite import FAILED_UNRUN, JobState, JobView, Operation, StepKind
from tests.simulator.demo.judgement import is_silent, not_run
from tests.simulator.demo.model import Demo
from tests.simulator.demo.pipeline import parse_pipeline, read_pipeline
from tests.simulator.demo.play import Play, with_environment
from tests.simulator.demo.snapshot import Camera, in_order, standing
from tests.simulator.simulation.simulation import Simulation
from tests.unit.simulator.played import played, world

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def ends(play: Play) -> dict[str, str]:
    return {job.label: standing(job, None)[1] for job in in_order(play.buildkite.jobs())}


def jobs(play: Play, label: str) -> list[JobView]:
    return [job for job in in_order(play.buildkite.jobs()) if job.label == label]


def test_the_monorepo_runs_in_its_order() -> None:
    pipeline = read_pipeline(SCRIPTS / "demo-monorepo.yml")
    commands = [one for one in pipeline.steps if one.step.kind is StepKind.COMMAND]
    assert (
        len({one.step.handle for one in commands}) == 30 - 3
    )  # a matrix of four, and three in parallel, are a step each
    play, simulation = played(pipeline, {"Licences": "2", "Unit flaky queue": "1 0"})

    ended = ends(play)
    assert {label: end for label, end in ended.items() if end not in {"passed", "released"}} == {
        "Licences": "exit 2, soft fail",
        "Unit web on arm": "skipped: no browser there",
    }
    assert [standing(job, None)[0] for job in jobs(play, "Unit flaky queue")] == ["retried", "passed"]
    (image,) = jobs(play, "Image web")
    flaky_end = jobs(play, "Unit flaky queue")[-1].timeline[-1][1]
    assert image.runnable_at is not None
    assert image.runnable_at >= flaky_end, "the wait does not wait for the retry"
    (block,) = jobs(play, "Release to production?")
    (deploy,) = jobs(play, "Deploy canary")
    assert deploy.runnable_at == block.entered(JobState.FINISHED)
    assert [len(jobs(play, f"Browser tests ({n}/3)")) for n in (1, 2, 3)] == [1, 1, 1]
    ran = [job for job in play.buildkite.jobs() if job.entered(JobState.RUNNING)]
    assert len(simulation.ec2.instances()) == len(ran), "a job did not have a VM of its own"
    simulation.settle(600)


RETRIES = """
steps:
- label: Unit
  command: make unit
  retry:
    automatic:
    - {exit_status: 42, limit: 2}
    - {exit_status: "*", limit: 1}
- label: Lint
  command: make lint
  soft_fail: [{exit_status: 1}]
- wait
- {label: Ship, command: make ship, key: ship}
- wait
- {label: Announce, command: make news}
- wait: ~
  continue_on_failure: true
- {label: Clean, command: make clean}
- {label: Report, command: report, depends_on: {step: ship, allow_failure: true}}
"""


@pytest.mark.parametrize(
    ("exits", "attempts", "then"),
    [
        ({"Unit": "42 42 0", "Lint": "1"}, 3, {"Lint": "exit 1, soft fail", "Ship": "passed"}),
        ({"Unit": "42 42 42"}, 3, {"Unit": "exit 42", "Ship": "not run"}),
        ({"Unit": "7 7"}, 2, {"Unit": "exit 7", "Ship": "not run"}),
        ({"Lint": "2"}, 1, {"Lint": "exit 2", "Ship": "not run", "Announce": "not run", "Clean": "passed"}),
        ({"Ship": "1"}, 1, {"Ship": "exit 1", "Announce": "not run", "Clean": "passed", "Report": "passed"}),
    ],
)
def test_retries_soft_failures_and_who_goes_on(
    exits: Mapping[str, str], attempts: int, then: Mapping[str, str]
) -> None:
    play, _ = played(parse_pipeline(RETRIES), exits)
    ended = ends(play)
    assert len(jobs(play, "Unit")) == attempts
    assert {label: ended[label][: len(end)] for label, end in then.items()} == then
    assert (ended["Clean"], ended["Report"]) == ("passed", "passed")


def test_what_never_ran_is_said_in_one_line_unless_it_was_meant() -> None:
    text = "steps:\n- {label: A, command: a}\n- wait\n- {label: B, command: b}\n- {label: C, command: c}\n"
    play, _ = played(parse_pipeline(text), {"A": "1"})
    assert list(not_run(play.buildkite.jobs(), play.expected)) == [
        "did not run, because a step that they wait for failed: B, C"
    ]
    meant = {job.id: Demo(expect="not_run") for job in play.buildkite.jobs()}
    assert list(not_run(play.buildkite.jobs(), meant)) == []


def test_a_page_that_was_told_nothing_is_a_problem_if_the_tracker_looked_while_the_vm_booted() -> None:
    play, simulation = played(parse_pipeline("steps: [{command: a}]"))
    (job,), log = play.buildkite.jobs(), play.buildkite.access_log()
    looked = [one for one in log if one.operation == Operation.GET_JOB_STATES and job.id in one.job_ids]
    silent = replace(job, notifications=())
    assert is_silent(silent, looked, simulation.ec2.instances())
    assert not is_silent(job, looked, simulation.ec2.instances())
    assert not is_silent(silent, [], simulation.ec2.instances())


def test_no_vm_comes_for_what_waits_for_a_failure() -> None:
    play, simulation = played(
        parse_pipeline("steps: [{command: a}, wait, {command: b}, block, {command: c}]"), {"a": "1"}
    )
    assert len(simulation.ec2.instances()) == 1
    assert sum(job.state in FAILED_UNRUN for job in play.buildkite.jobs()) == 4


def test_a_long_job_is_not_cut_short() -> None:
    play, _ = played(parse_pipeline("steps: [{command: a}]"), seconds="800")
    (job,) = play.buildkite.jobs()
    assert (job.state, job.exit_status) == (JobState.FINISHED, 0)


def test_what_a_person_filled_in_is_the_builds_meta_data() -> None:
    play, simulation = played(
        parse_pipeline("steps:\n- block: Go?\n  fields: [{text: How, key: how, default: slowly}]\n- {command: a}\n")
    )
    model = simulation.buildkite._model
    assert model.meta_data == {(play.buildkite.jobs()[0].build_id, "how"): "slowly"}


def owners(simulation: Simulation) -> dict[str, str]:
    boxes = simulation.store.boxes.items()
    return {arn.rpartition("/")[2]: box.assignment.job_id for arn, box in boxes}


def test_the_page_shows_where_each_job_stands_and_its_time_line() -> None:
    simulation = world()
    pipeline = parse_pipeline("steps:\n- {label: A, command: a}\n- block: Go?\n- {label: B, command: b}\n")
    camera = Camera(
        buildkite=simulation.buildkite,
        ec2=simulation.ec2,
        assignments=lambda: owners(simulation),
        now=simulation.kernel.now,
        name="p.yml",
    )
    play = Play(buildkite=simulation.buildkite, steps=with_environment(pipeline.steps, lambda _: {"SIM_SECONDS": "5"}))
    play.begin()
    assert [job["said"] for job in camera.state()["jobs"]] == ["waits for a VM"] + ["waits for other steps"] * 2
    state, seen = camera.state(), set()
    for _ in range(40):
        simulation.run(1)
        state = camera.state()
        seen |= {(job["label"], job["kind"]) for job in state["jobs"]}
        seen.add(("build", state["outcome"]))
        if state["outcome"] != "blocked":
            play.act(simulation.kernel.now())
    bar = [phase["name"] for phase in state["jobs"][0]["phases"]]
    assert bar == ["waiting", "starting", "booting", "running", "ending"]
    stretches = [(phase["from"], phase["to"]) for phase in state["jobs"][0]["phases"]]
    assert [end for _, end in stretches[:-1]] == [begin for begin, _ in stretches[1:]]
    assert {("A", "running"), ("A", "passed"), ("Go?", "blocked"), ("build", "running"), ("build", "blocked")} <= seen
