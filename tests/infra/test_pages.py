"""Pages that are written from the code: whole, and readable."""

import re

import yaml

from agent_stack.domain.notices import NoticeKind
from agent_stack.wiring import inspection
from agent_stack_cli import doctor
from agent_stack_cli.parameter_rules import specification
from infra import decisions, doctor_looks, notifications
from infra.user_data import ROOT


def test_a_reader_finds_every_notice_and_no_page_without_end() -> None:
    page = notifications.page()
    assert {example.notice.kind for example in notifications.examples()} == set(NoticeKind)
    assert all(example.notice.text.replace("|", "\\|") in page for example in notifications.examples())
    assert len(decisions.page().splitlines()) < 200


def test_the_page_of_the_command_has_each_look_of_doctor_with_what_it_finds() -> None:
    """By each of them on its own, so that a look that is added, or taken away, is noticed."""
    page = doctor_looks.PAGE.read_text()
    looks = {**inspection.LOOKS, **doctor.LOOKS}
    assert len(looks) == len(inspection.LOOKS) + len(doctor.LOOKS)
    begun = page.partition(doctor_looks.BEGIN)[2].partition(doctor_looks.END)[0]
    assert [line.split(" | ")[0].removeprefix("| ") for line in begun.splitlines()[2:]] == list(looks)
    assert page == doctor_looks.page()


def test_the_first_pipeline_of_the_readme_runs_on_a_fresh_deployment() -> None:
    """Which has one queue, and no class but `default`."""
    page = (ROOT / "README.md").read_text()
    pipelines = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    for pipeline in pipelines:
        for step in pipeline["steps"]:
            assert step["agents"] == {"queue": specification()["Queues"]["Default"]}
    assert pipelines


def test_contributing_can_be_read_in_an_editor() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    assert [line for line in lines if len(line) > 120] == []


def test_the_old_stack_serves_no_job_any_more_when_jobs_that_no_class_fits_may_fail() -> None:
    page = (ROOT / "docs" / "tasks" / "migrate-from-elastic-ci-stack.md").read_text()
    assert page.index("`MaxSize` 0") < page.index("`UnmatchedJobs=auto`")
