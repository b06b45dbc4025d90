"""Requests that this stack's roles must be allowed, and requests that they must be denied, with a name for each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent_stack.domain.states import Market
from tests.infra.launches import EC2, OTHER_TEMPLATE, OURS, Launch
from tests.infra.required_actions import DISPATCHER, TRACKER, VM
from tests.infra.stacks import KEY
from tests.simulator.deployment import ACCOUNT, Resolved
from tests.simulator.iam import Asked, asked_of_dynamodb

SCHEDULER = "SchedulerRole"
PLACE = f"eu-central-1:{ACCOUNT}"
TABLES = f"arn:aws:dynamodb:{PLACE}:table/"
LEDGER, MAILBOX, OTHERS_TABLE = (f"{TABLES}{name}" for name in ("LedgerTableId", "MailboxTableId", "orders"))
PARAMETERS = f"arn:aws:ssm:{PLACE}:parameter"
SECRETS = f"arn:aws:secretsmanager:{PLACE}:secret:"
ME, ANOTHER_VM = (f"{OURS}:instance/i-{digit * 17}" for digit in "12")
TAG = "agent-stack:deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of one role: allowed when everything is that it asks."""

    name: str
    role: str
    asked: tuple[Asked, ...]
    allowed: bool


def requests(stack: Resolved) -> list[Request]:
    """All of them; `stack` says what is called how."""
    kinds = {
        (True, DISPATCHER): [*_ledger(), *_settings(), *_launches(stack), *_dispatchers()],
        (False, DISPATCHER): [
            *_others_tables(),
            *_others_settings(),
            *_foreign_launches(stack),
            *_not_the_dispatchers(),
        ],
        (True, TRACKER): [*_ledger(), *_settings(), *_trackers()],
        (False, TRACKER): [*_others_tables(), *_others_settings(), *_not_the_trackers()],
        (True, VM): list(_vms()),
        (False, VM): list(_not_the_vms()),
        (True, SCHEDULER): list(_schedulers()),
        (False, SCHEDULER): list(_not_the_schedulers()),
    }
    return [
        Request(name=name, role=role, asked=asked if isinstance(asked, tuple) else (asked,), allowed=allowed)
        for (allowed, role), named in kinds.items()
        for name, asked in named
    ]


Named = Iterator[tuple[str, Asked | tuple[Asked, ...]]]


def ask(action: str, resource: str = "*", **context: str) -> Asked:
    """A request with condition keys whose colons are written as double underscores."""
    return Asked(
        action=action, resource=resource, context={key.replace("__", ":"): [value] for key, value in context.items()}
    )


def _key(action: str, service: str, key: str = KEY, **context: str) -> Asked:
    return ask(f"kms:{action}", key, kms__ViaService=f"{service}.eu-central-1.amazonaws.com", **context)


# --- Both functions ---


def _ledger() -> Named:
    for action in ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "PutItem", "Query", "UpdateItem"):
        yield f"ledger {action}", ask(f"dynamodb:{action}", LEDGER)
    for service in ("dynamodb", "sqs", "ssm"):
        yield f"key through {service}", _key("Decrypt", service)
    for action in ("DescribeKey", "Encrypt", "GenerateDataKey"):
        yield f"key {action}", _key(action, "dynamodb")


def _others_tables() -> Named:
    yield "another table", ask("dynamodb:PutItem", OTHERS_TABLE)
    yield "scan of the ledger", ask("dynamodb:Scan", LEDGER)
    yield "read of a mailbox by key", ask("dynamodb:GetItem", MAILBOX)
    yield "the ledger itself", ask("dynamodb:DeleteTable", LEDGER)
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield "key through S3", _key("Decrypt", "s3")
    yield "another key", _key("Encrypt", "dynamodb", KEY.replace("0123", "9999"))


def _settings() -> Named:
    for name in ("/agent-stack/ci/default-classes", "/buildkite/agent-token", "/ci/classes", "/agent-stack/images/ci"):
        yield f"parameter {name}", ask("ssm:GetParameter", f"{PARAMETERS}{name}")
    yield "AWS's parameter", ask("ssm:GetParameter", "arn:aws:ssm:eu-central-1::parameter/aws/service/ami/x")
    for name in ("DescribeImages", "DescribeInstances", "DescribeSubnets", "GetInstanceTypesFromInstanceRequirements"):
        yield name, ask(f"ec2:{name}")
    yield "failure kept", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:FailedEventsId")
    for name in ("PutTelemetryRecords", "PutTraceSegments"):
        yield name, ask(f"xray:{name}")
    yield "interfaces looked at", ask("ec2:DescribeNetworkInterfaces")
    for name in ("AssignPrivateIp", "UnassignPrivateIp"):
        yield f"{name} by Lambda", ask(f"ec2:{name}Addresses", f"{OURS}:network-interface/eni-1")
    for name in ("CreateNetworkInterface", "DeleteNetworkInterface"):
        yield f"{name} by Lambda", ask(f"ec2:{name}", f"{OURS}:network-interface/eni-1")


def _others_settings() -> Named:
    yield "another parameter", ask("ssm:GetParameter", f"{PARAMETERS}/prod/database-password")
    yield "a parameter written", ask("ssm:PutParameter", f"{PARAMETERS}/ci/classes")
    yield "parameters by path", ask("ssm:GetParametersByPath", f"{PARAMETERS}/ci")
    yield "another queue", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:orders")
    source = {"lambda__SourceFunctionArn": f"arn:aws:lambda:{PLACE}:function:ci-dispatcher"}
    for name in ("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"):
        yield f"{name} by the code", ask(f"ec2:{name}", f"{OURS}:network-interface/eni-1", **source)
    for name in ("CreateNetworkInterface", "DeleteNetworkInterface"):
        yield f"{name} by the code", ask(f"ec2:{name}", f"{OURS}:network-interface/eni-1", **source)
    yield "a role made", ask("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/x")


# --- The dispatcher ---


def _launches(stack: Resolved) -> Named:
    launch = Launch(stack=stack)
    yield "launch", tuple(launch.asked())
    yield "launch of spot", tuple(replace(launch, market=Market.SPOT).asked())
    yield "launch in China", tuple(replace(launch, service="ec2.amazonaws.com.cn").asked())


def _foreign_launches(stack: Resolved) -> Named:
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
    yield "another security group", tuple(replace(direct, group="sg-0ffffffffffffffff").asked())
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


def _dispatchers() -> Named:
    yield "mailbox filled", ask("dynamodb:PutItem", MAILBOX)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"{action} of its own", ask(f"logs:{action}", _log("/agent-stack/ci/dispatcher"))
    for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
        yield f"{action} of jobs' news", ask(f"sqs:{action}", f"arn:aws:sqs:{PLACE}:JobWakesId")
    for name in ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami/x", f"{PARAMETERS}/agent-stack/images/ci"):
        yield f"image of {name}", ask("ssm:GetParameters", name)
    yield "spot role made", _service_role("spot.amazonaws.com", "AWSServiceRoleForEC2Spot")
    for action in ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"):
        yield f"volume's key {action}", _key(action, "ec2")
    yield "volume's key granted to EC2", _key("CreateGrant", "ec2", kms__GrantIsForAWSResource="true")


def _not_the_dispatchers() -> Named:
    yield "credential taken", ask("dynamodb:UpdateItem", MAILBOX)
    yield "the mailbox of others", ask("dynamodb:BatchGetItem", MAILBOX)
    yield "a log of others", ask("logs:PutLogEvents", _log("/aws/lambda/other"))
    yield "instances' news", ask("sqs:ReceiveMessage", f"arn:aws:sqs:{PLACE}:WakesId")
    yield "a VM ended", _terminate("ci")
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
    yield "key granted to anybody", _key("CreateGrant", "ec2")
    yield "key granted by hand", ask("kms:CreateGrant", KEY, kms__GrantIsForAWSResource="true")
    yield "volume's key by hand", ask("kms:ReEncryptFrom", KEY)
    another = KEY.replace("0123", "9999")
    yield "another volume key", _key("ReEncryptFrom", "ec2", another)
    yield "another key granted", _key("CreateGrant", "ec2", another, kms__GrantIsForAWSResource="true")
    yield "the template changed", ask("ec2:CreateLaunchTemplateVersion", f"{OURS}:launch-template/*")


def _service_role(service: str, name: str) -> Asked:
    resource = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/{name}"
    return ask("iam:CreateServiceLinkedRole", resource, iam__AWSServiceName=service)


def _log(group: str) -> str:
    return f"arn:aws:logs:{PLACE}:log-group:{group}:log-stream:x"


# --- The tracker ---


def _terminate(deployment: str | None) -> Asked:
    tags = {} if deployment is None else {f"aws__ResourceTag/{TAG}": deployment}
    return ask("ec2:TerminateInstances", ANOTHER_VM, **tags)


def _trackers() -> Named:
    yield "our VM ended", _terminate("ci")
    yield "mailboxes read", ask("dynamodb:BatchGetItem", MAILBOX)
    yield "credential taken", ask("dynamodb:UpdateItem", MAILBOX)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"{action} of its own", ask(f"logs:{action}", _log("/agent-stack/ci/tracker"))
    for action in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
        yield f"{action} of instances' news", ask(f"sqs:{action}", f"arn:aws:sqs:{PLACE}:WakesId")


def _not_the_trackers() -> Named:
    yield "another's VM ended", _terminate("another")
    yield "a VM without a tag ended", _terminate(None)
    yield "a volume ended", ask("ec2:TerminateInstances", f"{OURS}:volume/x", **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "a VM stopped", ask("ec2:StopInstances", ANOTHER_VM, **{f"aws__ResourceTag/{TAG}": "ci"})
    yield "mailbox filled", ask("dynamodb:PutItem", MAILBOX)
    yield "mailboxes of others", ask("dynamodb:BatchGetItem", OTHERS_TABLE)
    yield "a log of the dispatcher's", ask("logs:PutLogEvents", _log("/agent-stack/ci/dispatcher"))
    yield "jobs' news", ask("sqs:ReceiveMessage", f"arn:aws:sqs:{PLACE}:JobWakesId")
    yield "a launch", ask("ec2:RunInstances", f"{OURS}:spot-instances-request/*")
    yield "VMs' role", ask("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/InstanceRoleId")


# --- A VM ---

_READ = "job_id, queue_key, endpoint, agent_tags, agent_name, credential_kind"
_TAKE = {
    "UpdateExpression": "REMOVE credential SET stage = :stage, stage_seconds = :seconds",
    "ConditionExpression": "attribute_exists(credential)",
    "ReturnValues": "UPDATED_OLD",
}
_REPORT = {
    "UpdateExpression": "SET stage = :stage, stage_seconds = :seconds, detail = :detail",
    "ConditionExpression": "attribute_exists(instance_arn)",
    "ReturnValues": "NONE",
}


def _item(action: str, body: Mapping[str, Any], arn: str | None = ME, table: str = "MailboxTableId") -> Asked:
    key = {} if arn is None else {"Key": {"instance_arn": {"S": arn}}}
    asked = asked_of_dynamodb(action, {"TableName": table, **key, **body}, table_arn_prefix=TABLES, key="instance_arn")
    return replace(asked, context={**asked.context, "ec2:SourceInstanceARN": [ME]})


def _vms() -> Named:
    yield "own mailbox read", _item("GetItem", {"ProjectionExpression": _READ})
    yield "credential taken", _item("UpdateItem", _TAKE)
    yield "stage told", _item("UpdateItem", _REPORT)
    yield "stage told, no values asked for", _item("UpdateItem", {**_REPORT, "ReturnValues": "NONE"})
    for name in ("/buildkite/agent-token", "/ci/default/ssh-key", "/ci/environment", "/ci/signing-key"):
        yield f"parameter {name}", ask("ssm:GetParameter", f"{PARAMETERS}{name}")
    reference = "/aws/reference/secretsmanager/git-credentials"
    yield "parameter that names a secret", ask("ssm:GetParameter", f"{PARAMETERS}{reference}")
    for name in ("git-credentials", "/ci/default/ssh-key", "/ci/environment", "/ci/signing-key"):
        yield f"secret {name}", ask("secretsmanager:GetSecretValue", f"{SECRETS}{name}-AbCdEf")
    for name in ("bootstrap.sh", "hooks.tar.gz"):
        yield name, ask("s3:GetObject", f"arn:aws:s3:::ci-files/{name}")
    for action in ("GetObject", "PutObject"):
        yield f"artifact {action}", ask(f"s3:{action}", "arn:aws:s3:::ci-artifacts/a/b")
    yield "registry login", ask("ecr:GetAuthorizationToken")
    for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
        yield f"image {action}", ask(f"ecr:{action}", f"arn:aws:ecr:{PLACE}:repository/app")
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"log {action}", ask(f"logs:{action}", _log("/agent-stack/ci/vms"))
    yield "session: instance", ask("ssm:UpdateInstanceInformation")
    for action in ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"):
        yield f"session: {action}", ask(f"ssmmessages:{action}")
    for service in ("dynamodb", "ssm"):
        yield f"key through {service}", _key("Decrypt", service)
    for action in ("Encrypt", "GenerateDataKey"):
        yield f"key {action}", _key(action, "dynamodb")


def _not_the_vms() -> Named:
    yield "another's mailbox read", _item("GetItem", {"ProjectionExpression": _READ}, ANOTHER_VM)
    yield "credential read", _item("GetItem", {"ProjectionExpression": f"{_READ}, credential"})
    yield "whole mailbox read", _item("GetItem", {"ProjectionExpression": _READ, "Key": {}})
    whole = _item("GetItem", {"ProjectionExpression": _READ})
    nameless = {key: value for key, value in whole.context.items() if key != "dynamodb:Attributes"}
    yield "everything in the mailbox read", replace(whole, context=nameless)
    yield "a read by no key", _item("GetItem", {"ProjectionExpression": _READ}, None)
    yield "another table read", _item("GetItem", {"ProjectionExpression": _READ}, table="LedgerTableId")
    yield "another's credential taken", _item("UpdateItem", _TAKE, ANOTHER_VM)
    yield "a write by no key", _item("UpdateItem", _TAKE, None)
    update = _item("UpdateItem", _TAKE)
    nameless = {key: value for key, value in update.context.items() if key != "dynamodb:Attributes"}
    yield "a write of anything", replace(update, context=nameless)
    yield "job changed", _item("UpdateItem", {**_REPORT, "UpdateExpression": "SET job_id = :stage"})
    yield "endpoint changed", _item("UpdateItem", {**_REPORT, "UpdateExpression": "SET endpoint = :stage"})
    yield "credential guessed", _item("UpdateItem", {**_REPORT, "ConditionExpression": "begins_with(revoked, :stage)"})
    for values in ("ALL_OLD", "ALL_NEW", "UPDATED_NEW"):
        yield f"{values} returned", _item("UpdateItem", {**_TAKE, "ReturnValues": values})
    yield "another table written", _item("UpdateItem", _REPORT, table="LedgerTableId")
    for action in ("PutItem", "DeleteItem", "Query", "Scan", "BatchGetItem"):
        yield f"mailbox {action}", _item(action, {"ProjectionExpression": _READ})
    yield "another parameter", ask("ssm:GetParameter", f"{PARAMETERS}/prod/database-password")
    yield "another secret", ask("secretsmanager:GetSecretValue", f"{SECRETS}prod-AbCdEf")
    yield "parameters listed", ask("ssm:DescribeParameters")
    yield "another object", ask("s3:GetObject", "arn:aws:s3:::ci-files/other")
    yield "another bucket written", ask("s3:PutObject", "arn:aws:s3:::prod/x")
    yield "bucket listed", ask("s3:ListBucket", "arn:aws:s3:::ci-artifacts")
    yield "image of another account", ask("ecr:BatchGetImage", "arn:aws:ecr:eu-central-1:999999999999:repository/app")
    yield "image pushed", ask("ecr:PutImage", f"arn:aws:ecr:{PLACE}:repository/app")
    yield "a log of others", ask("logs:PutLogEvents", _log("/aws/lambda/other"))
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield "another key", _key("Decrypt", "dynamodb", KEY.replace("0123", "9999"))
    yield "a VM ended", ask("ec2:TerminateInstances", ME)
    yield "a role taken", ask("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin")
    yield "the agent's bus", ask("events:PutEvents")


# --- The schedules ---


def _schedulers() -> Named:
    for name in ("DispatcherFunctionId", "TrackerFunctionId"):
        yield f"{name} invoked", ask("lambda:InvokeFunction", f"arn:aws:lambda:{PLACE}:function:{name}")
    yield "failure kept", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:FailedEventsId")
    for action in ("Decrypt", "GenerateDataKey"):
        yield f"key {action}", _key(action, "sqs")


def _not_the_schedulers() -> Named:
    yield "another function", ask("lambda:InvokeFunction", f"arn:aws:lambda:{PLACE}:function:payroll")
    yield "a function changed", ask("lambda:UpdateFunctionCode", f"arn:aws:lambda:{PLACE}:function:TrackerFunctionId")
    yield "another queue", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:orders")
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield "another key", _key("Decrypt", "sqs", KEY.replace("0123", "9999"))
