"""When an image is baked without a command: the first one, and one for each change of what an image is made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest

from infra.baked_program import IMAGE
from infra.template_yaml import loads
from tests.infra.stacks import deployed
from tests.infra.test_image_model import image

SYSTEM = "amazon-linux-2023"
CHANGES = {
    "BakeImagePackages": "make",
    "BakeImageRepositories": "https://example.com/tools.repo",
    "BakeImageDockerImages": "alpine",
    "BakeImageVolumeGib": "30",
    "AgentVersion": "4.0.99",
    "AgentDownloadUrl": "https://mirror.example/agent",
    "AgentChannel": "unstable",
    "BakeImage": "ubuntu-server-24-lts",
    "DockerLoginsParameter": "/ci/docker",
    "EcrLogin": "account",
    "EcrAccounts": "222222222222",
    "BakeImageArchitecture": "arm64",
}
"""Every parameter that an image depends on, with another value."""


LOGINS = ("DockerLoginsParameter", "EcrLogin", "EcrAccounts")
NEEDED_FOR_LOGINS = {"BakeImageDockerImages": "ghcr.io/acme/app"}
"""Without a docker image to pull no bake logs in."""


def nested(**parameters: str) -> Mapping[str, Any]:
    """infra/image.yaml's resources, as that deployment of template.yaml has them."""
    outer = dict(deployed({"BakeImage": SYSTEM, **parameters}).resources["Image"]["Properties"]["Parameters"])
    return image(outer.pop("OperatingSystem"), outer.pop("Architecture"), **outer).resources


def made_of(resources: Mapping[str, Any]) -> dict[str, Any]:
    """What Image Builder never changes, by name and version."""
    kinds = ("AWS::ImageBuilder::Component", "AWS::ImageBuilder::ImageRecipe")
    found = [one["Properties"] for one in resources.values() if one["Type"] in kinds]
    return {f"{one['Name']} {one['Version']}": {**one, "Name": ""} for one in found}


@pytest.mark.parametrize("name", CHANGES)
def test_another_setting_is_another_recipe_of_components_under_names_that_are_free(name: str) -> None:
    """Image Builder refuses another text under a name and version that exist, and the old ones go last."""
    also = NEEDED_FOR_LOGINS if name in LOGINS else {}
    before, after = nested(**also), nested(**also, **{name: CHANGES[name]})
    old, new = (resources["Recipe"]["Properties"] for resources in (before, after))
    assert (old["Name"], old["Version"]) != (new["Name"], new["Version"])
    old_parts, new_parts = made_of(before), made_of(after)
    same_names = set(old_parts) & set(new_parts)
    assert all(old_parts[one] == new_parts[one] for one in same_names)


def test_the_same_settings_are_the_same_recipe() -> None:
    assert nested() == nested()
    assert made_of(nested()) == made_of(nested(MaxInstances="77", Packages="git"))


def test_every_setting_that_reaches_the_image_is_among_the_changes() -> None:
    """A new parameter of the image that CHANGES lacks would go unseen."""
    inputs = {"Repositories", "Packages", "DockerImages", "AgentVersion", "AgentDownloadUrl"}
    inputs |= {"DockerLogins", "EcrLogin", "EcrAccounts", "VolumeGib"}
    placed = {"KmsKeyArn", "Name", "SubnetId", "SecurityGroupId", "PermissionsBoundary", "RolePath", "ParentStackId"}
    outer = deployed({"BakeImage": SYSTEM}).resources["Image"]["Properties"]["Parameters"]
    assert set(outer) == inputs | placed | {"OperatingSystem", "Architecture"}


@dataclass
class Machine:
    """Plays a state machine of image.yaml. Its calls are checked against the services' models, and answered here."""

    definition: Mapping[str, Any]
    parameters: dict[str, str] = field(default_factory=lambda: {"BakedRecipeName": "none"})
    started: list[tuple[str, str]] = field(default_factory=list)
    refused: bool = False

    def run(self) -> str:
        """The state that it ended in."""
        name = self.definition["StartAt"]
        data: Any = {}
        while True:
            state = self.definition["States"][name]
            if state["Type"] == "Succeed":
                return str(name)
            if state["Type"] == "Choice":
                (choice,) = state["Choices"]
                fits = data["Parameter"]["Value"] == choice["StringEquals"]
                assert choice["Variable"] == "$.Parameter.Value"
                name = choice["Next"] if fits else state["Default"]
                continue
            service, operation = state["Resource"].split(":")[-2:]
            data = self._call(service, operation, state["Parameters"])
            if data is None:
                return f"failed in {name}"
            name = state["Next"]

    def _call(self, service: str, operation: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  (its answer)
        model = botocore.session.get_session().get_service_model(service)
        (called,) = [name for name in model.operation_names if name.lower() == operation.lower()]
        shape = model.operation_model(called).input_shape
        assert shape is not None
        members = {name.lower(): name for name in shape.members}
        plain = {name.removesuffix(".$").lower(): value for name, value in given.items()}
        assert set(plain) <= set(members), "only what the service takes"
        assert {name.lower() for name in shape.required_members} <= set(plain)
        match called:
            case "GetParameter":
                return {"Parameter": {"Value": self.parameters[plain["name"]]}}
            case "PutParameter":
                assert plain["overwrite"] is True
                self.parameters[plain["name"]] = plain["value"]
            case "StartImagePipelineExecution":
                if self.refused:
                    return None
                self.started.append((plain["imagepipelinearn"], plain["clienttoken"]))
            case _:
                raise AssertionError(f"{called} is not answered here")
        return {}


def machine(recipe: str, **known: Any) -> Machine:  # noqa: ANN401  (of the machine before an update)
    definition = json.dumps(nested()["Bake"]["Properties"]["Definition"])
    name = nested()["BakedRecipe"]["Properties"]["Name"]
    known.setdefault("parameters", {name: nested()["BakedRecipe"]["Properties"]["Value"]})
    return Machine(json.loads(definition.replace("RecipeId", recipe)), **known)


def test_the_first_image_and_each_other_recipes_is_baked_once() -> None:
    first = machine("arn:recipe/ci-1")
    assert [first.run(), first.run()] == ["Done", "Done"]
    ((pipeline, token),) = first.started
    assert pipeline == "PipelineId"
    assert token.startswith("States.Hash('arn:recipe/ci-1 arn:aws:cloudformation:")
    assert ":stack/" in token, "one that is made again begins its recipes' numbers again, and Image Builder remembers"
    again = machine("arn:recipe/ci-2", parameters=first.parameters)
    again.run()
    again.run()
    assert len(again.started) == 1
    assert again.started[0][1] != token, "with the old token Image Builder would start nothing"


def test_a_start_that_is_refused_is_tried_again_at_the_next_hour() -> None:
    one = machine("arn:recipe/ci-1", refused=True)
    assert one.run() == "failed in Start"
    one.refused = False
    assert one.run() == "Done"
    assert len(one.started) == 1


def test_the_ends_of_both_stacks_start_it_and_each_hour_does() -> None:
    rule = nested()["Deployed"]["Properties"]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    detail = rule["EventPattern"]["detail"]
    written = loads(IMAGE.read_text())["Resources"]["Deployed"]["Properties"]["EventPattern"]["detail"]["stack-id"]
    assert written == [{"Ref": "AWS::StackId"}, {"Ref": "ParentStackId"}]
    outer = deployed({"BakeImage": SYSTEM}).resources["Image"]["Properties"]["Parameters"]
    assert outer["ParentStackId"].startswith("arn:aws:cloudformation:")
    assert {"CREATE_COMPLETE", "UPDATE_COMPLETE"} <= set(detail["status-details"]["status"])
    (target,) = rule["Targets"]
    assert target["Arn"] == "BakeId"


def test_its_roles_may_do_what_it_does_and_nothing_else() -> None:
    resources = nested()
    statements = resources["BakeRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = {action: one["Resource"] for one in statements for action in one["Action"]}
    assert allowed.pop("imagebuilder:GetImagePipeline") == "PipelineId"
    assert allowed.pop("imagebuilder:StartImagePipelineExecution") == "PipelineId"
    parameter = resources["BakedRecipe"]["Properties"]["Name"]
    assert set(allowed) == {"ssm:GetParameter", "ssm:PutParameter"}
    assert all(one.endswith(f":parameter{parameter}") for one in allowed.values())
    (start,) = resources["StartRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert set(start["Resource"]) == {"BakeId", "PublishId"}
