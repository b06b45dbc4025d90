"""The CreateFleet request of a launch: exact text, so that a replay sends the same bytes."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agent_stack.domain.classes import VmClass, Volume
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType, SpotStrategy

DEPLOYMENT_TAG = "agent-stack:deployment"
INTENT_TAG = "agent-stack:intent"
CLASS_TAG = "agent-stack:class"
HOLD_TAG = "agent-stack:hold"
"""Seconds for which a VM may stand by; the VM reads it through its metadata."""

MAX_OVERRIDES = 300  # of one request; source: EC2's fleet quotas
MAX_BYTES = 100_000
"""Of one request. The ledger stores it in one item of at most 400 KB, beside the VMs that come of it."""

TAGGED = ("instance", "volume", "network-interface")
"""What a launch makes. IAM judges CreateFleet by the tags of each of them that the request itself gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTemplate:
    """The one template everything is launched from; a number, because `$Latest` would change under a replay."""

    template_id: str
    version: str


def create_fleet(
    order: LaunchOrder,
    *,
    deployment: str,
    template: LaunchTemplate,
    subnet_of: Callable[[str], str],
    policy: LaunchPolicy,
) -> str:
    """The request as JSON: `instant`, one override for each pool of the order, the first ones where not all fit.

    Args:
        subnet_of: the subnet to use in a zone.
    """
    vm_class = order.vm_class
    spot = order.capacity_type is CapacityType.SPOT
    prioritized = vm_class.spot_strategy is SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED if spot else vm_class.ordered
    ranks = {instance_type: float(rank) for rank, instance_type in enumerate(vm_class.instance_types)}
    # For each VM. `MaxTotalPrice` limits the sum of all VMs of the request, so a large request would get no VMs.
    limit = vm_class.spot_max_price if vm_class.spot_max_price is not None else policy.spot_max_price
    price_limit = {"MaxPrice": f"{limit:f}"} if spot and limit is not None else {}
    overrides = []
    for pool in order.pools[:MAX_OVERRIDES]:
        _, instance_type, zone = pool.split(":")
        overrides.append(
            {
                "InstanceType": instance_type,
                "SubnetId": subnet_of(zone),
                "ImageId": vm_class.image,
                **({"Priority": ranks[instance_type]} if prioritized else {}),
                **price_limit,
                **_root_volume(vm_class.root_device, vm_class.volume, policy.volume_key_arn),
            }
        )
    tags = [
        {"Key": DEPLOYMENT_TAG, "Value": deployment},
        {"Key": INTENT_TAG, "Value": order.intent_id},
        {"Key": CLASS_TAG, "Value": vm_class.name},
        {"Key": "Name", "Value": f"{deployment}-{vm_class.name}"},
        *([] if order.hold is None else [{"Key": HOLD_TAG, "Value": f"{order.hold.total_seconds():.0f}"}]),
        *({"Key": key, "Value": value} for key, _, value in (pair.partition("=") for pair in policy.cost_tags)),
    ]
    request = {
        "ClientToken": order.intent_id,
        "Type": "instant",
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": order.count,
            "DefaultTargetCapacityType": "spot" if spot else "on-demand",
        },
        **(
            {"SpotOptions": {"AllocationStrategy": vm_class.spot_strategy.value}}
            if spot
            else {"OnDemandOptions": {"AllocationStrategy": "prioritized" if prioritized else "lowest-price"}}
        ),
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": template.template_id,
                    "Version": template.version,
                },
                "Overrides": overrides,
            }
        ],
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in TAGGED],
    }
    text = _text(request)
    while len(text) > MAX_BYTES and len(overrides) > 1:
        del overrides[len(overrides) * MAX_BYTES // len(text) :]
        text = _text(request)
    return text


def shape(vm_class: VmClass, template: LaunchTemplate) -> str:
    """Stands for all that a VM of that class is launched from now; a change of any of it makes a standby VM stale."""
    volume = vm_class.volume or Volume()
    parts = [
        template.template_id,
        template.version,
        vm_class.image_id or vm_class.image,
        vm_class.capacity_type,
        vm_class.instance_types,
        vm_class.root_device,
        volume.gib,
    ]
    if replace(volume, gib=None) != Volume():  # without it the text is that of the version before
        parts += [volume.kind, volume.iops, volume.throughput_mibs]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _text(request: dict[str, Any]) -> str:
    return json.dumps(request, separators=(",", ":"), sort_keys=True)  # ASCII: a character is a byte


def _root_volume(device: str | None, volume: Volume | None, key: str) -> dict[str, Any]:
    """The root volume, encrypted whatever the image says: the dispatcher's role may launch no other."""
    if device is None:
        return {}
    ebs: dict[str, Any] = {"Encrypted": True, "DeleteOnTermination": True, **({"KmsKeyId": key} if key else {})}
    if volume is not None:
        stated = {"VolumeSize": volume.gib, "Iops": volume.iops, "Throughput": volume.throughput_mibs}
        ebs |= {"VolumeType": volume.kind, **{name: value for name, value in stated.items() if value is not None}}
    return {"BlockDeviceMappings": [{"DeviceName": device, "Ebs": ebs}]}
