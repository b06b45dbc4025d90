"""The operator's own AWS session, and the clients that verbs ask through it."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from agent_stack_cli.commands import Commands
from agent_stack_cli.errors import CliError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_ssm import SSMClient

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=90)
"""Read timeout: longer than a function may take, because `doctor` waits for one."""


class Session:
    """One operator in one region.

    Attributes:
        region: where the stack is.
        profile: as the operator named it; None for the AWS CLI's own choice.
        commands: for the same account and region.
    """

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        """Finds credentials and region as the AWS CLI does; AWS_REGION, which boto3 does not read, among them.

        Raises:
            CliError: there is no region.
        """
        self.profile, self._given = profile, region
        named = region or os.environ.get("AWS_REGION") or None
        self._session = boto3.Session(region_name=named, profile_name=profile)
        if not self._session.region_name:
            raise CliError("no AWS region is set", next="name it: --region eu-central-1, or set AWS_REGION")
        self.region: str = self._session.region_name
        self.commands = Commands(region=region, profile=profile, found=self.region)

    def again(self) -> "Session":
        """A session that reads credentials anew."""
        return Session(region=self._given, profile=self.profile)

    def agent_stack(self, *words: str) -> str:
        """A command of this program for the same account and region."""
        return self.commands.agent_stack(*words)

    def aws(self, *words: str) -> str:
        """An `aws` command for the same account and region."""
        return self.commands.aws(*words)

    def aws_words(self, *words: str) -> list[str]:
        """The same, word by word."""
        return self.commands.aws_words(*words)

    def deploy(self, *words: str) -> str:
        """A `scripts/deploy` command for the same account and region."""
        return self.commands.deploy(*words)

    def now(self) -> datetime:
        """The time of this machine, in UTC."""
        return datetime.now(UTC)

    def client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        """A client of that service."""
        make: Callable[..., Any] = self._session.client
        return make(service, config=CONFIG)

    def parameter_facts(self, name: str) -> Mapping[str, Any] | None:
        """Type and tier of an SSM parameter; None when it is not there. No right to its value is needed."""
        pages = self.ssm.get_paginator("describe_parameters").paginate(
            ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [name]}]
        )
        return next((found for page in pages for found in page["Parameters"]), None)  # a page may be empty

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """Stacks."""
        made: CloudFormationClient = self.client("cloudformation")
        return made

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """The ledger and the mailboxes."""
        made: DynamoDBClient = self.client("dynamodb")
        return made

    @cached_property
    def ec2(self) -> "EC2Client":
        """The VMs."""
        made: EC2Client = self.client("ec2")
        return made

    @cached_property
    def functions(self) -> "LambdaClient":
        """The two functions."""
        made: LambdaClient = self.client("lambda")
        return made

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """Their logs."""
        made: CloudWatchLogsClient = self.client("logs")
        return made

    @cached_property
    def ssm(self) -> "SSMClient":
        """Parameters."""
        made: SSMClient = self.client("ssm")
        return made
