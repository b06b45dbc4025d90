"""Plain values that many tests need: a job, its run, a VM, a letter."""

from datetime import datetime, timedelta
from typing import Any

from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Market, VmState
from agent_stack.domain.vms import Letter, Vm
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
    values: dict[str, Any] = {"class_name": ClassName("default"), "attempt": 0, "give_up": None, **changes}
    return Run.of(a_job(number), now=now, **values)


def a_vm(number: int = 1, **changes: object) -> Vm:
    values: dict[str, Any] = {
        "instance_id": InstanceId(f"i-{number:017x}"),
        "arn": InstanceArn(f"{ARN}i-{number:017x}"),
        "state": VmState.PENDING,
        "launched_at": EPOCH,
        "instance_type": "m7i.large",
        "zone": "eu-central-1a",
        "market": Market.ON_DEMAND,
        "intent_id": IntentId("as-1"),
        **changes,
    }
    return Vm(**values)


def a_letter(run: Run, vm: Vm) -> Letter:
    return Letter(
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
