"""`scripts/drain STACK`: launches nothing more and waits until no VM has a job; what an operator does before a removal.

It waits neither for VMs that stay up because their boot failed (HoldOnFailureMinutes), and says until when they do,
nor for idle standby VMs. A removal ends both.

It changes one parameter of the deployed stack, LaunchEnabled, and otherwise only looks. VMs go on with their jobs; each
ends after its own. Jobs that come meanwhile stay scheduled, for another stack of the queue or for later. Launches that
EC2 has not answered yet count as VMs do.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import WaiterError

from agent_stack_cli.commands import options_of
from agent_stack_cli.drain import left, nothing_lives, wait
from agent_stack_cli.endings import ended
from agent_stack_cli.errors import CliError
from agent_stack_cli.output import clean
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack, find

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef

SETTLE_SECONDS = 150
"""An invocation that began before the change may launch until it ends: the functions' Timeout in template.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One stack's draining.

    Attributes:
        say: prints a line.
        sleep: waits so many seconds.
        where: the option that names the region, for the command that goes on.
    """

    stack: Stack
    say: Callable[[str], None]
    sleep: Callable[[float], None]
    where: str = ""

    def __call__(self, *, at_most_seconds: float) -> bool:
        """Whether nothing lives any more."""
        self._stop_launching()
        end = wait(
            partial(left, self.stack, None),
            settle_seconds=SETTLE_SECONDS,
            at_most_seconds=at_most_seconds,
            say=self.say,
            sleep=self.sleep,
        )
        if not end.drained:
            self.say(f"{end.unfinished} Next: scripts/drain {self.stack.name}{self.where}")
            return False
        delete = self.stack.aws("cloudformation", "delete-stack", "--stack-name", self.stack.name)
        self.say(f"{nothing_lives(self.stack, end.left)} It can be removed: {delete}")
        return True

    def _stop_launching(self) -> None:
        name, parameters, cloudformation = self.stack.name, self.stack.parameters, self.stack.session.cloudformation
        if parameters["LaunchEnabled"] == "false":
            self.say(f"{name}: LaunchEnabled is false already.")
            return
        self.say(f"{name}: setting LaunchEnabled to false, and nothing else …")
        kept: list[ParameterTypeDef] = [
            {"ParameterKey": each, "UsePreviousValue": True} for each in parameters if each != "LaunchEnabled"
        ]
        cloudformation.update_stack(
            StackName=name,
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": "LaunchEnabled", "ParameterValue": "false"}, *kept],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        cloudformation.get_waiter("stack_update_complete").wait(StackName=name)
        self.say(f"{name}: launches nothing more.")


def main(arguments: argparse.Namespace) -> int:
    """Drain; the exit status, which is 1 when something lives still."""
    session = Session(region=arguments.region)
    drain = Drain(
        stack=find(session, arguments.stack),
        say=lambda line: print(clean(line), flush=True),
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
    """`main` of what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/drain", description=__doc__)
    parser.add_argument("stack", help="name of the CloudFormation stack")
    parser.add_argument("--region", help="where it is; else as the AWS CLI finds it")
    parser.add_argument("--minutes", type=float, default=120, help="how long to wait at most")
    given = parser.parse_args()
    return ended("scripts/drain", partial(main, given), "--stack", given.stack, *options_of(given.region, None))


if __name__ == "__main__":
    sys.exit(run())
