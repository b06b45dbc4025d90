"""The port `Fleet` over EC2's API."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from agent_stack.adapters.aws import AwsCalls, RefusedError, RefusedInDoubtError, required, required_text
from agent_stack.adapters.ec2.errors import classify, is_of_subnet, is_without_subnet
from agent_stack.adapters.ec2.oddities import Oddities, tags_of
from agent_stack.adapters.ec2.requests import (
    DEPLOYMENT_TAG,
    HOLD_TAG,
    INTENT_TAG,
    LaunchTemplate,
    create_fleet,
    shape,
)
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.adapters.pages import members, next_page
from agent_stack.domain.backoff import CALLS_OF_A_LAUNCH
from agent_stack.domain.classes import VmClass
from agent_stack.domain.ec2_codes import MISMATCH
from agent_stack.domain.errors import AgentStackError, GiveUpError, WaitError
from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId
from agent_stack.domain.launching import LaunchError, LaunchOrder, LaunchOutcome
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType, VmState
from agent_stack.domain.vms import Vm
from agent_stack.ports import Clock
from agent_stack.ports.ec2 import always

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PAGE = 1000  # instances a DescribeInstances page holds, and ids a TerminateInstances takes
MAX_FILTER_VALUES = 200  # source: EC2's filtering limits
LIVING = [state.value for state in VmState if state not in {VmState.TERMINATED, VmState.UNRECOGNISED}]
_INSTANCE_ID = re.compile(r"i-[0-9a-f]+")
_SUBNET_ID = re.compile(r"subnet-[0-9a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Fleet:
    """VMs of one deployment.

    Attributes:
        client: makes or gives the EC2 client; called at the first use, for an idle poll needs none.
        arn_prefix: what an instance's ARN is but its id.
        policy: what every launch request says besides its order.
        oddities: what EC2 says of VMs that cannot be true.
    """

    client: Callable[[], "EC2Client"]
    calls: AwsCalls
    clock: Clock
    deployment: str
    arn_prefix: str
    template: LaunchTemplate
    subnets: Subnets
    policy: LaunchPolicy
    oddities: Oddities

    def pools(self, vm_class: VmClass, capacity_type: CapacityType) -> Sequence[str]:
        """See the port. One subnet stands for each zone."""
        zones = self.subnets.by_zone()
        return [
            f"{capacity_type}:{instance_type}:{zone}" for instance_type in vm_class.instance_types for zone in zones
        ]

    def shape(self, vm_class: VmClass) -> str:
        """See the port."""
        return shape(vm_class, self.template)

    def render(self, order: LaunchOrder) -> str:
        """See the port."""
        return create_fleet(
            order,
            deployment=self.deployment,
            template=self.template,
            subnet_of=self.subnets.of_zone,
            policy=self.policy,
        )

    def types_of(self, request: str) -> frozenset[str]:
        """See the port. A request that cannot be read names none; EC2 could not be sent it either."""
        try:
            configs = json.loads(request)["LaunchTemplateConfigs"]
            named = [override["InstanceType"] for config in configs for override in config["Overrides"]]
        except (ValueError, KeyError, TypeError):
            return frozenset()
        return frozenset(name for name in named if isinstance(name, str))

    def launch(self, request: str, *, permitted: Callable[[], bool] = always) -> LaunchOutcome:
        """See the port."""
        parameters = json.loads(request)
        asked_at = self.clock.now()  # no VM of ours can be older than that
        try:
            created = partial(self._created, parameters, asked_at)
            return self.calls.call("CreateFleet", created, tries=CALLS_OF_A_LAUNCH, permitted=permitted)
        except RefusedError as error:
            if error.code == MISMATCH:
                raise RefusedInDoubtError("CreateFleet", error) from None
            if self._passes(error.code, set(_SUBNET_ID.findall(error.message))):
                return LaunchOutcome(vms=(), errors=(), **self._asked(parameters))
            refusal = LaunchError(
                error_class=classify(error.code, error.message),
                code=error.code,
                message=error.message,
                zone=self._zone_named(error.message),
            )
            return LaunchOutcome(vms=(), errors=(refusal,), **self._asked(parameters))

    def _created(self, parameters: Mapping[str, Any], asked_at: datetime) -> LaunchOutcome:
        """EC2's answer to that request.

        A real one names instances, or says why there are none. One that does neither may still have launched some.
        """
        answer: Mapping[str, Any] = self.client().create_fleet(**parameters)
        required_text(answer["FleetId"])
        intent_id = IntentId(parameters["ClientToken"])
        capacity_type = CapacityType(parameters["TargetCapacitySpecification"]["DefaultTargetCapacityType"])
        named = {
            instance_id: self._launched(instance_id, group, intent_id, capacity_type, asked_at)
            for group in answer.get("Instances", [])
            for instance_id in group.get("InstanceIds", [])
        }
        vms = self.oddities.as_asked(tuple(named.values()), parameters, intent_id)
        told = answer.get("Errors", [])
        if not vms and not told:
            raise ValueError("neither instances nor errors")
        for group in answer.get("Instances", []):
            self.subnets.launched(_override(group).get("SubnetId", ""), len(group.get("InstanceIds", [])))
        errors = tuple(self._error(error, capacity_type) for error in told if not self._is_of_a_subnet(error))
        return LaunchOutcome(vms=vms, errors=errors, **self._asked(parameters))

    def warm_up(self) -> None:
        """See the port. The client is made, and the subnets are read with it; a failure is logged and read again."""
        self.subnets.zones()

    def describe(self) -> Sequence[Vm]:
        """See the port. By state: those that ended in the last hour are still shown, and many times as many."""
        living = {"Name": "instance-state-name", "Values": LIVING}
        shown = self._described({"Filters": [self._our_tag(), living], "MaxResults": PAGE})
        self.look_at_subnets()  # a launch follows, and the dispatcher asks for this beside its cycle
        return shown

    def look_at_subnets(self) -> None:
        """See the port."""
        self.subnets.look_beside()

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        """See the port. By filter, not by id: an id EC2 does not show yet would fail the whole request."""
        shown: list[Vm] = []
        for start in range(0, len(instance_ids), MAX_FILTER_VALUES):
            by_id = {"Name": "instance-id", "Values": list(instance_ids[start : start + MAX_FILTER_VALUES])}
            shown += self._described({"Filters": [self._our_tag(), by_id], "MaxResults": PAGE})
        return shown

    def impaired(self) -> frozenset[InstanceId]:
        """See the port. No filter knows our tag; of what is impaired there is little, in any account."""
        found: set[InstanceId] = set()
        for check in ("system-status.status", "instance-status.status"):
            asked: dict[str, Any] = {"Filters": [{"Name": check, "Values": ["impaired"]}], "MaxResults": PAGE}
            try:
                found |= self.calls.call("DescribeInstanceStatus", partial(self._with_status, asked), is_read=True)
            except RefusedError as error:
                raise WaitError(f"DescribeInstanceStatus: {error}") from None
        return frozenset(found)

    def _with_status(self, asked: Mapping[str, Any]) -> frozenset[InstanceId]:
        page = self.client().describe_instance_status(**asked)
        return frozenset(InstanceId(required_text(status["InstanceId"])) for status in page["InstanceStatuses"])

    def console_output(self, instance_id: InstanceId) -> str:
        """See the port. What it says right now where the hypervisor can tell, else what EC2 kept of its end."""
        for latest in (True, False):
            try:
                said = self.calls.call("GetConsoleOutput", partial(self._console, instance_id, latest), is_read=True)
            except RefusedError as error:
                if latest:
                    continue  # only Nitro instances have it, and only while they are there
                raise GiveUpError(f"GetConsoleOutput: {error}") from None
            if said:
                return said
        return ""

    def _console(self, instance_id: InstanceId, latest: bool) -> str:  # noqa: FBT001  (EC2's own name for it)
        answer = self.client().get_console_output(InstanceId=instance_id, Latest=latest)  # botocore decodes the text
        required_text(answer["InstanceId"])
        return required(answer.get("Output") or "", str)

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        """See the port."""
        refused: dict[InstanceId, AgentStackError] = {}
        for start in range(0, len(instance_ids), PAGE):
            self._terminate(list(instance_ids[start : start + PAGE]), refused)
        return refused

    def _terminate(self, instance_ids: list[InstanceId], refused: dict[InstanceId, AgentStackError]) -> None:
        """One request; an id that EC2 does not know fails all of it, so the rest is asked for again without it."""
        if not instance_ids:
            return
        try:
            self.calls.call("TerminateInstances", partial(self._ended, instance_ids), is_read=True)  # no second effect
        except RefusedError as error:
            named = set(_INSTANCE_ID.findall(error.message)).intersection(instance_ids)
            if len(instance_ids) == 1 or not error.code.startswith("InvalidInstanceID"):
                refused |= dict.fromkeys(instance_ids, _refusal(error))
            elif named:
                refused |= {instance_id: _refusal(error) for instance_id in instance_ids if instance_id in named}
                self._terminate([instance_id for instance_id in instance_ids if instance_id not in named], refused)
            else:
                middle = len(instance_ids) // 2
                self._terminate(instance_ids[:middle], refused)
                self._terminate(instance_ids[middle:], refused)
        except AgentStackError as error:
            refused |= dict.fromkeys(instance_ids, error)

    def _ended(self, instance_ids: Sequence[InstanceId]) -> None:
        """A real answer names each of them."""
        answer = self.client().terminate_instances(InstanceIds=list(instance_ids))
        named = {required_text(one["InstanceId"]) for one in answer["TerminatingInstances"]}
        if not named.issuperset(instance_ids):
            raise ValueError("an answer about other instances")

    def _described(self, parameters: Mapping[str, Any]) -> list[Vm]:
        try:
            # The later answer about a VM that moved from one page to the next.
            return list({vm.instance_id: vm for vm in self._instances(parameters)}.values())
        except RefusedError as error:
            raise WaitError(f"DescribeInstances: {error}") from None

    def _instances(self, parameters: Mapping[str, Any]) -> Iterator[Vm]:
        return members(self.calls, "DescribeInstances", partial(self._page, parameters))

    def _page(self, asked: Mapping[str, Any], token: str | None) -> tuple[list[Vm], str]:
        page: Mapping[str, Any] = self.client().describe_instances(**asked, **next_page(token))
        vms = [self._shown(one) for reservation in page["Reservations"] for one in reservation.get("Instances", [])]
        return [vm for vm in vms if vm is not None], required(page.get("NextToken") or "", str)

    def _our_tag(self) -> dict[str, Any]:
        return {"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [self.deployment]}

    def _shown(self, instance: Mapping[str, Any]) -> Vm | None:
        """The VM; None for one that is not this deployment's, whatever was asked for."""
        tags = tags_of(instance.get("Tags", []))
        intent = tags.get(INTENT_TAG)
        reason, cpus = instance.get("StateReason", {}), instance.get("CpuOptions", {})
        instance_id = required_text(instance["InstanceId"])
        launched_at = required(instance["LaunchTime"], datetime).astimezone(UTC)
        if tags.get(DEPLOYMENT_TAG) != self.deployment:
            self.oddities.foreign(instance_id)
            return None
        return Vm(
            instance_id=InstanceId(instance_id),
            arn=InstanceArn(self.arn_prefix + instance_id),
            state=VmState.parse(required_text(instance["State"]["Name"])),
            launched_at=self.oddities.launch_time(instance_id, launched_at, now=self.clock.now()),
            instance_type=required(instance.get("InstanceType", ""), str),
            zone=required(instance.get("Placement", {}).get("AvailabilityZone", ""), str),
            capacity_type=CapacityType.SPOT if instance.get("InstanceLifecycle") == "spot" else CapacityType.ON_DEMAND,
            intent_id=IntentId(intent) if intent else None,
            reason=required(reason.get("Code", ""), str),
            hold=_seconds(tags.get(HOLD_TAG, "")),
            vcpus=required(cpus.get("CoreCount", 0), int) * required(cpus.get("ThreadsPerCore", 0), int),
        )

    def _launched(
        self,
        instance_id: InstanceId,
        group: Mapping[str, Any],
        intent_id: IntentId,
        capacity_type: CapacityType,
        asked_at: datetime,
    ) -> Vm:
        overrides = _override(group)
        return Vm(
            instance_id=InstanceId(required_text(instance_id)),
            arn=InstanceArn(self.arn_prefix + instance_id),
            state=VmState.PENDING,
            launched_at=asked_at,
            instance_type=group.get("InstanceType", overrides.get("InstanceType", "")),
            zone=self._zone(overrides),
            capacity_type=CapacityType(group.get("Lifecycle", capacity_type)),
            intent_id=intent_id,
        )

    def _error(self, error: Mapping[str, Any], capacity_type: CapacityType) -> LaunchError:
        code, message = error.get("ErrorCode", ""), error.get("ErrorMessage", "")
        overrides = _override(error)
        parts = (capacity_type, overrides.get("InstanceType", ""), self._zone(overrides))
        return LaunchError(
            error_class=classify(code, message, placed=all(parts)),
            code=code,
            message=message,
            pool=":".join(parts) if all(parts) else "",
            zone=self._zone_named(message),
        )

    def _asked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What a request asks for: its pools, of which those of unknown zones are left out, and how many VMs."""
        target = parameters["TargetCapacitySpecification"]
        pools = [
            (target["DefaultTargetCapacityType"], override["InstanceType"], self._zone(override))
            for config in parameters["LaunchTemplateConfigs"]
            for override in config["Overrides"]
        ]
        asked = tuple(":".join(pool) for pool in pools if all(pool))
        return {"asked": asked, "count": target["TotalTargetCapacity"]}

    def _zone_named(self, message: str) -> str:
        """The zone of the subnet that EC2's words name; empty when they name none."""
        zones = self._zones_of_subnets()
        return next((zones[subnet] for subnet in _SUBNET_ID.findall(message) if subnet in zones), "")

    def _passes(self, code: str, subnets: Iterable[str]) -> bool:
        """Whether the error is about subnets that are full or gone, and the next request uses others of their zones.

        It then says nothing of the pool: the VMs are asked for again, there.
        """
        if not is_of_subnet(code):
            return False
        gone = is_without_subnet(code)
        others = [self.subnets.refused(subnet, gone=gone) for subnet in sorted(subnets)]
        return bool(others) and all(others)

    def _is_of_a_subnet(self, error: Mapping[str, Any]) -> bool:
        return self._passes(error.get("ErrorCode", ""), {_override(error).get("SubnetId", "")})

    def _zone(self, overrides: Mapping[str, Any]) -> str:
        zone: str = overrides.get("AvailabilityZone", "")
        return zone or self._zones_of_subnets().get(overrides.get("SubnetId", ""), "")

    def _zones_of_subnets(self) -> Mapping[str, str]:
        return self.subnets.zones()


def _override(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pool that a part of CreateFleet's answer is about."""
    override: Mapping[str, Any] = part.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return override


def _refusal(error: RefusedError) -> AgentStackError:
    return GiveUpError(f"TerminateInstances: {error}")


def _seconds(tag: str) -> timedelta | None:
    """A hold that an operator may have changed by hand; what is no number is no hold."""
    return timedelta(seconds=int(tag)) if re.fullmatch(r"[0-9]{1,7}", tag) else None
