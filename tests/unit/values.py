"""Plain values that many tests need: a job, its run, a VM, a letter."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import Policy, UnmatchedJobs
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType, VmState
from agent_stack.domain.vms import Assignment, Vm
from infra.examples import POLICY, environment
from tests.simulator.clock import EPOCH

ARN = "arn:aws:ec2:eu-central-1:123456789012:instance/"


def job_id(number: int = 1) -> JobId:
    return JobId(f"0190d2f8-0000-4000-8000-{number:012d}")


def a_job(number: int = 1, **changes: object) -> Job:
    values: dict[str, Any] = {
        "job_id": job_id(number),
        "queue_key": QueueKey("default"),
        "scheduled_at": EPOCH - timedelta(seconds=2),
        **changes,
    }
    return Job(**values)


def a_run(number: int = 1, *, now: datetime = EPOCH, **changes: object) -> Run:
    earlier = PriorUsage(attempts=changes.pop("attempt", 0))  # type: ignore[arg-type]  # as the tests give it
    values: dict[str, Any] = {"class_name": ClassName("default"), "failure_reason": None, "earlier": earlier, **changes}
    return Run.of(a_job(number), now=now, **values)


def a_vm(number: int = 1, **changes: object) -> Vm:
    values: dict[str, Any] = {
        "instance_id": InstanceId(f"i-{number:017x}"),
        "arn": InstanceArn(f"{ARN}i-{number:017x}"),
        "state": VmState.PENDING,
        "launched_at": EPOCH,
        "instance_type": "m7i.large",
        "zone": "eu-central-1a",
        "capacity_type": CapacityType.ON_DEMAND,
        "intent_id": IntentId("as-1"),
        **changes,
    }
    return Vm(**values)


def a_letter(run: Run, vm: Vm) -> Assignment:
    return Assignment(
        instance_arn=vm.arn,
        job_id=run.job_id,
        queue_key=run.queue_key,
        endpoint="https://agent.buildkite.com/v3",
        agent_name=f"stack-{vm.instance_id}",
        agent_tags=("class=default",),
        credential_kind="job-token",
        credential="bkjat_secret",
        expires_at=EPOCH + timedelta(days=1),
    )


FEW_LAUNCHES = 500
"""A minute: few enough for tests to reach."""


def a_policy(**changes: object) -> Policy:
    """What the template's defaults decide."""
    values: dict[str, Any] = {
        "max_launches_per_minute": FEW_LAUNCHES,
        "unmatched_jobs": UnmatchedJobs.IGNORE,
        **changes,
    }
    return replace(POLICY, **values)


_ENVIRONMENT = {
    **environment(),
    "LEDGER_TABLE": "LedgerTable",
    "MAILBOX_TABLE": "MailboxTable",
    "DEFAULT_CLASSES_PARAMETER": "/agent-stack/stack/default-classes",
    "SUBNET_IDS": "subnet-a,subnet-b",
    "BUILDKITE_TOKEN_PARAMETER": "/buildkite/agent-token",
    "MAX_LAUNCHES_PER_MINUTE": str(FEW_LAUNCHES),
    "WOKEN_BY_JOBS": "false",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_METRICS_NAMESPACE": "AgentStackEc2",
    "POWERTOOLS_SERVICE_NAME": "dispatcher",
}


def an_environment(**changes: str) -> dict[str, str]:
    """What template.yaml gives a function, with its defaults."""
    return {**_ENVIRONMENT, **changes}
