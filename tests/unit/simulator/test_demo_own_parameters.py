"""An operator's own parameters in the demo: nothing is dropped without a word, and what is left can be deployed."""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_stack_cli.parameter_rules import problems, specification
from tests.cli.migrations import EXAMPLE
from tests.infra.stacks import deployed
from tests.simulator.demo.own_parameters import (
    FETCHED,
    LEFT_OUT,
    ParametersError,
    one_job_for_each,
    own_parameters,
)
from tests.simulator.demo.pipeline import PipelineError, parse_pipeline
from tests.simulator.demo.prepared import Prepared, prepared

LONG_FIXTURE = Path(__file__).parents[2] / "fixtures" / "elastic_ci_stack.json"


def demo(**given: object) -> Prepared:
    none = {"pipeline": None, "classes": None, "parameters": None, "migrate": None, "broken": None, "pretend": False}
    return prepared(Namespace(**{**none, **given}))


def written(directory: Path, given: Mapping[str, str]) -> Path:
    """A parameter file."""
    path = directory / "ci.parameters"
    path.write_text("# mine\n" + "".join(f"{name}={value}\n" for name, value in given.items()))
    return path


def test_only_parameters_of_the_template_are_left_out() -> None:
    assert {*LEFT_OUT, *FETCHED, *FETCHED.values()} <= set(specification())


@pytest.mark.parametrize("source", [EXAMPLE, LONG_FIXTURE], ids=lambda path: path.name)
def test_what_is_migrated_is_deployed_and_the_rest_is_named(source: Path) -> None:
    plan = demo(migrate=source).plan
    said = " ".join(demo(migrate=source).said)
    assert not list(problems(plan.parameters))
    assert not deployed({**plan.parameters}).refused_by()
    assert (plan.parameters["StackKey"], plan.parameters["AgentTokenParameter"][:10]) == ("linux", "/buildkite")
    assert plan.parameters["ClassesParameter"] == "/agent-stack/linux/classes"
    assert {"VpcId", "Subnets", "InstanceManagedPolicies"}.isdisjoint(plan.parameters)
    for name in ("VpcId", "Subnets", "InstanceManagedPolicies", "BootstrapUrl"):
        assert name in said


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_named_once_with_its_reason(name: str) -> None:
    value = next(iter(specification()[name].get("AllowedValues", ())), "") or _a_value(name)
    mine = own_parameters({name: str(value), "StackKey": "ci"})
    assert mine.deployed == {"StackKey": "ci"}
    assert mine.notes == (f"{name}: {LEFT_OUT[name]}",)


def _a_value(name: str) -> str:
    """One that the template takes."""
    uuid, arn = "01907d1e-0000-4000-8000-000000000001", "arn:aws:{}:eu-central-1:123456789012:{}"
    texts = (
        *("vpc-0123456789abcdef0", "subnet-0123456789abcdef0", "sg-0123456789abcdef0", "10.0.0.0/16", "eu-central-1a"),
        *("http://proxy.internal:3128", "https://buildkite.internal/v3", uuid, "/some/name", "a-name"),
        *("arn:aws:iam::123456789012:policy/ci", "arn:aws:iam::123456789012:role/ci"),
        *(arn.format("kms", "key/1-2"), arn.format("sns", "topic"), "30"),
    )
    return next(text for text in texts if not list(problems({name: text})))


@pytest.mark.parametrize(
    ("url", "stored"), [("s3://bucket/a", ["s3://bucket/a"]), ("https://x.example/a", []), ("s3://b/{class}", [])]
)
@pytest.mark.parametrize("name", FETCHED)
def test_no_file_of_the_operator_runs_on_this_machine(name: str, url: str, stored: list[str]) -> None:
    mine = own_parameters({name: url, FETCHED[name]: "0" * 64}) if "{" not in url or name == "BootstrapUrl" else None
    if mine is not None:
        assert list(mine.objects) == stored
        assert mine.deployed == ({name: url} if stored else {})
        assert [name in note for note in mine.notes] == [True]


def test_a_wrong_parameter_is_refused_as_by_scripts_deploy(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match="did you mean MaxInstances"):
        demo(parameters=written(tmp_path, {"MaxInstance": "1"}))
    (tmp_path / "ci.parameters").write_text("MaxInstances\n")
    with pytest.raises(ParametersError, match=r"ci\.parameters: "):
        demo(parameters=tmp_path / "ci.parameters")
    with pytest.raises(ParametersError, match="holds no parameters"):
        demo(migrate=written(tmp_path, {"StackKey": "ci"}))


def test_without_a_pipeline_each_class_and_each_queue_has_a_job(tmp_path: Path) -> None:
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"classes": {"small": {}, "large": {}}, "default_class": "small"}))
    made = demo(parameters=written(tmp_path, {"StackKey": "ci", "Queues": "linux, arm"}), classes=classes)
    rules = [step.step.agent_query_rules for step in made.pipeline.steps]
    assert rules == [("queue=linux", "class=small"), ("queue=linux", "class=large"), ("queue=arm",)]
    assert (made.queues, made.plan.buildkite.default_queue) == (("linux", "arm"), "linux")


def test_a_pipelines_queues_are_served_too_and_that_is_said(tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text("steps:\n- { command: make, agents: { queue: gpu } }\n")
    made = demo(parameters=written(tmp_path, {"Queues": "_default"}), pipeline=pipeline)
    assert made.plan.parameters["Queues"] == "_default,gpu"
    assert made.queues == ("default", "gpu")
    assert any("gpu" in line for line in made.said)
    with pytest.raises(PipelineError):
        demo(pipeline=tmp_path / "nosuch.yml")


def test_the_generated_pipeline_takes_any_class_name() -> None:
    text = one_job_for_each(("default",), json.dumps({"classes": {'a"b: c': {}}}))
    (step,) = parse_pipeline(text).steps
    assert step.step.shown_label == 'class a"b: c'
