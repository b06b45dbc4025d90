"""docs/examples: pipelines run in the whole stack, class documents are read, and snippets name what exists."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from cfnlint.decode.cfn_yaml import loads

from agent_stack.adapters.ssm.class_document import read_classes
from tests.simulator.buildkite import JobState, StepKind
from tests.simulator.catalog import NoShapes
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.demo.pipeline import read_pipeline
from tests.simulator.demo.snapshot import standing
from tests.unit.simulator.played import played

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PIPELINES = sorted((EXAMPLES / "pipelines").glob("*.yml"))
CLASSES = sorted((EXAMPLES / "classes").glob("*.json"))
SIZES = EXAMPLES / "classes" / "sizes.json"
SHOWN = {"matrix.yml", "monorepo.yml", "docker-build.yml", "plugins.yml", "deploy.yml"}


class Shapes(NoShapes):
    """EC2 has a type for everybody."""

    def types(self, wanted: Any, capacity_type: Any) -> tuple[str, ...]:  # noqa: ANN401  (see `InstanceCatalog`)
        return ("m7i.large",)

    def root_device(self, image: str) -> str:
        return "/dev/sda1" if image.startswith("ami-0") else "/dev/xvda"


def template() -> Mapping[str, Any]:
    read: Mapping[str, Any] = loads((ROOT / "template.yaml").read_text())
    return read


def test_there_are_as_many_as_the_page_says() -> None:
    assert {path.name for path in PIPELINES} == SHOWN
    assert len(CLASSES) == 4
    page = (EXAMPLES / "README.md").read_text()
    every = [*PIPELINES, *CLASSES, *EXAMPLES.glob("*/*.tf"), *EXAMPLES.glob("*/*.yaml")]
    assert [path.name for path in every if f"({path.relative_to(EXAMPLES)})" not in page] == []


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_a_pipeline_runs_and_each_of_its_jobs_has_a_vm_of_its_class(path: Path) -> None:
    pipeline = read_pipeline(path, real_agent=True)
    unknown = [note.what for note in pipeline.notes if "is no key of" in note.what]
    assert unknown == [], "Buildkite would ignore it"
    play, simulation = played(pipeline, classes=SIZES.read_text())
    ended = {job.label: standing(job, None)[0] for job in play.buildkite.jobs()}
    assert set(ended.values()) <= {"passed", "skipped"}, ended
    ran = [job for job in play.buildkite.jobs() if job.kind is StepKind.COMMAND and job.state is JobState.FINISHED]
    document = json.loads(SIZES.read_text())
    for job in ran:
        wanted = next((rule[6:] for rule in job.agent_query_rules if rule.startswith("class=")), "small")
        (instance,) = [
            one for one in simulation.ec2.instances() if job.agent_name and one.instance_id in job.agent_name
        ]
        assert instance.instance_type in document["classes"][wanted]["instance_types"]


@pytest.mark.parametrize("path", CLASSES, ids=lambda path: path.name)
def test_a_class_document_is_read_without_a_complaint(path: Path) -> None:
    book = read_classes(path.read_text(), name=path.name, deployment_tags=(), shapes=Shapes())
    document = json.loads(path.read_text())
    assert set(book.classes) == set(document["classes"])
    assert not book.broken
    types = {name for entry in document["classes"].values() for name in entry.get("instance_types", ())}
    assert types <= set(catalogue()), "EC2 has no such type"
    assert len(path.read_text().encode()) <= 4096, "an SSM parameter of the standard tier holds no more"


def test_the_cloudformation_snippet_is_valid_and_so_is_its_class_document() -> None:
    text = (EXAMPLES / "cloudformation" / "stack.yaml").read_text()
    assert [str(match) for match in lint(text, config=ManualArgs(regions=["eu-central-1"]))] == []
    resources = loads(text)["Resources"]
    read_classes(resources["Classes"]["Properties"]["Value"], name="stack.yaml", deployment_tags=(), shapes=Shapes())
    given = resources["Stack"]["Properties"]["Parameters"]
    assert_deploys({name: value for name, value in given.items() if isinstance(value, str)}, set(given))
    assert loads(text)["Outputs"]["Problems"]["Value"] == {"Fn::GetAtt": ["Stack", "Outputs.Problems"]}


def test_the_terraform_snippet_names_what_exists() -> None:
    text = (EXAMPLES / "terraform" / "main.tf").read_text()
    (block,) = re.findall(r"^  parameters = \{\n(.*?)^  \}", text, re.DOTALL | re.MULTILINE)
    given = dict(re.findall(r"^\s+(\w+)\s*= (.+)$", block, re.MULTILINE))
    assert_deploys({name: value.strip('"') for name, value in given.items() if value.startswith('"')}, set(given))
    outputs = re.findall(r'outputs\["(\w+)"\]', text)
    assert outputs
    assert set(outputs) <= set(template()["Outputs"])
    (document,) = re.findall(r'file\("\$\{path\.module\}/(.+?)"\)', text)
    assert (EXAMPLES / "terraform" / document).resolve() in CLASSES
    capabilities = (ROOT / "samconfig.toml").read_text()
    assert all(name in capabilities for name in re.findall(r"CAPABILITY_\w+", text))
    assert text.count("{") == text.count("}")


def assert_deploys(literal: Mapping[str, str], given: set[str]) -> None:
    """Such a deployment has all that it must have, nothing that is not there, and values that are allowed."""
    parameters = template()["Parameters"]
    assert given <= set(parameters)
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= given
    for name, value in literal.items():
        parameter = parameters[name]
        for one in value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]:
            assert one in parameter.get("AllowedValues", [one]), name
            assert re.fullmatch(parameter.get("AllowedPattern", ".*"), one), name
        if parameter["Type"] == "Number":
            assert float(parameter.get("MinValue", 0)) <= float(value) <= float(parameter.get("MaxValue", 1e9)), name
