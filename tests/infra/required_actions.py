"""What each call that this stack makes needs to be allowed, and why.

Sources, where an entry names none: the Service Authorization Reference, whose table of an action's resources names what
it depends on, and the DynamoDB developer guide's page on IAM and transactions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DISPATCHER, TRACKER = "DispatcherRole", "TrackerRole"
BOTH = frozenset({DISPATCHER, TRACKER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What one call needs.

    Attributes:
        roles: whose code makes it.
        why: where that is said, if not in the sources above.
    """

    roles: frozenset[str]
    actions: frozenset[str]
    why: str = ""


def _by(roles: frozenset[str] | str, *actions: str, why: str = "") -> Needed:
    return Needed(roles=frozenset({roles}) if isinstance(roles, str) else roles, actions=frozenset(actions), why=why)


def _each(roles: frozenset[str] | str, besides: frozenset[str], *calls: str) -> dict[str, Needed]:
    """Calls that need the action of their own name, and the same few besides."""
    return {call: _by(roles, _own(call), *besides) for call in calls}


def _own(call: str) -> str:
    service, _, operation = call.partition(".")
    return f"{service}:{''.join(part[:1].upper() + part[1:] for part in operation.split('_'))}"


_TABLE_KEY = frozenset({"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"})
"""Of a table with a customer managed key. Source: the DynamoDB developer guide, “Authorizing use of your key”."""

OF_THE_CODE: Mapping[str, Needed] = {
    **_each(BOTH, _TABLE_KEY, "dynamodb.batch_get_item", "dynamodb.delete_item", "dynamodb.put_item"),
    **_each(BOTH, _TABLE_KEY, "dynamodb.query", "dynamodb.update_item"),
    **_each(BOTH, frozenset(), "ec2.describe_images", "ec2.describe_instances", "ec2.describe_subnets"),
    **_each(BOTH, frozenset(), "ec2.describe_instance_types", "ec2.get_instance_types_from_instance_requirements"),
    **_each(TRACKER, frozenset(), "ec2.describe_instance_status", "ec2.get_console_output", "ec2.terminate_instances"),
    "dynamodb.transact_write_items": _by(
        BOTH,
        *("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
        why="a transaction has no action of its own; each of its writes needs its own",
    ),
    "ec2.create_fleet": _by(
        DISPATCHER,
        *("ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ssm:GetParameters"),
        *("iam:CreateServiceLinkedRole", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey"),
        *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
        why="an instant fleet runs instances in the caller's name; EC2 user guide: “EC2 Fleet prerequisites”, "
        "“Service-linked role for Spot Instance requests”, “Requirements for Amazon EBS encryption”",
    ),
    "sqs.send_message": _by(DISPATCHER, "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"),
    "ssm.get_parameter": _by(BOTH, "ssm:GetParameter", "kms:Decrypt"),
}
"""By method of a boto3 client."""

OF_LAMBDA: Mapping[str, Needed] = {
    "logs of a function": _by(BOTH, "logs:CreateLogStream", "logs:PutLogEvents"),
    "event source mapping": _by(
        BOTH, "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "kms:Decrypt"
    ),
    "destination on failure": _by(BOTH, "sqs:SendMessage", "kms:GenerateDataKey"),
    "tracing": _by(BOTH, "xray:PutTelemetryRecords", "xray:PutTraceSegments", why="AWSXRayDaemonWriteAccess, in part"),
    "functions in a VPC": _by(
        BOTH,
        *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
        *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
        why="AWSLambdaVPCAccessExecutionRole without its logs",
    ),
}
"""What Lambda does in a function's name."""

VM, JOB = "InstanceRole", "JobRole"

OF_THE_BOOT_PROGRAM: Mapping[str, Needed] = {
    **_each(VM, frozenset(), "ecr.GetAuthorizationToken", "logs.CreateLogStream", "logs.PutLogEvents", "s3.GetObject"),
    "dynamodb.GetItem": _by(VM, "dynamodb:GetItem", "kms:Decrypt"),
    "dynamodb.UpdateItem": _by(VM, "dynamodb:UpdateItem", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
    "ssm.GetParameters": _by(
        VM,
        *("ssm:GetParameter", "ssm:GetParameters", "secretsmanager:GetSecretValue"),
        why="a VM of the version before asks for each by itself; SSM reads a secret in the caller's name: "
        "Systems Manager user guide, on references to secrets",
    ),
}
"""By service and operation in infra/vm."""

OF_OTHERS_ON_A_VM: Mapping[str, Needed] = {
    "docker pull from ECR": _by(
        VM, "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"
    ),
    "Session Manager": _by(
        VM,
        *("ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel"),
        *("ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"),
        why="Systems Manager user guide, “minimal Session Manager permissions”",
    ),
}

OF_JOBS: Mapping[str, Needed] = {
    "artifacts of the agent": _by(
        JOB,
        *("s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:PutObjectAcl"),
        why="S3 API reference: a stated ACL needs s3:PutObjectAcl; the agent's source: it lists the bucket first, with "
        "max-keys=0, and asks nobody's permission where the bucket is",
    ),
    "caches of the agent": _by(
        JOB, "s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "kms:GenerateDataKey"
    ),
    "secrets under a path": _by(
        JOB,
        *("ssm:GetParametersByPath", "ssm:GetParameters", "ssm:GetParameter", "kms:Decrypt"),
        why="the hook asks for the path; a job that knows a name may ask for it",
    ),
    "a secret": _by(JOB, "secretsmanager:GetSecretValue", "kms:Decrypt"),
    "secrets bucket": _by(JOB, "s3:GetObject", "s3:ListBucket"),
}
"""What jobs do with the role that the stack makes for them: infra/vm/job, the agent, and steps."""

OF_THE_SCHEDULER: Mapping[str, Needed] = {
    "invocation": _by("SchedulerRole", "lambda:InvokeFunction"),
    "dead-letter queue": _by("SchedulerRole", "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"),
}

EVERY: tuple[Needed, ...] = tuple(
    needed
    for calls in (OF_THE_CODE, OF_LAMBDA, OF_THE_BOOT_PROGRAM, OF_OTHERS_ON_A_VM, OF_JOBS, OF_THE_SCHEDULER)
    for needed in calls.values()
)


def needed_by(role: str) -> frozenset[str]:
    """Every action that the role needs."""
    return frozenset(action for needed in EVERY if role in needed.roles for action in needed.actions)
