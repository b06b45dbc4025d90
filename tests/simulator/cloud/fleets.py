"""CreateFleet of type instant: one answer for N instances over a list of pools, some of it often errors."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.faults import Faults
from tests.simulator.cloud.region import Region
from tests.simulator.cloud.settings import LaunchTemplateData

MAX_TOKEN_CHARACTERS = 64
NO_CAPACITY = "InsufficientInstanceCapacity"
NO_ADDRESS = "InsufficientFreeAddressesInSubnet"
QUOTA = {"spot": "MaxSpotInstanceCountExceeded", "on-demand": "VcpuLimitExceeded"}


class Fleets:
    """Serves CreateFleet."""

    def __init__(
        self,
        *,
        region: Region,
        budgets: Budgets,
        faults: Faults,
        launch_templates: Callable[[str, str], LaunchTemplateData],
    ) -> None:
        self._region = region
        self._budgets = budgets
        self._faults = faults
        self._launch_templates = launch_templates
        self._answers: dict[str, tuple[str, dict[str, Any]]] = {}

    def create(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Launch, or give the answer that this client token was given before.

        Raises:
            Ec2Error: the request as a whole is refused.
        """
        token = request.get("ClientToken", "")
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise Ec2Error("InvalidParameterValue", "ClientToken has at most 64 ASCII characters")
        asked = json.dumps(request, sort_keys=True, default=str)
        if token in self._answers:
            before, answer = self._answers[token]
            if before != asked:
                raise Ec2Error("IdempotentParameterMismatch", "The token was used with other parameters")
            return answer
        answer = self._launch(request, now)
        if token:
            self._answers[token] = (asked, answer)
        return answer

    def run(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """RunInstances: instances of one type in one subnet. Its client tokens count within a zone.

        Raises:
            Ec2Error: the request is refused, as a whole.
        """
        subnet = self._region.settings.subnets[request["SubnetId"]]
        token = f"{subnet.zone}:{request.get('ClientToken', '')}"
        asked = json.dumps(request, sort_keys=True, default=str)
        if request.get("ClientToken") and token in self._answers:
            before, answer = self._answers[token]
            if before != asked:
                raise Ec2Error("IdempotentParameterMismatch", "The token was used with other parameters")
            return answer
        room, why = self._room(request, "on-demand")
        if room < request["MinCount"]:
            raise Ec2Error(why, f"{why} for {request['InstanceType']} in {request['SubnetId']}", status=500)
        count = min(room, request["MaxCount"])
        if self._budgets.instances("RunInstances", count, now) < count:
            raise Ec2Error("RequestLimitExceeded", "Too many instances at once", status=503)
        tags = self._tags(request.get("TagSpecifications", ()), "on-demand")
        group = self._group(request, count, "on-demand", LaunchTemplateData(), tags, {}, now)
        shown = [self._region.instances[instance_id].described() for instance_id in group["InstanceIds"]]
        answer = {"ReservationId": f"r-{len(self._answers):08x}", "Instances": shown}
        if request.get("ClientToken"):
            self._answers[token] = (asked, answer)
        return answer

    def _launch(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        if request.get("Type") != "instant":
            raise Ec2Error("InvalidParameterValue", "only fleets of type instant are simulated")
        target = request["TargetCapacitySpecification"]
        capacity_type = target.get("DefaultTargetCapacityType", "on-demand")
        tags = self._tags(request.get("TagSpecifications", ()), capacity_type)
        config = request["LaunchTemplateConfigs"][0]
        template = self._template(config["LaunchTemplateSpecification"])
        overrides = self._ordered(config.get("Overrides", []), request, capacity_type)
        wanted = target["TotalTargetCapacity"]
        groups: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        partial = self._faults.partial()
        granted = self._budgets.instances("CreateFleet", wanted, now)
        left = 0 if partial else granted
        if partial or granted < wanted:
            errors.append(_error(partial or "RequestLimitExceeded", config, overrides[0]))
        for override in overrides:
            if left <= 0:
                break
            room, why = self._room(override, capacity_type)
            count = min(left, room)
            if count:
                groups.append(self._group(override, count, capacity_type, template, tags, config, now))
                left -= count
            if left:
                errors.append(_error(why, config, override))
        return {"FleetId": f"fleet-{len(self._answers):08x}", "Instances": groups, "Errors": errors}

    def _template(self, specification: Mapping[str, Any]) -> LaunchTemplateData:
        try:
            return self._launch_templates(specification["LaunchTemplateId"], specification["Version"])
        except LookupError as error:
            raise Ec2Error("InvalidLaunchTemplateId.NotFound", f"no such launch template: {error}") from None

    def _ordered(
        self, overrides: Sequence[Mapping[str, Any]], request: Mapping[str, Any], capacity_type: str
    ) -> Sequence[Mapping[str, Any]]:
        """The pools in the order in which they are tried.

        Raises:
            Ec2Error: a subnet is unknown, or two overrides name one pool.
        """
        pools: set[tuple[str, str]] = set()
        for override in overrides:
            subnet = self._region.settings.subnets.get(override["SubnetId"])
            if subnet is None:
                raise Ec2Error("InvalidSubnetID.NotFound", f"The subnet ID '{override['SubnetId']}' does not exist")
            pool = (override["InstanceType"], subnet.zone)
            if pool in pools:
                raise Ec2Error("InvalidFleetConfig", f"Duplicate instance pool: {pool[0]} in {pool[1]}")
            pools.add(pool)
        strategy = request.get("OnDemandOptions", {}).get("AllocationStrategy")
        if capacity_type == "on-demand" and strategy == "prioritized":
            return sorted(overrides, key=lambda override: override.get("Priority", float("inf")))
        return overrides

    def _tags(self, specifications: Sequence[Mapping[str, Any]], capacity_type: str) -> dict[str, str]:
        kinds = {specification["ResourceType"] for specification in specifications}
        if capacity_type == "on-demand" and "spot-instances-request" in kinds:
            raise Ec2Error("InvalidParameterValue", "spot-instances-request cannot be tagged in an on-demand fleet")
        return {
            tag["Key"]: tag["Value"]
            for specification in specifications
            if specification["ResourceType"] == "instance"
            for tag in specification["Tags"]
        }

    def _room(self, override: Mapping[str, Any], capacity_type: str) -> tuple[int, str]:
        """How many instances the pool still has room for, and what runs out first."""
        settings = self._region.settings
        if override.get("ImageId") in settings.unknown_images:
            return 0, "InvalidAMIID.NotFound"
        pool = f"{capacity_type}:{override['InstanceType']}:{settings.subnets[override['SubnetId']].zone}"
        rooms = [(self._region.addresses[override["SubnetId"]], NO_ADDRESS)]
        if pool in settings.capacity:
            rooms.append((settings.capacity[pool] - self._region.up_in(pool=pool), NO_CAPACITY))
        if capacity_type in settings.quotas:
            rooms.append(
                (settings.quotas[capacity_type] - self._region.up_in(capacity_type=capacity_type), QUOTA[capacity_type])
            )
        room, why = min(rooms)
        return max(0, room), why

    def _group(
        self,
        override: Mapping[str, Any],
        count: int,
        capacity_type: str,
        template: LaunchTemplateData,
        tags: Mapping[str, str],
        config: Mapping[str, Any],
        now: datetime,
    ) -> dict[str, Any]:
        launched = [
            self._region.launch(
                now=now,
                instance_type=override["InstanceType"],
                zone=self._region.settings.subnets[override["SubnetId"]].zone,
                subnet_id=override["SubnetId"],
                capacity_type=capacity_type,
                image_id=override.get("ImageId", ""),
                user_data=template.user_data,
                tags={**template.tags, **tags},
            )
            for _ in range(count)
        ]
        return {
            "InstanceIds": [instance.instance_id for instance in launched],
            "InstanceType": override["InstanceType"],
            "Lifecycle": capacity_type,
            "LaunchTemplateAndOverrides": _origin(config, override),
        }


def _origin(config: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in override.items() if key in {"InstanceType", "SubnetId", "Priority"}}
    return {"LaunchTemplateSpecification": dict(config.get("LaunchTemplateSpecification", {})), "Overrides": shown}


def _error(code: str, config: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ErrorCode": code,
        "ErrorMessage": f"{code} for {override['InstanceType']} in {override['SubnetId']}",
        "LaunchTemplateAndOverrides": _origin(config, override),
    }
