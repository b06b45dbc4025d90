"""`agent-stack simulate`, from its inputs to the page that people look at."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_stack_cli.simulation import verb
from agent_stack_cli.simulation.analysis import Day, accumulated, most_at_once, over_time, parts_of, remarks
from agent_stack_cli.simulation.deployments import of_defaults
from agent_stack_cli.simulation.page import page, pictures
from agent_stack_cli.simulation.prices_used import PricesUsed
from tests.cli.migrations import run_verb

CSV = "at,seconds,agents,cancel_after\n20,15,,\n21,15,class=default,\n22,90,,60\nsoon,5,,\n"


TOO_LONG = "x" * 300
"""No file can have this name, and the system refuses even to look for it."""


def an_outcome(**changes: Any) -> Mapping[str, Any]:  # noqa: ANN401  (its own fields)
    job = {
        "id": "j", "queue": "default", "pipeline": "p", "class": "default", "scheduled": 10.0,
        "moments": [11.0, 13.0, None, 40.0], "started": 42.0, "ended": 100.0, "state": "finished",
        "finished_by_stack": "", "lost": False, "told": "", "attempts": 1, "standby": False, "vm": "i-1",
    }  # fmt: skip
    vm = {
        "id": "i-1", "type": "m7i.large", "zone": "a", "capacity_type": "on-demand", "class": "default",
        "launched": 13.0, "running": 20.0, "ended": 110.0, "standby": False, "bound": 14.0, "model_usd_an_hour": 0.1,
    }  # fmt: skip
    request = {"name": "EC2 CreateFleet", "total": 1, "busiest": 1, "budget": "50", "used_percent": 2.0, "refused": 0}
    return {
        "seconds": 3600.0, "jobs": [job], "vms": [vm], "requests": [request],
        "functions": {"dispatcher": 60.0, "tracker": 30.0}, "said": [], "classes": ["default"],
        "broken_classes": {}, "skipped_cycles": 5, **changes,
    }  # fmt: skip


def a_day(**changes: Any) -> Day:  # noqa: ANN401  (an outcome's)
    return Day(deployment=of_defaults(), outcome=an_outcome(**changes), prices=PricesUsed())


def test_the_parts_of_a_wait_are_the_wait() -> None:
    (job,) = an_outcome()["jobs"]
    assert parts_of(job) == (1.0, 2.0, 0.0, 27.0, 2.0)
    assert parts_of({**job, "started": None}) is None
    assert sum(parts_of(job) or ()) == job["started"] - job["scheduled"]


def test_time_is_counted_as_it_is_spent() -> None:
    spans = [(0.0, 10.0), (5.0, 15.0), (10.0, 20.0)]
    assert over_time(spans, [0, 5, 10, 12, 20]) == [1, 2, 2, 2, 0]
    assert most_at_once(spans) == 2
    assert accumulated([(2.0, 0.0, 10.0), (1.0, 5.0, 6.0)], [0, 5, 10, 20]) == [0, 10, 21, 21]


def test_a_standby_vm_costs_while_it_waits() -> None:
    (vm,) = an_outcome()["vms"]
    summary = a_day(vms=[{**vm, "standby": True, "launched": -3600.0, "bound": 0.0, "ended": 1800.0}]).summary()
    assert (summary.standby_idle_hours, summary.vm_hours) == (1.0, 1.5)
    assert summary.usd_standby == pytest.approx(summary.usd_vms / 1.5, abs=0.01)


def test_a_page_asks_for_nothing_and_shows_no_markup_of_others() -> None:
    evil = "<script>alert(1)</script>"
    text = page(
        evil, evil, [a_day()], pictures([a_day()]), pictures([a_day()], narrow=True), [("load", evil, "guess")], [evil]
    )
    assert "<script" not in text
    fetched = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?!#)([^"\')\s>]+)', text)
    assert [one for one in fetched if not one.startswith("#")] == []
    assert text.count("<svg") == 10
    assert "<span class=guess>guess</span>" in text


def test_the_pictures_of_a_day_are_the_same_each_time() -> None:
    days = [a_day(), a_day()]
    assert pictures(days) == pictures(days)


def test_what_went_otherwise_is_said_with_its_count_and_why() -> None:
    (job,) = an_outcome()["jobs"]
    waits = {**job, "started": None, "ended": None, "told": "no class matches", "vm": None}
    jobs = [job, {**job, "lost": True}, waits, waits, {**job, "started": None, "finished_by_stack": "too late"}]
    day = a_day(jobs=jobs, broken_classes={"": "it has no default", "big": "it has no image"})
    assert remarks(day) == [
        "jobs that name no class cannot have a VM: it has no default",
        "class big cannot be used: it has no image",
        "1 job finished without an agent: too late",
        "2 jobs still waiting at the end: no class matches",
        "1 job lost: the VM ended before the job; see MaxLifetimeSeconds",
    ]
    assert remarks(a_day()) == []
    assert "no class matches" in page("t", "l", [day], pictures([day]), pictures([day], narrow=True), [], [])


def test_every_job_is_in_one_row_of_the_figures() -> None:
    (job,) = an_outcome()["jobs"]
    unstarted = {**job, "started": None, "vm": None}
    jobs = [
        job,
        {**job, "state": "canceled"},
        {**unstarted, "state": "canceled"},
        {**unstarted, "finished_by_stack": "too late"},
        {**unstarted, "state": "scheduled", "ended": None},
    ]
    figures = a_day(jobs=jobs).summary()
    assert (figures.cancelled, figures.cancelled_before) == (2, 1)
    assert figures.jobs == figures.started + figures.cancelled_before + figures.finished_by_stack + figures.not_over


def test_a_day_in_which_nothing_starts_has_a_page() -> None:
    (job,) = an_outcome()["jobs"]
    waits = {**job, "moments": [None] * 4, "started": None, "ended": None, "state": "scheduled", "vm": None}
    days = [a_day(jobs=[waits], vms=[])]
    text = page("t", "l", days, pictures(days), pictures(days, narrow=True), [], [])
    assert "not over at the end" in text


def test_the_command_plays_a_csv_with_two_sets_and_names_the_bad_row(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(CSV)
    report = tmp_path / "out.html"
    words = ("--load", str(tmp_path / "jobs.csv"), "--hours", "0.1", "--boots", "baked", "--set", "MaxInstances=30")
    result = run_verb(
        "simulate",
        *words,
        "--against",
        "MaxInstances=1",
        "--report",
        str(report),
        "--pictures",
        str(tmp_path / "drawn"),
        "--json",
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["problems"][0].startswith("line 5, column at: 'soon'")
    wide, narrow = said["sets"]
    assert (wide["jobs"], wide["started"], narrow["started"]) == (3, 3, 2)
    assert (wide["vms_at_once"], narrow["vms_at_once"]) == (3, 1)
    assert narrow["wait_most"] > wide["wait_most"]
    text = report.read_text()
    for shown in ("seed 0", "MaxInstances=30", "MaxInstances=1", "soon"):
        assert shown in text
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {f"{name}.svg" for name in ("jobs", "waits", "vms", "budgets", "job")}  # fmt: skip  # noqa: E501
    again = run_verb("simulate", "--report", str(report))
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert "--force" in again.stderr


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (("--load", "sunny"), "there is no load sunny", "cancel-storm"),
        (("--load", "none.csv"), "none.csv cannot be read", "at,seconds"),
        (("--boots", "none.txt"), "none.txt cannot be read", "baked"),
        (("--set", "MaxInstances=0"), "MaxInstances", "docs/"),
        (("--against", "MaxInstances"), "the parameter MaxInstances has no value", "MaxInstances=VALUE"),
        (("--price", "m7i.large"), "is no price", "m7i.large=0.12"),
        (("none.parameters",), "none.parameters cannot be read", "Name=value"),
        (("--classes", "none.json"), "none.json cannot be read", "class document"),
        (("--classes", "/dev/null"), "/dev/null is empty", "class document"),
        (("--load", TOO_LONG), f"there is no load {TOO_LONG}", "cancel-storm"),
        (("--load", f"{TOO_LONG}.csv"), "cannot be read", "at,seconds"),
        (("--against", TOO_LONG), "cannot be read", "Name=value"),
        (("--load", "/dev/null", "--jobs", "5"), "--jobs 5 is for a named load", "leave --jobs out"),
    ],
)
def test_a_wrong_input_says_what_it_is_and_what_helps(
    words: tuple[str, ...], problem: str, remedy: str, tmp_path: Path
) -> None:
    result = run_verb("simulate", *words, "--report", str(tmp_path / "out.html"))
    assert result.exit_code == 1
    assert problem in result.stderr
    assert remedy in result.stderr


def test_a_class_document_that_is_none_is_said_by_the_product_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory of the operator's own, which has packages with the names of the simulator's."""
    for name in ("tests", "infra"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` puts it there
    (tmp_path / "classes.json").write_text("{")
    words = ("--classes", str(tmp_path / "classes.json"), "--jobs", "1", "--hours", "0.05")
    result = run_verb("simulate", *words, "--report", str(tmp_path / "out.html"))
    assert result.exit_code == 1
    assert f"{tmp_path}/classes.json: the document is not JSON (line 1, column 2: " in result.stderr
    assert "ClassesParameter" not in result.stderr
    assert not (tmp_path / "out.html").exists()


def test_a_queue_that_the_stack_does_not_serve_is_why_its_jobs_wait() -> None:
    (job,) = an_outcome()["jobs"]
    waits = {**job, "queue": "gpu", "moments": [None] * 4, "started": None, "ended": None, "vm": None}
    (remark,) = remarks(a_day(jobs=[job, waits]))
    assert remark.startswith("1 job still waiting at the end: its queue gpu is not in Queues=default; ")
    assert "--set Queues=default,gpu" in remark


def test_the_start_is_a_working_day() -> None:
    assert verb.START.weekday() == 1


def test_two_sets_share_a_scale_that_holds_both() -> None:
    """The second one cost ten times as much: its curve ends below the top of the picture."""
    (vm,) = an_outcome()["vms"]
    cheap, dear = a_day(), a_day(vms=[{**vm, "id": f"i-{n}"} for n in range(10)])
    drawn = pictures([cheap, dear])["vms"]
    only = pictures([dear])["vms"]
    biggest = [max(float(label) for label in re.findall(r">([0-9]+\.[0-9]+)</text>", svg)) for svg in (drawn, only)]
    assert biggest[0] >= biggest[1]
