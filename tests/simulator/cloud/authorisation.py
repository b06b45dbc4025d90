"""What IAM is asked for an EC2 request, and how EC2 says that it is denied.

Source: the Service Authorization Reference on Amazon EC2: the resources of each action, and which condition keys each
of them knows. An instant fleet runs its instances in its caller's name, so RunInstances is judged besides CreateFleet.
Of CreateFleet more is asked here than the reference lists: all that a launch touches.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.images import RESOLVE
from tests.simulator.cloud.launches import tags_of
from tests.simulator.cloud.settings import LaunchTemplateData, Settings
from tests.simulator.iam.policy import Asked, Policies

MADE = ("instance", "volume", "network-interface")
Context = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request.

    Attributes:
        arn: as EC2 names it in refusals.
    """

    arn: str
    policies: Policies

    def check(self, asked: Iterable[Asked]) -> None:
        """Let the caller do all of that.

        Raises:
            Ec2Error: one thing is denied.
        """
        for one in asked:
            if not self.policies.allow(one):
                raise _denied(self, one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One launch, as IAM sees it.

    Attributes:
        request: what carries the tags.
        override: one of the fleet's, or the whole RunInstances request.
        template: its id and data; None for none.
    """

    request: Mapping[str, Any]
    override: Mapping[str, Any]
    capacity_type: str
    vpc: str
    settings: Settings
    template: tuple[str, LaunchTemplateData] | None = None
    partition: str = "aws"

    def fleet(self) -> Iterator[Asked]:
        """What CreateFleet itself needs."""
        yield Asked(action="ec2:CreateFleet", resource=self._arn("fleet/*"))
        for resource, context in self._used():
            yield Asked(action="ec2:CreateFleet", resource=resource, context=context)
        data = self.template[1] if self.template and self.settings.fleet_sees_template_tags else None
        for kind in MADE:
            tags = tags_of(kind, self.request, data)
            context = {**_request_tags(tags), **self._made(kind)}
            yield Asked(action="ec2:CreateFleet", resource=self._arn(f"{kind}/*"), context=context)
            yield from self._tagging(kind, tags, "CreateFleet")

    def run(self) -> Iterator[Asked]:
        """What RunInstances needs, by the caller or by a fleet in the caller's name."""
        data = self.template[1] if self.template else None
        by_template = {"ec2:LaunchTemplate": [self._template_arn()]} if self.template else {}
        for resource, context in self._used():
            yield Asked(action="ec2:RunInstances", resource=resource, context={**by_template, **context})
        tokens = {"ec2:MetadataHttpTokens": [data.http_tokens if data else "optional"]}
        for kind in MADE:
            tags = tags_of(kind, self.request, data)
            context = {**by_template, **_request_tags(tags), **self._made(kind)}
            context |= {**tokens, "ec2:InstanceType": [self.override["InstanceType"]]} if kind == "instance" else {}
            yield Asked(action="ec2:RunInstances", resource=self._arn(f"{kind}/*"), context=context)
            yield from self._tagging(kind, tags, "RunInstances")
        if self.capacity_type == "spot":
            yield Asked(action="ec2:RunInstances", resource=self._arn("spot-instances-request/*"))
        if data and data.role:
            passed = {"iam:PassedToService": ["ec2.amazonaws.com"]}
            yield Asked(action="iam:PassRole", resource=data.role, context=passed)
        image = self.override.get("ImageId", "")
        if image.startswith(RESOLVE):
            name = image.removeprefix(RESOLVE).removeprefix("/")
            owner = "" if name.startswith("aws/") else self.settings.account_id
            place = f"arn:{self.partition}:ssm:{self.settings.region}:{owner}"
            yield Asked(action="ssm:GetParameters", resource=f"{place}:parameter/{name}")

    def _used(self) -> Iterator[tuple[str, Context]]:
        """Resources that there are already."""
        vpc = {"ec2:Vpc": [self._arn(f"vpc/{self.vpc}")]}
        if self.template:
            yield self._template_arn(), {}
            for group in self.template[1].security_groups:
                yield self._arn(f"security-group/{group}"), {**vpc, "ec2:SecurityGroupID": [group]}
        image = self.override.get("ImageId", "")
        if image:
            named = "*" if image.startswith(RESOLVE) else image
            yield self._arn(f"image/{named}", owned=False), {}
        yield self._arn("snapshot/*", owned=False), {}
        yield self._arn(f"subnet/{self.override['SubnetId']}"), vpc

    def _made(self, kind: str) -> Context:
        """What is known of a resource that the launch makes."""
        if kind == "network-interface":
            return {"ec2:Vpc": [self._arn(f"vpc/{self.vpc}")]}
        if kind == "instance":
            return {}
        disks = [mapping["Ebs"] for mapping in self.override.get("BlockDeviceMappings", ()) if "Ebs" in mapping]
        encrypted = all(disk.get("Encrypted", False) for disk in disks)
        sizes = [str(disk["VolumeSize"]) for disk in disks if "VolumeSize" in disk]
        known = {"ec2:Encrypted": [str(encrypted).lower()]} if disks else {}
        return {**known, **({"ec2:VolumeSize": sizes[:1]} if sizes else {})}

    def _tagging(self, kind: str, tags: Mapping[str, str], action: str) -> Iterator[Asked]:
        if tags:
            context = {**_request_tags(tags), "ec2:CreateAction": [action]}
            yield Asked(action="ec2:CreateTags", resource=self._arn(f"{kind}/*"), context=context)

    def _template_arn(self) -> str:
        return self._arn(f"launch-template/{self.template[0]}") if self.template else ""

    def _arn(self, name: str, *, owned: bool = True) -> str:
        return arn(self.settings, name, partition=self.partition, owned=owned)


def arn(settings: Settings, name: str, *, partition: str = "aws", owned: bool = True) -> str:
    """Of an EC2 resource, such as `instance/i-1`; images and snapshots name no account."""
    return f"arn:{partition}:ec2:{settings.region}:{settings.account_id if owned else ''}:{name}"


def touching(action: str, resource: str, tags: Mapping[str, str], asked: Mapping[str, str] | None = None) -> Asked:
    """An action on one resource that has those tags already, and is to get others."""
    context = {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
    return Asked(action=f"ec2:{action}", resource=resource, context={**context, **_request_tags(asked or {})})


def decoded(message: str) -> Mapping[str, Any]:
    """What an encoded authorization failure message says, as DecodeAuthorizationMessage would tell it."""
    encoded = message.rpartition("Encoded authorization failure message: ")[2]
    said: Mapping[str, Any] = json.loads(zlib.decompress(base64.urlsafe_b64decode(encoded)))
    return said


def _request_tags(tags: Mapping[str, str]) -> Context:
    keys = {"aws:TagKeys": list(tags)} if tags else {}
    return {**keys, **{f"aws:RequestTag/{key}": [value] for key, value in tags.items()}}


def _denied(caller: Caller, asked: Asked) -> Ec2Error:
    explicit = caller.policies.deny(asked)
    conditions = [{"key": key, "values": list(values)} for key, values in asked.context.items()]
    said = {
        "allowed": False,
        "explicitDeny": explicit,
        "context": {
            "principal": {"arn": caller.arn},
            "action": asked.action,
            "resource": asked.resource,
            "conditions": {"items": conditions},
        },
    }
    why = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {asked.action} action"
    )
    encoded = base64.urlsafe_b64encode(zlib.compress(json.dumps(said, sort_keys=True).encode())).decode()
    return Ec2Error(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: {caller.arn} is not authorized to perform: "
        f"{asked.action} on resource: {asked.resource} {why}. Encoded authorization failure message: {encoded}",
        status=403,
    )
