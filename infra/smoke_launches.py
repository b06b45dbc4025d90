"""What scripts/smoke asks EC2 about launches: dry runs of the stack's own requests, and what a refusal means."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ec2.requests import LaunchTemplate, create_fleet
from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.adapters.ssm.parameters import SERVER_ERRORS, THROTTLES, Parameters
from agent_stack.adapters.system import InvocationDeadline, SystemClock, SystemIds
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType

PASSES = "DryRunOperation"
MEANINGS: Mapping[str, str] = {
    "MaxFleetCountExceeded": "the account's Fleet API is closed, as it is in new accounts and in blocked ones: no "
    "permission is missing. Ask AWS Support to open EC2 Fleet; docs/operations/new-aws-account.md",
    "UnauthorizedOperation": "a permission is missing, or a policy of the organisation forbids it: "
    "aws sts decode-authorization-message tells which",
    "VcpuLimitExceeded": "the account's vCPU quota is too low; docs/operations/new-aws-account.md",
    "MaxSpotInstanceCountExceeded": "the account's spot quota is too low; docs/operations/new-aws-account.md",
    "PendingVerification": "AWS still verifies the account; wait some hours, then ask AWS Support",
    "Blocked": "AWS has blocked the account; ask AWS Support",
    "OptInRequired": "the account is not signed up for EC2 in this region",
}
"""By EC2's code."""


def meaning(code: str, message: str) -> str:
    """What a refusal means and what to do, with EC2's words."""
    known = next((words for name, words in MEANINGS.items() if code == name), "")
    return f"{code}: {known}. EC2: {message}" if known else f"{code}: {message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """Dry runs, with the operator's own permissions: those of the dispatcher's role are asked of IAM's simulator.

    Attributes:
        classes_parameter: the parameter that holds the class document, and whether it is the stack's own.
    """

    ec2: Any
    ssm: Any
    stack: str
    template_id: str
    subnet_ids: Sequence[str]
    classes_parameter: tuple[str, bool]

    def __call__(self) -> Iterator[tuple[bool, str]]:
        """Each class and each subnet: whether it is as it should be, and in which words."""
        subnets = self._subnets()
        for missing in [one for one in self.subnet_ids if one not in subnets]:
            yield False, f"subnet {missing} does not exist"
        book = self._book()
        for name, error in book.broken.items():
            yield False, f"class {name}: {error}"
        for vm_class in book.classes.values():
            if subnets:
                yield from self._fleet(vm_class, subnets)
                yield from self._instances(vm_class, subnets)

    def _fleet(self, vm_class: VmClass, subnets: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
        by_zone = {zone: subnet for subnet, zone in subnets.items()}
        fallback = [CapacityType.ON_DEMAND] if vm_class.fallback else []
        for capacity_type in dict.fromkeys([vm_class.capacity_type, *fallback]):
            pools = tuple(f"{capacity_type}:{one}:{zone}" for one in vm_class.instance_types for zone in by_zone)
            order = LaunchOrder(
                intent_id=IntentId("smoke"), vm_class=vm_class, count=1, capacity_type=capacity_type, pools=pools
            )
            text = create_fleet(
                order,
                deployment=self.stack,
                template=LaunchTemplate(template_id=self.template_id, version="$Latest"),
                subnet_of=by_zone.__getitem__,
                policy=LaunchPolicy(),
            )
            request = {**_parsed(text), "DryRun": True}
            what = f"class {vm_class.name}: CreateFleet, {capacity_type}, {len(vm_class.instance_types)} types"
            yield _dry_run(what, lambda request=request: self.ec2.create_fleet(**request))  # type: ignore[misc]  # mypy does not see through the default

    def _instances(self, vm_class: VmClass, subnets: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
        """EC2 looks at image, type and subnet in a dry run of RunInstances, and not in one of CreateFleet."""
        instance_type = vm_class.instance_types[0]
        for subnet in subnets:
            request: dict[str, Any] = {
                "DryRun": True,
                "LaunchTemplate": {"LaunchTemplateId": self.template_id, "Version": "$Latest"},
                "ImageId": vm_class.image,
                "InstanceType": instance_type,
                "SubnetId": subnet,
                "MinCount": 1,
                "MaxCount": 1,
            }
            what = f"class {vm_class.name}: RunInstances, {instance_type} with {vm_class.image} in {subnet}"
            yield _dry_run(what, lambda request=request: self.ec2.run_instances(**request))  # type: ignore[misc]  # see above

    def _subnets(self) -> Mapping[str, str]:
        found = self.ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": list(self.subnet_ids)}])
        return {one["SubnetId"]: one["AvailabilityZone"] for one in found["Subnets"]}

    def _book(self) -> ClassBook:
        clock = SystemClock()
        deadline = InvocationDeadline(clock)
        deadline.begin(timedelta(minutes=10))

        def calls(throttles: frozenset[str], server_errors: frozenset[str]) -> AwsCalls:
            return AwsCalls(
                clock=clock, ids=SystemIds(), deadline=deadline, throttles=throttles, server_errors=server_errors
            )

        ec2_calls = calls(errors.NOTHING_DONE, errors.SERVER)
        parameters = Parameters(client=lambda: self.ssm, calls=calls(THROTTLES, SERVER_ERRORS))
        remedy = "Put a class document there."
        name, shipped = self.classes_parameter
        return read_classes(
            parameters.read(name, setting="ClassesParameter", remedy=remedy),
            name=name,
            deployment_tags=(),
            shapes=Ec2InstanceCatalog(
                client=lambda: self.ec2,
                calls=ec2_calls,
                instance_types=Ec2InstanceTypes(client=lambda: self.ec2, calls=ec2_calls),
                parameter=lambda image: parameters.read(image, setting="ClassesParameter", remedy=remedy),
                clock=clock,
            ),
            shipped=shipped,
        )


def refusals_in(events: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """What EC2 refused the dispatcher, by its log lines `launch_partial`: each code once, with what it means."""
    found = {str(line.get("code", "")): str(line.get("error", "")) for line in (_parsed(e["message"]) for e in events)}
    return [meaning(code, message) for code, message in found.items() if code]


def _dry_run(what: str, send: Callable[[], object]) -> tuple[bool, str]:
    try:
        send()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        good = code == PASSES
        return good, f"{what}: dry run passes" if good else f"{what}: {meaning(code, message)}"
    return False, f"{what}: EC2 took a dry run for a launch"


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
