"""What the dispatcher may and may not: launches, mailboxes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent_stack.domain.states import CapacityType
from tests.infra.launches import EC2, OTHER_TEMPLATE, OURS, Launch
from tests.infra.requests.asking import ANOTHER_VM, MAILBOX, OTHERS_TABLE, PARAMETERS, PLACE, TAG, Named, ask, key, log
from tests.infra.stacks import KEY
from tests.simulator.deployment import ACCOUNT, Resolved
from tests.simulator.iam import Asked


def launches(stack: Resolved) -> Named:
    launch = Launch(stack=stack)
    yield "launch", tuple(launch.asked())
    yield "launch of spot", tuple(replace(launch, capacity_type=CapacityType.SPOT).asked())
    yield "launch in China", tuple(replace(launch, service="ec2.amazonaws.com.cn").asked())


def foreign_launches(stack: Resolved) -> Named:
    both = Launch(stack=stack)
    tag = {TAG: "another"}
    changes: Mapping[str, Mapping[str, Any]] = {
        "from another template": {"template": OTHER_TEMPLATE},
        "without a tag": {"tags": {}},
        "with another deployment's tag": {"tags": tag},
        "in another VPC": {"vpc": f"{OURS}:vpc/vpc-0ffffffffffffffff"},
    }
    for name, change in changes.items():
        for api in ("CreateFleet", "RunInstances"):
            yield f"{api} {name}", tuple(replace(both, apis=frozenset({api}), **change).asked())
    direct = replace(both, apis=frozenset({"RunInstances"}))
    yield "IMDSv1", tuple(replace(direct, http_tokens="optional").asked())
    yield "a volume unencrypted", tuple(replace(direct, encrypted=False).asked())
    for api in ("CreateFleet", "RunInstances"):
        one = replace(both, apis=frozenset({api}), group="sg-0ffffffffffffffff")
        yield f"{api} with another security group", tuple(one.asked())
    group = {"ec2__SecurityGroupID": "sg-0123456789abcdef8"}
    yield (
        "a launch with the operator's group by no template",
        ask("ec2:RunInstances", f"{OURS}:security-group/x", **group),
    )
    yield "a fleet with something else of that group", ask("ec2:CreateFleet", f"{OURS}:placement-group/x", **group)
    by_template = {"ec2__LaunchTemplate": f"{OURS}:launch-template/{stack.outputs['LaunchTemplate']}"}
    yield "a key pair of that group", ask("ec2:RunInstances", f"{OURS}:key-pair/x", **group, **by_template)
    yield "another role", tuple(replace(direct, role=f"arn:aws:iam::{ACCOUNT}:role/admin").asked())
    yield "an image of this account's", tuple(replace(direct, image=f"{OURS}:image/ami-1").asked())
    for kind in ("volume", "network-interface", "snapshot", "image"):
        resource = f"{EC2}::{kind}/*" if kind in {"snapshot", "image"} else f"{OURS}:{kind}/*"
        tagged = {f"aws__RequestTag/{TAG}": "ci"}
        yield f"a launch with a {kind} by no template", ask("ec2:RunInstances", resource, **tagged)
    yield "a fleet's volume without a tag", ask("ec2:CreateFleet", f"{OURS}:volume/*")
    yield "a fleet in a placement group", ask("ec2:CreateFleet", f"{OURS}:placement-group/x")
    tagged = {f"aws__RequestTag/{TAG}": "ci"}
    yield "a fleet with a tagged placement group", ask("ec2:CreateFleet", f"{OURS}:placement-group/x", **tagged)
    in_vpc = {"ec2__Vpc": f"{OURS}:vpc/vpc-0123456789abcdef0"}
    yield "a fleet with something of our VPC's", ask("ec2:CreateFleet", f"{OURS}:security-group/sg-1", **in_vpc)
    yield "a launch in our VPC by no template", ask("ec2:RunInstances", f"{OURS}:subnet/subnet-1", **in_vpc)
    template = {"ec2__LaunchTemplate": f"{OURS}:launch-template/{stack.outputs['LaunchTemplate']}"}
    yield "a key pair", ask("ec2:RunInstances", f"{OURS}:key-pair/x", **template, **tagged, **in_vpc)
    yield "a key pair of our template", ask("ec2:RunInstances", f"{OURS}:key-pair/x", **template)
    yield "a capacity reservation", ask("ec2:RunInstances", f"{OURS}:capacity-reservation/x")


def allowed() -> Named:
    yield "mailbox filled", ask("dynamodb:PutItem", MAILBOX)
    for action in ("BatchGetItem", "DeleteItem", "UpdateItem"):
        for item in ("programs", f"program#{'0' * 64}"):
            yield f"{item} {action}", ask(f"dynamodb:{action}", MAILBOX, dynamodb__LeadingKeys=item)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"{action} of its own", ask(f"logs:{action}", log("/agent-stack/ci/dispatcher"))
    for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
        yield f"{action} of jobs' news", ask(f"sqs:{action}", f"arn:aws:sqs:{PLACE}:JobWakesId")
    yield "tracker woken", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:WakesId")
    ours = (f"{PARAMETERS}/agent-stack/images/ci", f"{PARAMETERS}/acme/images/ci")
    for name in ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami/x", *ours):
        yield f"image of {name}", ask("ssm:GetParameters", name)
    yield "spot role made", _service_role("spot.amazonaws.com", "AWSServiceRoleForEC2Spot")
    for action in ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"):
        yield f"volume's key {action}", key(action, "ec2")
    yield "volume's key granted to EC2", key("CreateGrant", "ec2", kms__GrantIsForAWSResource="true")


def denied() -> Named:
    yield "credential taken", ask("dynamodb:UpdateItem", MAILBOX)
    for action in ("BatchGetItem", "DeleteItem", "UpdateItem"):
        yield f"another's programs {action}", ask(f"dynamodb:{action}", OTHERS_TABLE, dynamodb__LeadingKeys="programs")
        yield f"a VM's mailbox {action}", ask(f"dynamodb:{action}", MAILBOX, dynamodb__LeadingKeys=ANOTHER_VM)
    yield "the mailbox of others", ask("dynamodb:BatchGetItem", MAILBOX)
    yield "a log of others", ask("logs:PutLogEvents", log("/aws/lambda/other"))
    yield "instances' news", ask("sqs:ReceiveMessage", f"arn:aws:sqs:{PLACE}:WakesId")
    yield "a VM ended", ask("ec2:TerminateInstances", ANOTHER_VM, **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "parameters at once", ask("ssm:GetParameters", f"{PARAMETERS}/prod/database-password")
    for kind in ("instance", "volume", "network-interface"):
        yield f"a tag on a {kind} later", ask("ec2:CreateTags", f"{OURS}:{kind}/x", **{f"aws__RequestTag/{TAG}": "ci"})
    yield "a tag on an image", ask("ec2:CreateTags", f"{EC2}::image/ami-1", ec2__CreateAction="RunInstances")
    yield "a tag at another creation", ask("ec2:CreateTags", f"{OURS}:volume/x", ec2__CreateAction="CreateVolume")
    vms_role = f"arn:aws:iam::{ACCOUNT}:role/InstanceRoleId"
    yield "VMs' role to a function", ask("iam:PassRole", vms_role, iam__PassedToService="lambda.amazonaws.com")
    yield "VMs' role to anybody", ask("iam:PassRole", vms_role)
    yield "another service's role made", _service_role("ecs.amazonaws.com", "AWSServiceRoleForECS")
    spot = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    yield (
        "spot role for another service",
        ask("iam:CreateServiceLinkedRole", spot, iam__AWSServiceName="x.amazonaws.com"),
    )
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    yield "another role for spot", ask("iam:CreateServiceLinkedRole", other, iam__AWSServiceName="spot.amazonaws.com")
    yield "key granted to anybody", key("CreateGrant", "ec2")
    yield "key granted by hand", ask("kms:CreateGrant", KEY, kms__GrantIsForAWSResource="true")
    yield "volume's key by hand", ask("kms:ReEncryptFrom", KEY)
    another = KEY.replace("0123", "9999")
    yield "another volume key", key("ReEncryptFrom", "ec2", another)
    yield "another key granted", key("CreateGrant", "ec2", another, kms__GrantIsForAWSResource="true")
    yield "the template changed", ask("ec2:CreateLaunchTemplateVersion", f"{OURS}:launch-template/*")


def _service_role(service: str, name: str) -> Asked:
    resource = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{name}"
    return ask("iam:CreateServiceLinkedRole", resource, iam__AWSServiceName=service)
