"""Proves on a real account what no simulation can: that AWS itself judges, launches and ends as this stack expects.

Changes nothing but by the one job that you run. Needs credentials that may read the stack, simulate its roles' policies
(iam:SimulatePrincipalPolicy), read the class document, look at EC2, SQS and the dispatcher's log, and dry-run launches.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from agent_stack_cli.commands import options_of
from agent_stack_cli.endings import ended
from agent_stack_cli.output import clean
from agent_stack_cli.session import Session
from infra.expectations import TAG, Expectation, Names, expectations
from infra.smoke_launches import Launches, refusals_in

STEP = """    steps:
      - command: "%s"
        agents: { queue: %s }"""
BLOCKED = "! curl -s -m 5 http://169.254.169.254/"  # fails when a job reaches the metadata service, with any answer
LOOK_SECONDS = 5
NOT_PROVED = (
    "service control policies are not simulated: the job's launch is what meets them",
    "what you added to the VMs' role is not tried",
    "a dry run shows permissions and wrong requests; quotas, capacity and a closed Fleet API show in the job's launch",
)


class Smoke:
    """One run over one stack. Each step yields what it saw: whether it is as it should be, and in which words."""

    def __init__(
        self, stack: str, *, client: Callable[[str], Any], minutes: float, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = {name: client(name) for name in ("cloudformation", "ec2", "iam", "logs", "sqs", "ssm")}
        self._pause = pause
        (self._stack,) = self._client["cloudformation"].describe_stacks(StackName=stack)["Stacks"]
        self._outputs = {output["OutputKey"]: output["OutputValue"] for output in self._stack["Outputs"]}
        self._parameters = {p["ParameterKey"]: p["ParameterValue"] for p in self._stack["Parameters"]}
        self._minutes = minutes

    def stack(self) -> Iterator[tuple[bool, str]]:
        """The stack's own state."""
        status = self._stack["StackStatus"]
        yield status.endswith("_COMPLETE") and "ROLLBACK" not in status, f"{self._stack['StackId']} is {status}"

    def permissions(self) -> Iterator[tuple[bool, str]]:
        """IAM's simulator on the roles as they are deployed, boundaries included."""
        names = self._names()
        for expected in expectations(names):
            allowed = self._simulated(names.roles[expected.role], expected)
            verdict = "allowed" if allowed else "denied"
            yield allowed is expected.allowed, f"{expected.role}: {expected.action}, {expected.what}: {verdict}"

    def launches(self) -> Iterator[tuple[bool, str]]:
        """Dry runs of the requests that the stack sends: of every class, with its types and images, in every subnet."""
        given = self._parameters.get("ClassesParameter", "")
        own = f"/agent-stack/{self._stack['StackName']}/default-classes"
        yield from Launches(
            ec2=self._client["ec2"],
            ssm=self._client["ssm"],
            stack=self._stack["StackName"],
            template_id=self._outputs["LaunchTemplate"],
            subnet_ids=self._outputs["VmSubnets"].split(","),
            classes_parameter=(given, False) if given else (own, True),
        )()

    def job(self) -> Iterator[tuple[bool, str]]:
        """One job on its way through a VM, and the VM as EC2 made it."""
        before = set(self._vms())
        print(f"\nRun this within {self._minutes:g} minutes. It has to pass:")
        command = BLOCKED if self._parameters["JobMetadata"] == "blocked" else "true"
        print(STEP % (command, self._parameters["Queues"].split(",")[0]), flush=True)
        running = self._waited_for(
            lambda: {vm_id: vm for vm_id, vm in self._vms("running").items() if vm_id not in before}, "a VM runs"
        )
        if not running:
            yield False, "no VM came: look at the dispatcher's log"
            yield from ((False, f"EC2 refused the dispatcher: {said}") for said in self._refusals())
            return
        vm_id, vm = next(iter(running.items()))
        yield True, f"{vm_id} runs, an {vm['InstanceType']} in {vm['Placement']['AvailabilityZone']}"
        yield vm["MetadataOptions"]["HttpTokens"] == "required", f"{vm_id} answers to IMDSv2 only"
        volumes = self._client["ec2"].describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [vm_id]}])[
            "Volumes"
        ]
        tagged = [any(tag["Key"] == TAG for tag in volume.get("Tags", [])) for volume in volumes]
        yield bool(volumes) and all(v["Encrypted"] for v in volumes), f"{len(volumes)} volumes of {vm_id} are encrypted"
        yield bool(volumes) and all(tagged), f"volumes of {vm_id} carry {TAG}"
        gone = self._waited_for(lambda: {vm_id} & set(self._vms("terminated")), "it ends")
        yield bool(gone), f"{vm_id} ended: {self._vms().get(vm_id, {}).get('StateReason', {}).get('Code', 'not yet')}"
        yield self._failed_events() == 0, f"{self._failed_events()} failed events are kept"

    def _refusals(self) -> Sequence[str]:
        """What EC2 refused the dispatcher while this waited. A dry run shows permissions only, and not a closed API."""
        pages = (
            self._client["logs"]
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/agent-stack/{self._stack['StackName']}/dispatcher",
                filterPattern='{ $.message = "launch_partial" }',
                startTime=int((time.time() - (self._minutes + 2) * 60) * 1000),
            )
        )
        return refusals_in([event for page in pages for event in page["events"]])

    def _names(self) -> Names:
        _, partition, _, region, account, _ = self._stack["StackId"].split(":", 5)
        role = self._client["iam"].get_role(RoleName=self._outputs["InstanceRole"])["Role"]["Arn"]
        return Names(
            stack=self._stack["StackName"],
            partition=partition,
            place=f"{region}:{account}",
            roles={"dispatcher": self._outputs["DispatcherRole"], "tracker": self._outputs["TrackerRole"], "vm": role},
            ledger=self._outputs["LedgerTable"],
            mailbox=self._outputs["MailboxTable"],
            template=self._outputs["LaunchTemplate"],
            vpc=self._outputs["VmVpc"],
            token_parameter=self._parameters["AgentTokenParameter"],
        )

    def _simulated(self, role: str, expected: Expectation) -> bool:
        answer = self._client["iam"].simulate_principal_policy(
            PolicySourceArn=role,
            ActionNames=[expected.action],
            ResourceArns=[expected.resource],
            ContextEntries=[
                {
                    "ContextKeyName": key,
                    "ContextKeyType": "stringList" if key.startswith("dynamodb:") else "string",
                    "ContextKeyValues": list(values),
                }
                for key, values in expected.context.items()
            ],
        )
        return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")

    def _vms(self, *states: str) -> Mapping[str, Any]:
        filters = [{"Name": f"tag:{TAG}", "Values": [self._stack["StackName"]]}]
        if states:
            filters.append({"Name": "instance-state-name", "Values": list(states)})
        pages = self._client["ec2"].get_paginator("describe_instances").paginate(Filters=filters)
        return {vm["InstanceId"]: vm for page in pages for r in page["Reservations"] for vm in r["Instances"]}

    def _failed_events(self) -> int:
        attribute = "ApproximateNumberOfMessages"
        answer = self._client["sqs"].get_queue_attributes(
            QueueUrl=self._outputs["FailedEvents"], AttributeNames=[attribute]
        )
        return int(answer["Attributes"][attribute])

    def _waited_for(self, look: Callable[[], Any], what: str) -> Any:  # noqa: ANN401  (whatever `look` finds)
        found = look()
        for _ in range(round(self._minutes * 60 / LOOK_SECONDS)):
            if found:
                break
            self._pause(LOOK_SECONDS)
            found = look()
        print(f"{'…' if found else 'stopped waiting:'} {what}", flush=True)
        return found


def main(given: argparse.Namespace) -> int:
    """Run every step; the exit status."""
    session = Session(region=given.region)
    smoke = Smoke(given.stack, client=session.client, minutes=given.minutes)
    failed = 0
    for step in (smoke.stack, smoke.permissions, smoke.launches, *(() if given.no_job else (smoke.job,))):
        for good, said in step():
            failed += not good
            print(f"{'ok     ' if good else 'FAILED '} {clean(said)}", flush=True)
    print("Not proved:", *NOT_PROVED, sep="\n  ")
    print(f"FAIL  {failed} failed" if failed else "PASS")
    return 1 if failed else 0


def run() -> int:
    """`main` of what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/smoke", description=__doc__)
    parser.add_argument("stack", help="the stack's name")
    parser.add_argument("--region", help="where it is; as the AWS CLI finds it when not given")
    parser.add_argument("--minutes", type=float, default=8, help="how long to wait for the job's VM, and for its end")
    parser.add_argument("--no-job", action="store_true", help="only what needs no job")
    given = parser.parse_args()
    return ended("scripts/smoke", partial(main, given), "--stack", given.stack, *options_of(given.region, None))


if __name__ == "__main__":
    sys.exit(run())
