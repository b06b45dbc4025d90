"""Deploys template.yaml to a moto server and reads back what the functions and the VMs are given."""

import ast
import base64
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from infra.template_yaml import loads
from tests.simulator.deployment.resolve import Resolved
from tests.simulator.deployment.transform import TEMPLATE, translated_template

TEMPLATE_BUCKET = "templates"

NOT_PLAYED = frozenset(
    {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Events::Rule",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Logs::QueryDefinition",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::Schedule",
        "Custom::BuildkiteRegistration",
    }
)
"""What invokes the functions, which here the world does itself; and what people look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A deployed stack.

    Attributes:
        environments: by function ("dispatcher", "tracker"), the variables that the template sets.
        timeouts: by function, in seconds.
        memory_sizes: by function, in MiB.
        handlers: by function, `module.name`.
        user_data: what the launch template gives every VM, decoded.
        launch_template: the data of the version that VMs are launched from.
        physical_ids: of the stack's resources, by logical id.
        vm_policies: the policy documents of the VMs' role.
        function_policies: by function, the policy documents of its role.
        function_names: by function, the name that CloudFormation gave it.
    """

    region: str
    account_id: str
    environments: Mapping[str, Mapping[str, str]]
    timeouts: Mapping[str, int]
    memory_sizes: Mapping[str, int]
    handlers: Mapping[str, str]
    user_data: bytes
    launch_template_id: str
    launch_template_version: str
    launch_template: Mapping[str, Any]
    mailbox_table: str
    ledger_table: str
    vm_policies: tuple[Mapping[str, Any], ...]
    function_policies: Mapping[str, tuple[Mapping[str, Any], ...]]
    function_names: Mapping[str, str]
    vm_role: str
    """ARN of the VMs' role."""
    physical_ids: Mapping[str, str]


def deploy(*, endpoint: str, region: str, name: str, parameters: Mapping[str, str], path: Path = TEMPLATE) -> Deployed:
    """Deploy the template.

    Args:
        endpoint: moto server's URL; the stack's VPC and subnets are given by `parameters`.
        path: the template; the nested ones lie in `infra` beside it.
    """
    session = boto3.Session(region_name=region, aws_access_key_id="testing", aws_secret_access_key="testing")
    s3 = session.client("s3", endpoint_url=endpoint)
    for bucket in ("code", TEMPLATE_BUCKET):
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # by the deployment before this one
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket="code", Key="functions.zip", Body=_empty_archive())
    template = translated_template(region=region, path=path)
    parameters = {**_lists(template), **parameters}
    stack = Resolved(template, parameters, region=region, stack=name)
    for bucket, key, body in (
        (TEMPLATE_BUCKET, "template.json", playable(template, stack)),
        *(("code", key, body) for key, body in _nested(stack, path)),
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(body).encode())
    cloudformation = session.client("cloudformation", endpoint_url=endpoint)
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"https://{TEMPLATE_BUCKET}.s3.amazonaws.com/template.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        for resource in page["StackResourceSummaries"]
    }
    functions = {
        "dispatcher": resources["DispatcherFunction"],
        "tracker": resources["TrackerFunction"],
    }
    awslambda = session.client("lambda", endpoint_url=endpoint)
    configurations = {
        function: awslambda.get_function_configuration(FunctionName=physical)
        for function, physical in functions.items()
    }
    iam = session.client("iam", endpoint_url=endpoint)
    roles = {"dispatcher": resources["DispatcherRole"], "tracker": resources["TrackerRole"]}
    version = session.client("ec2", endpoint_url=endpoint).describe_launch_template_versions(
        LaunchTemplateId=resources["LaunchTemplate"], Versions=["$Latest"]
    )["LaunchTemplateVersions"][0]
    return Deployed(
        region=region,
        account_id=session.client("sts", endpoint_url=endpoint).get_caller_identity()["Account"],
        environments={
            function: _environment(configuration["Environment"]["Variables"], region)
            for function, configuration in configurations.items()
        },
        timeouts={function: configuration["Timeout"] for function, configuration in configurations.items()},
        memory_sizes={function: int(configuration["MemorySize"]) for function, configuration in configurations.items()},
        handlers={function: configuration["Handler"] for function, configuration in configurations.items()},
        user_data=base64.b64decode(version["LaunchTemplateData"]["UserData"]),
        launch_template_id=resources["LaunchTemplate"],
        launch_template_version=str(version["VersionNumber"]),
        function_names=functions,
        mailbox_table=resources["MailboxTable"],
        ledger_table=resources["LedgerTable"],
        launch_template=version["LaunchTemplateData"],
        vm_policies=tuple(_policies(iam, resources["InstanceRole"])),
        function_policies={function: tuple(_policies(iam, role)) for function, role in roles.items()},
        vm_role=iam.get_role(RoleName=resources["InstanceRole"])["Role"]["Arn"],
        physical_ids=resources,
    )


def _lists(template: Mapping[str, Any]) -> dict[str, str]:
    """The defaults of lists; moto takes the letters of one for its members unless it is given."""
    return {
        name: parameter["Default"]
        for name, parameter in template["Parameters"].items()
        if parameter["Type"] == "CommaDelimitedList" and "Default" in parameter
    }


def _policies(iam: Any, role: str) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  (a client without stubs)
    """The documents of a role's own policies and of the stack's managed ones; those that AWS manages are AWS's."""
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield _document(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        policy_arn = attached["PolicyArn"]
        if ":iam::aws:" not in policy_arn:
            version = iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
            shown = iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)
            yield _document(shown["PolicyVersion"]["Document"])


def _document(document: Any) -> Mapping[str, Any]:  # noqa: ANN401  (text or JSON)
    """Moto keeps some documents as Python wrote them."""
    read: Mapping[str, Any] = ast.literal_eval(document) if isinstance(document, str) else document
    return read


def _environment(variables: Mapping[str, Any], region: str) -> dict[str, str]:
    """As Lambda gives them: text, and the region among them."""
    return {**{name: str(value) for name, value in variables.items()}, "AWS_REGION": region}


def playable(template: Mapping[str, Any], stack: Resolved) -> Mapping[str, Any]:
    """As much of the template as moto plays, in its own words for what it does not compute: see `Resolved.decided`."""
    resources = {
        name: _taggable(stack.decided(resource))
        for name, resource in template["Resources"].items()
        if resource["Type"] not in NOT_PLAYED
    }
    missing = template["Resources"].keys() - resources.keys()
    outputs = {
        name: output
        for name, output in template.get("Outputs", {}).items()
        if not any(f"'{one}'" in str(output) or f"'{one}." in str(output) for one in missing) and not _of_nested(output)
    }
    return {**template, "Resources": resources, "Outputs": outputs}


def _of_nested(output: Mapping[str, Any]) -> bool:
    """Whether an output is a nested stack's own, which moto cannot read; one such output hides all others."""
    value = output["Value"]
    return isinstance(value, dict) and "Outputs." in str(value.get("Fn::GetAtt", ""))


def _nested(stack: Resolved, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The templates of the stacks inside that stack, by file name."""
    for resource in stack.resources.values():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            name = resource["Properties"]["TemplateURL"].rpartition("/")[2]
            template = loads((path.parent / "infra" / name).read_text())
            yield name, playable(template, stack.inside(template, resource))


def _taggable(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """An SSM parameter's tags are a map, which moto takes for a list."""
    if resource["Type"] != "AWS::SSM::Parameter":
        return resource
    return {**resource, "Properties": {k: v for k, v in resource["Properties"].items() if k != "Tags"}}


def _empty_archive() -> bytes:
    """Stands where the artefact would be uploaded; the functions run from the checkout."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("empty", "")
    return content.getvalue()
