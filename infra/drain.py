"""`scripts/drain STACK`: launches nothing more and waits until no VM lives; what an operator does before a removal.

It does not wait for VMs that are held because their boot failed (HoldOnFailureMinutes).

It changes one parameter of the deployed stack, LaunchEnabled, and otherwise only looks. VMs go on with their jobs; each
ends after its own. Jobs that come meanwhile stay scheduled, for another stack of the queue or for later.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import WaiterError

from agent_stack.adapters.dynamodb.holds import read_holds
from agent_stack.adapters.dynamodb.items import key
from agent_stack.domain.holds import Holds
from agent_stack_cli.errors import CliError, translated
from agent_stack_cli.session import Session

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client

DEPLOYMENT_TAG = "agent-stack:deployment"
LIVING = ["pending", "running", "shutting-down", "stopping", "stopped"]
LOOK_SECONDS = 15
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One stack's draining.

    Attributes:
        say: prints a line.
        sleep: waits so many seconds.
        where: the option that names the region, for the command that goes on.
    """

    cloudformation: "CloudFormationClient"
    ec2: "EC2Client"
    dynamodb: "DynamoDBClient"
    stack: str
    say: Callable[[str], None]
    sleep: Callable[[float], None]
    where: str = ""

    def __call__(self, *, at_most_seconds: float) -> bool:
        """Whether nothing lives any more."""
        self._stop_launching()
        waited, before = 0.0, -1
        while living := self._living():
            if len(living) != before:
                more = ", …" if len(living) > SHOWN else ""
                self.say(f"{len(living)} VMs live: {', '.join(living[:SHOWN])}{more}")
                before = len(living)
            if waited >= at_most_seconds:
                self.say(f"Still {len(living)} after {waited:.0f} s. Next: scripts/drain {self.stack}{self.where}")
                return False
            self.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
        self.say(
            f"No VM of {self.stack} lives. It can be removed: aws cloudformation delete-stack --stack-name {self.stack}"
        )
        return True

    def _stop_launching(self) -> None:
        (described,) = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        parameters = {p["ParameterKey"]: p.get("ParameterValue", "") for p in described.get("Parameters", [])}
        if "LaunchEnabled" not in parameters:
            raise CliError(
                f"{self.stack} has no parameter LaunchEnabled: it is no stack of this project",
                next="agent-stack stacks",
            )
        if parameters["LaunchEnabled"] == "false":
            self.say(f"{self.stack}: LaunchEnabled is false already.")
            return
        self.say(f"{self.stack}: setting LaunchEnabled to false, and nothing else …")
        kept: list[ParameterTypeDef] = [
            {"ParameterKey": name, "UsePreviousValue": True} for name in parameters if name != "LaunchEnabled"
        ]
        self.cloudformation.update_stack(
            StackName=self.stack,
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": "LaunchEnabled", "ParameterValue": "false"}, *kept],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        self.cloudformation.get_waiter("stack_update_complete").wait(StackName=self.stack)
        self.say(f"{self.stack}: launches nothing more.")

    def _living(self) -> list[str]:
        pages = self.ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [self.stack]},
                {"Name": "instance-state-name", "Values": LIVING},
            ]
        )
        held = self._held()
        shown = (i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"])
        return sorted(instance_id for instance_id in shown if instance_id not in held)

    def _held(self) -> frozenset[str]:
        """The VMs that stay up because their boot failed: no job is on them, and the removal ends them."""
        (described,) = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        tables = [o["OutputValue"] for o in described.get("Outputs", []) if o["OutputKey"] == "LedgerTable"]
        if not tables:
            return frozenset()
        stored = self.dynamodb.get_item(TableName=tables[0], Key=key("holds", "list"), ConsistentRead=True)
        held = read_holds(stored["Item"], lambda _: None) if "Item" in stored else Holds()
        return frozenset(hold.instance_id for hold in held.vms)


def main() -> int:
    """Drain; the exit status, which is 1 when something lives still."""
    parser = argparse.ArgumentParser(prog="scripts/drain", description=__doc__)
    parser.add_argument("stack", help="name of the CloudFormation stack")
    parser.add_argument("--region", help="where it is; else as the AWS CLI finds it")
    parser.add_argument("--minutes", type=float, default=120, help="how long to wait at most")
    arguments = parser.parse_args()
    session = Session(region=arguments.region)
    drain = Drain(
        cloudformation=session.client("cloudformation"),
        ec2=session.client("ec2"),
        dynamodb=session.client("dynamodb"),
        stack=arguments.stack,
        say=lambda line: print(line, flush=True),
        sleep=time.sleep,
        where=f" --region {arguments.region}" if arguments.region else "",
    )
    try:
        return 0 if drain(at_most_seconds=arguments.minutes * 60) else 1
    except WaiterError as error:
        raise CliError(
            f"{arguments.stack} cannot be drained: {error}",
            next=session.aws("cloudformation", "describe-stack-events", "--stack-name", arguments.stack),
        ) from None


def run() -> int:
    """`main`; what AWS refuses becomes one line and the next command."""
    try:
        with translated():
            return main()
    except CliError as error:
        sys.stderr.write(f"scripts/drain: {error.message}\nNext: {error.next}\n")
        return 1


if __name__ == "__main__":
    sys.exit(run())
