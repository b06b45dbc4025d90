"""CreateFleet of type instant: one answer for N instances over a list of pools, some of it often errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulator.cloud.authorisation import Caller, Launch
from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import Ec2Error, words
from tests.simulator.cloud.faults import Faults
from tests.simulator.cloud.launches import check_metadata_tags, check_tags, launch, tags_of
from tests.simulator.cloud.pools import Pools
from tests.simulator.cloud.refusals import Override, volume_gib
from tests.simulator.cloud.region import Region
from tests.simulator.cloud.settings import LaunchTemplateData
from tests.simulator.cloud.tokens import Tokens

MAX_OVERRIDES = 300  # source: EC2's fleet quotas

Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A fleet that is understood: what is to be launched from what, and by whom."""

    request: Request
    capacity_type: str
    wanted: int
    template_id: str
    template: LaunchTemplateData
    config: Request
    overrides: Sequence[Request]
    caller: Caller | None


class Fleets:
    """Serves CreateFleet."""

    def __init__(
        self,
        *,
        region: Region,
        pools: Pools,
        budgets: Budgets,
        faults: Faults,
        launch_templates: Callable[[str, str], LaunchTemplateData],
    ) -> None:
        self._region = region
        self._pools = pools
        self._budgets = budgets
        self._faults = faults
        self._launch_templates = launch_templates
        self._tokens = Tokens()

    def create(self, request: Request, now: datetime, caller: Caller | None) -> dict[str, Any]:
        """Launch, or give the answer that this client token was given before.

        Raises:
            Ec2Error: the request as a whole is refused.
        """
        asked = self._understood(request, caller)
        if caller is not None:
            for override in asked.overrides:
                caller.check(self._for_iam(asked, override).fleet())
        if request.get("DryRun"):
            raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)
        seen = [self._seen(asked, override) for override in asked.overrides]
        self._faults.check("CreateFleet", seen)
        return self._tokens.once(request, lambda: self._launch(asked, seen, now))

    def _understood(self, request: Request, caller: Caller | None) -> Asked:
        if request.get("Type") != "instant":
            raise Ec2Error("InvalidParameterValue", "only fleets of type instant are simulated")
        target = request["TargetCapacitySpecification"]
        capacity_type = target.get("DefaultTargetCapacityType", "on-demand")
        check_tags(request, capacity_type)
        config = request["LaunchTemplateConfigs"][0]
        specification = config["LaunchTemplateSpecification"]
        template = self._template(specification)
        check_metadata_tags(tags_of("instance", request, template), template)
        overrides = config.get("Overrides", [])
        if len(overrides) > MAX_OVERRIDES:
            raise Ec2Error("InvalidParameterValue", f"A fleet has at most {MAX_OVERRIDES} launch template overrides")
        return Asked(
            request=request,
            capacity_type=capacity_type,
            wanted=target["TotalTargetCapacity"],
            template_id=specification["LaunchTemplateId"],
            template=template,
            config=config,
            overrides=self._pools.ordered(overrides, request, capacity_type),
            caller=caller,
        )

    def _launch(self, asked: Asked, seen: Sequence[Override], now: datetime) -> dict[str, Any]:
        met = self._faults.refusals("CreateFleet", seen)
        answer: dict[str, Any] = {"FleetId": f"fleet-{self._tokens.count:08x}", "Instances": [], "Errors": []}
        groups, errors = answer["Instances"], answer["Errors"]
        whole = [refusal for refusal in met if refusal.where == "answer"]
        if whole:
            errors += [_error(refusal.code, refusal.message or words(refusal.code)) for refusal in whole]
            return answer
        partial = self._faults.partial()
        granted = self._budgets.instances("CreateFleet", asked.wanted, now)
        left = 0 if partial else granted
        if partial or granted < asked.wanted:
            errors.append(self._refused(partial or "RequestLimitExceeded", "", asked, asked.overrides[0]))
        rest = ""
        for override, notices_sent in zip(asked.overrides, seen, strict=True):
            if left <= 0:
                break
            if rest:
                errors.append(self._refused(rest, "", asked, override))
                continue
            refusal = next((one for one in met if one.touches(notices_sent)), None)
            if refusal is not None:
                rest = refusal.rest
                errors.append(self._refused(refusal.code, refusal.message, asked, override))
                continue
            left -= self._from_pool(asked, override, left, now, groups, errors)
        return answer

    def _from_pool(
        self,
        asked: Asked,
        override: Request,
        wanted: int,
        now: datetime,
        groups: list[dict[str, Any]],
        errors: list[dict[str, Any]],
    ) -> int:
        """Launch what a pool can give; how many that are."""
        try:
            if asked.caller is not None:
                asked.caller.check(self._for_iam(asked, override).run())
        except Ec2Error as error:
            errors.append(self._refused(error.code, error.message, asked, override))
            return 0
        room = self._pools.room(override, asked.capacity_type, wanted, now)
        if room.count:
            groups.append(self._group(asked, override, room.count, now))
        if room.count < wanted:
            errors.append(self._refused(room.code, room.message, asked, override))
        return room.count

    def _template(self, specification: Request) -> LaunchTemplateData:
        try:
            return self._launch_templates(specification["LaunchTemplateId"], specification["Version"])
        except LookupError as error:
            raise Ec2Error("InvalidLaunchTemplateId.NotFound", f"no such launch template: {error}") from None

    def _group(self, asked: Asked, override: Request, count: int, now: datetime) -> dict[str, Any]:
        launched = launch(
            self._region,
            override,
            count,
            capacity_type=asked.capacity_type,
            image=self._pools.image(override),
            template=asked.template,
            tags=tags_of("instance", asked.request, asked.template),
            now=now,
        )
        return {
            "InstanceIds": [instance.instance_id for instance in launched],
            "InstanceType": override["InstanceType"],
            "Lifecycle": asked.capacity_type,
            "LaunchTemplateAndOverrides": _origin(asked.config, override),
        }

    def _seen(self, asked: Asked, override: Request) -> Override:
        return Override(
            pool=self._pools.name(override, asked.capacity_type),
            subnet=override["SubnetId"],
            image=override.get("ImageId", ""),
            volume_gib=volume_gib(override),
            tags=tags_of("instance", asked.request, asked.template),
        )

    def _for_iam(self, asked: Asked, override: Request) -> Launch:
        return Launch(
            request=asked.request,
            override=override,
            capacity_type=asked.capacity_type,
            vpc=self._region.network.subnet(override["SubnetId"]).vpc,
            settings=self._region.settings,
            template=(asked.template_id, asked.template),
        )

    def _refused(self, code: str, message: str, asked: Asked, override: Request) -> dict[str, Any]:
        zone = self._region.network.subnet(override["SubnetId"]).zone
        names = {"type": override["InstanceType"], "zone": zone, "subnet": override["SubnetId"]}
        said = message or words(code, image=override.get("ImageId", ""), **names)
        return {**_error(code, said), "LaunchTemplateAndOverrides": _origin(asked.config, override)}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"ErrorCode": code, "ErrorMessage": message}


def _origin(config: Request, override: Request) -> dict[str, Any]:
    shown = {key: value for key, value in override.items() if key in {"InstanceType", "SubnetId", "Priority"}}
    return {"LaunchTemplateSpecification": dict(config.get("LaunchTemplateSpecification", {})), "Overrides": shown}
