"""`agent-stack policy`: what an operator's role needs, as an IAM policy for one stack."""

import re
from collections.abc import Iterable
from typing import Any, Literal

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from agent_stack_cli.baked_names import KEEP, TAG, arn, name_of
from agent_stack_cli.stacks import Stack

Kind = Literal["read", "operate", "classes"]

MAILBOX_ATTRIBUTES = ["instance_arn", "stage", "stage_seconds", "detail", "revoked"]
"""What a VM says of itself. The credential stands beside it, and no operator's policy lets anybody read that."""

IMAGES = "agent-stack/images/"
"""Below it lie the account's own image parameters that the dispatcher's role may read, besides those of
ImageParameters, and its public ones below AWS's. No class with another one starts a VM, so nobody needs to read it."""

NAMES_OF_RECIPES = ("/*", "-?/*", "-????????????-*")
"""How ARNs of baked images go on after the stack's name of them: none of another stack whose name begins alike."""

PUBLIC = frozenset({"ClassesParameter"})
"""Parameters of the template that name an SSM parameter without a secret in it."""

QUEUE_IN_A_NAME = re.escape("{queue}")
"""Stands for the queue of a job in a secret's name."""


def document(stack: Stack, kind: Kind, *, images: Iterable[str] = ()) -> dict[str, Any]:
    """The policy of that kind. `operate` and `classes` contain what `read` allows.

    Args:
        images: names of the account's own SSM parameters that classes take their images from.
    """
    statements = _read(stack, images)
    if kind == "operate":
        statements += _operate(stack)
    if kind == "classes":
        statements += _classes(stack)
    return {"Version": "2012-10-17", "Statement": statements}


def _arn(stack: Stack, service: str, resource: str, *, account: bool = True) -> str:
    _, partition, _, there, number, _ = stack.arn.split(":", 5)
    return f"arn:{partition}:{service}:{there}:{number if account else ''}:{resource}"


def _allow(sid: str, actions: list[str], resource: str | list[str], **condition: Any) -> dict[str, Any]:  # noqa: ANN401  (IAM's own)
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": condition["condition"]} if condition else statement


def _oidc_provider(stack: Stack) -> str:
    """IAM has no region in its ARNs."""
    _, partition, _, _, account, _ = stack.arn.split(":", 5)
    return f"arn:{partition}:iam::{account}:oidc-provider/agent.buildkite.com"


def _parameter(stack: Stack, name: str) -> str:
    bare = name.removeprefix("/")
    return _arn(stack, "ssm", f"parameter/{bare}", account=not bare.startswith("aws/"))


def _is_secret(stack: Stack, name: str) -> bool:
    """Whether that SSM parameter is one that the stack keeps a credential in: no class document makes it an image."""
    settings = {value for key, value in stack.parameters.items() if key.endswith("Parameter") and key not in PUBLIC}
    secrets = (stack.settings.token_parameter, *settings)
    names = (secret.partition(":parameter")[2] or secret for secret in secrets)  # of an ARN
    patterns = (re.escape(secret.strip("/")).replace(QUEUE_IN_A_NAME, ".+") for secret in names)
    return any(re.fullmatch(pattern, name.strip("/")) for pattern in patterns)


def _is_for_images(stack: Stack, name: str) -> bool:
    """Whether the dispatcher's role may read that SSM parameter as an image."""
    bare = name.strip("/")
    more = stack.parameters.get("ImageParameters", "").removeprefix("/")
    among_them = bare.startswith(more[:-1]) if more.endswith("*") else bare == more
    return bare.startswith(IMAGES) or (bool(more) and among_them)


def _read(stack: Stack, images: Iterable[str]) -> list[dict[str, Any]]:
    functions = [
        _arn(stack, "lambda", f"function:{stack.outputs[name]}") for name in ("DispatcherFunction", "TrackerFunction")
    ]
    made = stack.outputs.get("ImageParameter", "")
    images = (name for name in images if _is_for_images(stack, name) and not _is_secret(stack, name))
    parameters = [stack.settings.default_classes_parameter, stack.settings.classes_parameter, made, *images]
    only_these = {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": MAILBOX_ATTRIBUTES},
        "Null": {"dynamodb:Attributes": "false"},  # ForAllValues holds, too, where a request names no attribute
        "StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    }
    statements = [
        _allow("FindStacks", ["tag:GetResources", "cloudformation:DescribeStacks"], "*"),
        _allow(
            "ReadTheLedger", ["dynamodb:GetItem", "dynamodb:Query"], _arn(stack, "dynamodb", f"table/{stack.ledger}")
        ),
        _allow(
            "ReadWhatVmsReport",
            ["dynamodb:GetItem"],
            _arn(stack, "dynamodb", f"table/{stack.mailbox}"),
            condition=only_these,
        ),
        _allow(
            "SeeVms",
            [
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeRouteTables",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ],
            "*",
        ),
        _allow(
            "SeeAlarmsQuotasAndParameters",  # their names, types and tiers; not their values
            [
                "cloudwatch:DescribeAlarms",
                "servicequotas:GetAWSDefaultServiceQuota",
                "servicequotas:GetServiceQuota",
                "ssm:DescribeParameters",
            ],
            "*",
        ),
        _allow(
            "ReadLogs",
            ["logs:FilterLogEvents"],
            [_arn(stack, "logs", f"log-group:{stack.log_group(of)}:*") for of in ("dispatcher", "tracker", "vms")]
            + [_arn(stack, "logs", f"log-group:/aws/imagebuilder/{name}*") for name in _names_of_bakes(made)],
        ),
        _allow("SeeTheOidcProvider", ["iam:GetOpenIDConnectProvider"], _oidc_provider(stack)),
        _allow("ReadSettings", ["lambda:GetFunctionConfiguration"], functions),
        _allow("LetTheFunctionLook", ["lambda:InvokeFunction"], functions[:1]),
        _allow(
            "ReadClassesAndImages",
            ["ssm:GetParameter"],
            [
                *(_parameter(stack, name) for name in dict.fromkeys(parameters) if name),
                _parameter(stack, "aws/service/*"),
            ],
        ),
    ]
    if made:
        pipeline = _arn(stack, "imagebuilder", f"image-pipeline/{name_of(made)}")
        statements.append(_allow("SeeBakes", ["imagebuilder:ListImagePipelineImages"], pipeline))
    return [*statements, *_use_the_key(stack)]


def _names_of_bakes(parameter: str) -> list[str]:
    """How names of recipes begin, as they are written and as ARNs have them: a build's log group has the recipe's."""
    name = parameter.rpartition("/")[2]
    return list(dict.fromkeys((name, name_of(parameter)))) if name else []


def _use_the_key(stack: Stack) -> list[dict[str, Any]]:
    """Tables and logs that KmsKeyArn encrypts are decrypted in the reader's name."""
    key = stack.parameters.get("KmsKeyArn", "")
    if not key:
        return []
    region = key.split(":")[3]  # a key is of the region of what it encrypts
    suffix = "amazonaws.com.cn" if key.startswith("arn:aws-cn:") else "amazonaws.com"
    through = {"kms:ViaService": [f"{service}.{region}.{suffix}" for service in ("dynamodb", "logs", "ssm")]}
    return [_allow("UseTheKey", ["kms:Decrypt"], key, condition={"StringEquals": through})]


def _operate(stack: Stack) -> list[dict[str, Any]]:
    only_leases = {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["lease"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    statements = [
        _allow(
            "PauseAndResume",
            ["dynamodb:UpdateItem"],
            _arn(stack, "dynamodb", f"table/{stack.ledger}"),
            condition=only_leases,
        )
    ]
    made = stack.outputs.get("ImageParameter", "")
    if made:
        statements.append(_allow("UseAnotherImage", ["ssm:PutParameter"], _parameter(stack, made)))
        baked = [arn(stack, f"image/{name_of(made)}{end}") for end in NAMES_OF_RECIPES]
        only_that = {
            "StringLike": {f"aws:ResourceTag/{TAG}": baked},
            "ForAllValues:StringEquals": {"aws:TagKeys": [KEEP[0]]},
            "Null": {"aws:TagKeys": "false"},
        }
        images = _arn(stack, "ec2", "image/*", account=False)
        statements.append(_allow("KeepImages", ["ec2:CreateTags", "ec2:DeleteTags"], images, condition=only_that))
    return statements


def _classes(stack: Stack) -> list[dict[str, Any]]:
    ours = {"StringEquals": {f"ssm:resourceTag/{DEPLOYMENT_TAG}": stack.name}}
    written = stack.settings.classes_parameter
    statements = [
        _allow("OpenShells", ["ssm:StartSession"], _arn(stack, "ec2", "instance/*"), condition=ours),
        _allow("WithTheStandardShell", ["ssm:StartSession"], _arn(stack, "ssm", "document/SSM-SessionManagerRunShell")),
        _allow(
            "EndOwnSessions",  # a session is named after an IAM user, or after the session of a role
            ["ssm:ResumeSession", "ssm:TerminateSession"],
            [_arn(stack, "ssm", f"session/${{aws:{who}}}-*") for who in ("userid", "username")],
        ),
    ]
    if written:
        statements.append(_allow("PushClasses", ["ssm:PutParameter"], _parameter(stack, written)))
    return statements
