"""Which stack a verb is about: the one that is named, or the only one that carries the project's tag."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from botocore.exceptions import ClientError

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.policy import Policy
from agent_stack.settings import Settings
from agent_stack_cli import stack_states
from agent_stack_cli.errors import CliError, code_of
from agent_stack_cli.session import Session

NEEDED = ("LedgerTable", "MailboxTable", "DispatcherFunction", "TrackerFunction")
"""Outputs without which a CloudFormation stack is none of this project."""

NEVER_MADE_OR_GOING = ("CREATE_", "ROLLBACK_", "REVIEW_", "DELETE_")
"""How states begin in which a stack of this project may lack them. One that is changed keeps them meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One deployed stack.

    Attributes:
        status: CloudFormation's word, such as UPDATE_COMPLETE.
        parameters: the template's parameters as they are deployed.
        outputs: names of tables, functions and roles.
    """

    session: Session
    name: str
    arn: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def ledger(self) -> str:
        """The name of the ledger table."""
        return self.outputs["LedgerTable"]

    @property
    def mailbox(self) -> str:
        """The name of the mailbox table."""
        return self.outputs["MailboxTable"]

    @property
    def queues(self) -> tuple[str, ...]:
        """The keys of its queues."""
        return tuple(queue.key for queue in self.settings.queues)

    def agent_stack(self, *words: str) -> str:
        """An `agent-stack` command for this stack, where it is."""
        return self.session.agent_stack(*words, "--stack", self.name)

    def deploy(self, *words: str) -> str:
        """A `scripts/deploy` command for this stack, where it is."""
        return self.session.deploy(self.name, *words)

    def aws(self, *words: str) -> str:
        """An `aws` command for the same account and region."""
        return self.session.aws(*words)

    def log_group(self, of: str) -> str:
        """The log group of `dispatcher`, `tracker` or `vms`."""
        return f"/agent-stack/{self.name}/{of}"

    @cached_property
    def settings(self) -> Settings:
        """The settings that the dispatcher runs with.

        Raises:
            CliError: its environment is wrong, which the function says too.
        """
        configuration = self.session.functions.get_function_configuration(
            FunctionName=self.outputs["DispatcherFunction"]
        )
        variables = configuration.get("Environment", {}).get("Variables", {})
        try:
            return Settings.from_environment({**variables, "AWS_REGION": self.session.region})
        except ConfigurationError as error:
            raise CliError(
                f"the dispatcher of {self.name} has a wrong setting: {error}",
                next=self.agent_stack("doctor"),
            ) from None

    @property
    def policy(self) -> Policy:
        """The bounds and times that the operator decided."""
        return self.settings.policy


def find(session: Session, name: str | None) -> Stack:
    """The named stack, or the only one of this account and region.

    Raises:
        CliError: there is none, there are several, or it is none of this project.
    """
    return _described(session, name or _only(session))


def names(session: Session) -> tuple[str, ...]:
    """The names of all stacks of this project here, found by the tag on their tables."""
    pages = session.client("resourcegroupstaggingapi").get_paginator("get_resources")
    found = {
        tag["Value"]
        for page in pages.paginate(TagFilters=[{"Key": DEPLOYMENT_TAG}], ResourceTypeFilters=["dynamodb:table"])
        for resource in page["ResourceTagMappingList"]
        for tag in resource["Tags"]
        if tag["Key"] == DEPLOYMENT_TAG
    }
    return tuple(sorted(found))


def _only(session: Session) -> str:
    found = names(session)
    if not found:
        raise CliError(
            f"no stack of this project is in {session.region}",
            next="name another region (--region), or deploy one: scripts/deploy ci AgentTokenParameter=… StackKey=ci",
        )
    if len(found) > 1:
        raise CliError(
            f"several stacks are in {session.region}: {', '.join(found)}",
            next=f"name one: --stack {found[0]}, or set AGENT_STACK",
        )
    return found[0]


def _described(session: Session, name: str) -> Stack:
    try:
        (shown,) = session.cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if code_of(error) != "ValidationError":
            raise
        others = names(session)
        raise CliError(
            f"there is no stack {name} in {session.region}",
            next=f"name one that is there: --stack {others[0]}" if others else "name another region: --region",
        ) from None
    outputs = {output["OutputKey"]: output["OutputValue"] for output in shown.get("Outputs", [])}
    if missing := [output for output in NEEDED if output not in outputs]:
        raise not_ready(session, name, shown["StackStatus"], missing[0])
    return Stack(
        session=session,
        name=shown["StackName"],
        arn=shown.get("StackId", ""),
        status=shown["StackStatus"],
        parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in shown.get("Parameters", [])},
        outputs=outputs,
    )


def not_ready(session: Session, name: str, status: str, missing: str) -> CliError:
    """Why a stack without the outputs of this project cannot be asked."""
    state = stack_states.of(status)
    if state.then and status.startswith(NEVER_MADE_OR_GOING):
        then = session.aws("cloudformation", *state.then, "--stack-name", name)
        return CliError(f"{name} {state.words} ({status})", next=then)
    return CliError(
        f"{name} is no stack of this project ({status}): it has no output {missing}",
        next=session.agent_stack("stacks"),
    )
