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


_TABLE_KEY = frozenset({"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"})
"""Of a table with a customer managed key. Source: the DynamoDB developer guide, “Authorizing use of your key”."""

OF_THE_CODE: Mapping[str, Needed] = {
    "dynamodb.batch_get_item": _by(BOTH, "dynamodb:BatchGetItem", *_TABLE_KEY),
    "dynamodb.delete_item": _by(BOTH, "dynamodb:DeleteItem", *_TABLE_KEY),
    "dynamodb.put_item": _by(BOTH, "dynamodb:PutItem", *_TABLE_KEY),
    "dynamodb.query": _by(BOTH, "dynamodb:Query", *_TABLE_KEY),
    "dynamodb.transact_write_items": _by(
        BOTH,
        *("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
        why="a transaction has no action of its own; each of its writes needs its own",
    ),
    "dynamodb.update_item": _by(BOTH, "dynamodb:UpdateItem", *_TABLE_KEY),
    "ec2.create_fleet": _by(
        DISPATCHER,
        *("ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ssm:GetParameters"),
        *("iam:CreateServiceLinkedRole", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey"),
        *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
        why="an instant fleet runs instances in the caller's name; EC2 user guide: “EC2 Fleet prerequisites”, "
        "“Service-linked role for Spot Instance requests”, “Requirements for Amazon EBS encryption”",
    ),
    "ec2.describe_images": _by(BOTH, "ec2:DescribeImages"),
    "ec2.describe_instance_status": _by(TRACKER, "ec2:DescribeInstanceStatus"),
    "ec2.describe_instances": _by(BOTH, "ec2:DescribeInstances"),
    "ec2.describe_instance_types": _by(BOTH, "ec2:DescribeInstanceTypes"),
    "ec2.describe_subnets": _by(BOTH, "ec2:DescribeSubnets"),
    "ec2.get_instance_types_from_instance_requirements": _by(BOTH, "ec2:GetInstanceTypesFromInstanceRequirements"),
    "ec2.get_console_output": _by(TRACKER, "ec2:GetConsoleOutput"),
    "ec2.terminate_instances": _by(TRACKER, "ec2:TerminateInstances"),
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

VM = "InstanceRole"

OF_THE_BOOT_PROGRAM: Mapping[str, Needed] = {
    "dynamodb.GetItem": _by(VM, "dynamodb:GetItem", "kms:Decrypt"),
    "dynamodb.UpdateItem": _by(VM, "dynamodb:UpdateItem", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
    "ecr.GetAuthorizationToken": _by(VM, "ecr:GetAuthorizationToken"),
    "logs.CreateLogStream": _by(VM, "logs:CreateLogStream"),
    "logs.PutLogEvents": _by(VM, "logs:PutLogEvents"),
    "s3.GetObject": _by(VM, "s3:GetObject"),
    "ssm.GetParameter": _by(
        VM,
        *("ssm:GetParameter", "secretsmanager:GetSecretValue"),
        why="SSM reads a secret in the caller's name; Systems Manager user guide, on references to secrets",
    ),
}
"""By service and operation in infra/vm."""

OF_OTHERS_ON_A_VM: Mapping[str, Needed] = {
    "artifacts of the agent": _by(
        VM,
        *("s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:PutObjectAcl"),
        why="S3 API reference: a stated ACL needs s3:PutObjectAcl; the agent's source: it lists the bucket first",
    ),
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

OF_THE_SCHEDULER: Mapping[str, Needed] = {
    "invocation": _by("SchedulerRole", "lambda:InvokeFunction"),
    "dead-letter queue": _by("SchedulerRole", "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"),
}

EVERY: tuple[Needed, ...] = tuple(
    needed
    for calls in (OF_THE_CODE, OF_LAMBDA, OF_THE_BOOT_PROGRAM, OF_OTHERS_ON_A_VM, OF_THE_SCHEDULER)
    for needed in calls.values()
)


def needed_by(role: str) -> frozenset[str]:
    """Every action that the role needs."""
    return frozenset(action for needed in EVERY if role in needed.roles for action in needed.actions)
