"""What IAM is asked when the dispatcher launches: the request that the code builds, on the template the stack makes.

Source: the Service Authorization Reference on CreateFleet and RunInstances: their resources, and which condition keys
each of them knows. An instant fleet runs its instances in its caller's name, so RunInstances is judged besides
CreateFleet. Of CreateFleet more is asked here than the reference lists: all that a launch touches.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent_stack.adapters.ec2.requests import LaunchTemplate, create_fleet
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, IntentId
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType
from tests.infra.stacks import OWN_NETWORK
from tests.simulator.deployment import ACCOUNT, Resolved
from tests.simulator.iam import Asked

EC2 = "arn:aws:ec2:eu-central-1"
OURS = f"{EC2}:{ACCOUNT}"
OTHER_TEMPLATE = f"{OURS}:launch-template/lt-0ffffffffffffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch.

    Attributes:
        apis: which of the two are asked; RunInstances alone is what the role could call directly.
        tags: in place of the request's own.
    """

    stack: Resolved
    apis: frozenset[str] = frozenset({"CreateFleet", "RunInstances"})
    template: str = ""
    group: str = ""
    vpc: str = f"{OURS}:vpc/{OWN_NETWORK['VpcId']}"
    role: str = ""
    service: str = "ec2.amazonaws.com"
    http_tokens: str = "required"
    encrypted: bool | None = None
    tags: Mapping[str, str] | None = None
    image: str = f"{EC2}::image/ami-0123456789abcdef0"
    capacity_type: CapacityType = CapacityType.ON_DEMAND

    def asked(self) -> Iterator[Asked]:
        """Everything that IAM is asked for it; one denial denies the launch."""
        request = self._request()
        tags = {tag["Key"]: tag["Value"] for tag in request["TagSpecifications"][0]["Tags"]}
        tags = tags if self.tags is None else dict(self.tags)
        tagged = {f"aws:RequestTag/{key}": [value] for key, value in tags.items()}
        template = self.template or f"{OURS}:launch-template/{self._data('LaunchTemplateId')}"
        (volume,) = request["LaunchTemplateConfigs"][0]["Overrides"][0]["BlockDeviceMappings"]
        encrypted = {"ec2:Encrypted": [str(volume["Ebs"]["Encrypted"] if self.encrypted is None else self.encrypted)]}
        launched = self.stack.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        groups = [self.group] if self.group else launched["SecurityGroupIds"]
        made = {"instance": {}, "volume": encrypted, "network-interface": {"ec2:Vpc": [self.vpc]}}
        used = {
            "launch-template": (template, {}),
            "image": (self.image, {}),
            **{
                group: (
                    f"{OURS}:security-group/{group}",
                    {"ec2:Vpc": [self.vpc], "ec2:SecurityGroupID": [group]},
                )
                for group in groups
            },
            "snapshot": (f"{EC2}::snapshot/snap-0123456789abcdef0", {}),
            "subnet": (f"{OURS}:subnet/subnet-0123456789abcdef0", {"ec2:Vpc": [self.vpc]}),
        }
        if "CreateFleet" in self.apis:
            yield Asked(action="ec2:CreateFleet", resource=f"{OURS}:fleet/*")
            for resource, context in used.values():
                yield Asked(action="ec2:CreateFleet", resource=resource, context=context)
            for kind, context in made.items():
                yield Asked(action="ec2:CreateFleet", resource=f"{OURS}:{kind}/*", context={**tagged, **context})
        if "RunInstances" in self.apis:
            from_template = {"ec2:LaunchTemplate": [template]}
            made["instance"] = {"ec2:MetadataHttpTokens": [self.http_tokens]}
            for resource, context in used.values():
                yield Asked(action="ec2:RunInstances", resource=resource, context={**from_template, **context})
            for kind, context in made.items():
                told = {**from_template, **tagged, **context}
                yield Asked(action="ec2:RunInstances", resource=f"{OURS}:{kind}/*", context=told)
            if self.capacity_type is CapacityType.SPOT:
                yield Asked(action="ec2:RunInstances", resource=f"{OURS}:spot-instances-request/*")
            yield Asked(
                action="iam:PassRole",
                resource=self.role or self.stack.arn("InstanceRole"),
                context={"iam:PassedToService": [self.service]},
            )
        for kind in made:
            for api in sorted(self.apis):
                yield Asked(
                    action="ec2:CreateTags",
                    resource=f"{OURS}:{kind}/i-1",
                    context={**tagged, "ec2:CreateAction": [api]},
                )

    def _request(self) -> dict[str, Any]:
        order = LaunchOrder(
            intent_id=IntentId("as-1"),
            vm_class=VmClass(
                name=ClassName("default"), instance_types=("m7i.large",), image="ami-1", root_device="/dev/xvda"
            ),
            capacity_type=self.capacity_type,
            count=1,
            pools=(f"{self.capacity_type}:m7i.large:eu-central-1a",),
        )
        text = create_fleet(
            order,
            deployment=self._data("Deployment"),
            template=LaunchTemplate(template_id=self._data("LaunchTemplateId"), version="1"),
            subnet_of=lambda _zone: "subnet-0123456789abcdef0",
            policy=LaunchPolicy(),
        )
        return dict(json.loads(text))

    def _data(self, name: str) -> str:
        variables = self.stack.resources["DispatcherFunction"]["Properties"]["Environment"]["Variables"]
        return str(variables[{"LaunchTemplateId": "LAUNCH_TEMPLATE_ID", "Deployment": "DEPLOYMENT"}[name]])
