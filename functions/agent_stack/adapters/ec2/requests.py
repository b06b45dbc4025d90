"""The CreateFleet request of a launch: exact text, so that a replay sends the same bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType

DEPLOYMENT_TAG = "agent-stack:deployment"
INTENT_TAG = "agent-stack:intent"
CLASS_TAG = "agent-stack:class"
MAX_OVERRIDES = 300  # of one request; source: EC2's fleet quotas


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
    subnets_by_zone: Mapping[str, str],
    policy: LaunchPolicy,
) -> str:
    """The request as JSON: `instant`, one override for each pool of the order."""
    vm_class = order.vm_class
    spot = order.capacity_type is CapacityType.SPOT
    prioritized = not spot and vm_class.ordered
    ranks = {instance_type: float(rank) for rank, instance_type in enumerate(vm_class.instance_types)}
    # For each VM. `MaxTotalPrice` limits the sum of all VMs of the request, so a large request would get no VMs.
    price_limit = {"MaxPrice": f"{policy.spot_max_price:f}"} if spot and policy.spot_max_price is not None else {}
    overrides = []
    for pool in order.pools[:MAX_OVERRIDES]:
        _, instance_type, zone = pool.split(":")
        overrides.append(
            {
                "InstanceType": instance_type,
                "SubnetId": subnets_by_zone[zone],
                "ImageId": vm_class.image,
                **({"Priority": ranks[instance_type]} if prioritized else {}),
                **price_limit,
                **_root_volume(vm_class.root_device, vm_class.volume_gib, policy.volume_key_arn),
            }
        )
    tags = [
        {"Key": DEPLOYMENT_TAG, "Value": deployment},
        {"Key": INTENT_TAG, "Value": order.intent_id},
        {"Key": CLASS_TAG, "Value": vm_class.name},
        {"Key": "Name", "Value": f"{deployment}-{vm_class.name}"},
    ]
    request = {
        "ClientToken": order.intent_id,
        "Type": "instant",
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": order.count,
            "DefaultTargetCapacityType": "spot" if spot else "on-demand",
        },
        **(
            {"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}}
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
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
    }
    return json.dumps(request, separators=(",", ":"), sort_keys=True)


def _root_volume(device: str | None, gib: int | None, key: str) -> dict[str, Any]:
    """The root volume, encrypted whatever the image says: the dispatcher's role may launch no other."""
    if device is None:
        return {}
    ebs = {
        "Encrypted": True,
        "DeleteOnTermination": True,
        **({"KmsKeyId": key} if key else {}),
        **({"VolumeSize": gib, "VolumeType": "gp3"} if gib is not None else {}),
    }
    return {"BlockDeviceMappings": [{"DeviceName": device, "Ebs": ebs}]}
