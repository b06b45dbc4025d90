"""What both functions may and may not: the ledger, settings, failures, networks."""

from tests.infra.launches import OURS
from tests.infra.requests.asking import LEDGER, MAILBOX, OTHERS_TABLE, PARAMETERS, PLACE, Named, ask, key
from tests.infra.stacks import KEY, TOKEN_KEY
from tests.simulator.deployment import ACCOUNT


def ledger() -> Named:
    for action in ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "PutItem", "Query", "UpdateItem"):
        yield f"ledger {action}", ask(f"dynamodb:{action}", LEDGER)
    for service in ("dynamodb", "sqs", "ssm"):
        yield f"key through {service}", key("Decrypt", service)
    for action in ("DescribeKey", "Encrypt", "GenerateDataKey"):
        yield f"key {action}", key(action, "dynamodb")


def others_tables() -> Named:
    yield "another table", ask("dynamodb:PutItem", OTHERS_TABLE)
    yield "scan of the ledger", ask("dynamodb:Scan", LEDGER)
    yield "read of a mailbox by key", ask("dynamodb:GetItem", MAILBOX)
    yield "the ledger itself", ask("dynamodb:DeleteTable", LEDGER)
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield "key through S3", key("Decrypt", "s3")
    yield "the token's key by hand", ask("kms:Decrypt", TOKEN_KEY)
    yield "the token's key for a table", key("Decrypt", "dynamodb", TOKEN_KEY)
    yield "another key to read with", key("Decrypt", "ssm", TOKEN_KEY.replace("7654", "9999"))
    yield "another key", key("Encrypt", "dynamodb", KEY.replace("0123", "9999"))


def settings() -> Named:
    images = ("/agent-stack/images/ci", "/acme/images/linux")
    for name in ("/agent-stack/ci/default-classes", "/buildkite/agent-token", "/ci/classes", *images):
        yield f"parameter {name}", ask("ssm:GetParameter", f"{PARAMETERS}{name}")
    yield "the token's own key", key("Decrypt", "ssm", TOKEN_KEY)
    yield "AWS's parameter", ask("ssm:GetParameter", "arn:aws:ssm:eu-central-1::parameter/aws/service/ami/x")
    for name in ("Images", "Instances", "InstanceTypes", "Subnets"):
        yield f"Describe{name}", ask(f"ec2:Describe{name}")
    yield "types by attributes", ask("ec2:GetInstanceTypesFromInstanceRequirements")
    yield "failure kept", ask("sqs:SendMessage", f"arn:aws:sqs:{PLACE}:FailedEventsId")
    for name in ("PutTelemetryRecords", "PutTraceSegments"):
        yield name, ask(f"xray:{name}")
    yield "interfaces looked at", ask("ec2:DescribeNetworkInterfaces")
    for name in ("AssignPrivateIp", "UnassignPrivateIp"):
        yield f"{name} by Lambda", ask(f"ec2:{name}Addresses", f"{OURS}:network-interface/eni-1")
    for name in ("CreateNetworkInterface", "DeleteNetworkInterface"):
        yield f"{name} by Lambda", ask(f"ec2:{name}", f"{OURS}:network-interface/eni-1")


def others_settings() -> Named:
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
