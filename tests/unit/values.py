"""Plain values that many tests need: a job, its run, a VM, a letter."""

from datetime import datetime, timedelta
from typing import Any

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import Budget
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import NotificationLevel, Policy, UnmatchedJobs
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType, VmState
from agent_stack.domain.vms import Assignment, Vm
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


def a_policy(**changes: object) -> Policy:
    values: dict[str, Any] = {
        "reservation": timedelta(seconds=900),
        "launch_deadline": timedelta(seconds=600),
        "unassigned_timeout": timedelta(seconds=300),
        "max_lifetime": timedelta(days=1),
        "cancel_grace": timedelta(seconds=120),
        "finish_grace": timedelta(seconds=60),
        "orphan_grace": timedelta(seconds=300),
        "max_instances": 100,
        "max_vcpus": None,
        "instance_budget": Budget(burst=1000, per_second=2),
        "max_launches_per_minute": 500,
        "max_launch_attempts": 3,
        "max_terminations_per_cycle": 500,
        "unmatched_jobs": UnmatchedJobs.IGNORE,
        "notification_level": NotificationLevel.NORMAL,
        "launch_enabled": True,
        "observe_only": False,
        **changes,
    }
    return Policy(**values)


def an_environment(**changes: str) -> dict[str, str]:
    """What template.yaml gives a function, with its defaults."""
    return {
        "DEPLOYMENT": "stack",
        "ACCOUNT_ID": "123456789012",
        "PARTITION": "aws",
        "AWS_REGION": "eu-central-1",
        "LEDGER_TABLE": "LedgerTable",
        "MAILBOX_TABLE": "MailboxTable",
        "CLASSES_PARAMETER": "",
        "DEFAULT_CLASSES_PARAMETER": "/agent-stack/stack/default-classes",
        "LAUNCH_TEMPLATE_ID": "lt-0123456789abcdef0",
        "LAUNCH_TEMPLATE_VERSION": "1",
        "SUBNET_IDS": "subnet-a,subnet-b",
        "BUILDKITE_TOKEN_PARAMETER": "/buildkite/agent-token",
        "BUILDKITE_ENDPOINT": "https://agent.buildkite.com/v3",
        "BUILDKITE_DIALECT": "auto",
        "QUEUES": "default",
        "STACK_KEY": "stack",
        "AGENT_CREDENTIAL": "job-token",
        "AGENT_TAGS": "",
        "READ_JOB_ENVIRONMENT": "false",
        "UNMATCHED_JOBS": "auto",
        "NOTIFICATION_LEVEL": "normal",
        "MAX_INSTANCES": "100",
        "INSTANCE_BURST": "1000",
        "INSTANCES_PER_SECOND": "2",
        "MAX_LAUNCHES_PER_MINUTE": "500",
        "MAX_TERMINATIONS_PER_TICK": "500",
        "MAX_LAUNCH_ATTEMPTS": "3",
        "RESERVATION_SECONDS": "900",
        "LAUNCH_DEADLINE_SECONDS": "600",
        "UNASSIGNED_TIMEOUT_SECONDS": "300",
        "MAX_LIFETIME_SECONDS": "86400",
        "CANCEL_GRACE_SECONDS": "120",
        "FINISH_GRACE_SECONDS": "60",
        "SWEEP_GRACE_SECONDS": "300",
        "IDLE_POLL_SECONDS": "0.5",
        "WOKEN_BY_JOBS": "false",
        "HISTORY_DAYS": "30",
        "TERMINATE_ON_DELETE": "true",
        "LAUNCH_ENABLED": "true",
        "OBSERVE_ONLY": "false",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_METRICS_NAMESPACE": "AgentStackEc2",
        "POWERTOOLS_SERVICE_NAME": "dispatcher",
        **changes,
    }
