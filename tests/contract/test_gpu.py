"""The GPU class of docs/tasks/gpu.md: a request that EC2's model takes, types with GPUs, and the quota it names."""

import json
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from agent_stack.adapters.ssm.class_document import ClassDocument
from agent_stack.domain.classes import VmClass
from agent_stack.domain.launching import LaunchErrorClass
from agent_stack.domain.quota_buckets import bucket_of, quota_name
from infra.user_data import ROOT
from tests.contract.fleets import World, made, settings, templates
from tests.simulator.catalog import NoShapes
from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Ec2
from tests.simulator.cloud.catalogue import catalogue

PAGE = (ROOT / "docs" / "tasks" / "gpu.md").read_text()
(DOCUMENT,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
GPU = ClassDocument.model_validate_json(DOCUMENT).classes["gpu"].to_class("gpu", NoShapes(), shipped=False)


def world(**changes: object) -> World:
    clock = VirtualClock()
    return made(Ec2(now=clock.now, settings=settings(**changes), launch_templates=templates), clock, None)


def fields() -> dict[str, Any]:
    return {name: getattr(GPU, name) for name in VmClass.__slots__ if name != "name"}


def test_ec2_s_model_takes_the_request() -> None:
    where = world()
    request = json.loads(where.fleet.render(where.order(2, **fields())))
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("CreateFleet").input_shape
    assert shape is not None
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert {one["ImageId"] for one in request["LaunchTemplateConfigs"][0]["Overrides"]} == {GPU.image}


@pytest.mark.parametrize("instance_type", GPU.instance_types)
def test_each_type_has_a_gpu_of_nvidia_for_the_image_s_architecture(instance_type: str) -> None:
    known = catalogue()[instance_type].described
    assert {one["Manufacturer"] for one in known["GpuInfo"]["Gpus"]} == {"NVIDIA"}
    assert "x86_64" in known["ProcessorInfo"]["SupportedArchitectures"]
    assert "/x86_64/" in GPU.image
    bucket = bucket_of(instance_type, GPU.capacity_type)
    assert bucket == "on-demand:g-vt"
    assert quota_name(bucket) in PAGE.replace("\n   ", " ")


def test_the_quota_of_gpus_bounds_them_and_the_standard_one_does_not() -> None:
    vcpus = catalogue()[GPU.instance_types[0]].described["VCpuInfo"]["DefaultVCpus"]
    none = world(quotas={"on-demand:g-vt": 0, "on-demand:standard": 1000})
    outcome = none.fleet.launch(none.fleet.render(none.order(1, **fields())))
    assert outcome.vms == ()
    assert {error.error_class for error in outcome.errors} == {LaunchErrorClass.QUOTA}
    two = world(quotas={"on-demand:g-vt": 2 * vcpus, "on-demand:standard": 0})
    assert len(two.fleet.launch(two.fleet.render(two.order(3, **fields()))).vms) == 2
