"""Why a job waits: `agent-stack job` says what the build page says, and `status` groups it in the same words."""

from datetime import UTC, datetime

import httpx
import pytest

from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.waiting import NO_CLASS, Waiting, WaitingList, WaitReason
from tests.cli.served import Served
from tests.simulator.buildkite import Step
from tests.simulator.world import NAME

WORDS = {
    WaitReason.PAUSED: "2026-11-26 10:00 UTC by alice: new image",
    WaitReason.CLASS_MAXIMUM: "3",
    WaitReason.BROKEN: "InvalidAMIID.NotFound: The image id '[ami-1]' does not exist",
    WaitReason.NO_CAPACITY: "InsufficientInstanceCapacity: no capacity",
    WaitReason.QUOTA: "VcpuLimitExceeded “Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances”",
    WaitReason.REFUSED: "InternalError: try again",
    WaitReason.NO_CLASS: "There is no class “huge” here. Would match: class=large.",
}
"""What the dispatcher notes beside a reason, where it notes something."""


@pytest.mark.share(6)
def test_the_command_and_the_build_page_say_the_same_of_each_reason(served: Served) -> None:
    """The tracker itself tells the pages. The list is the dispatcher's; the words on both sides are judged."""
    registered = httpx.post(  # as the dispatcher does before it lists any job
        f"{served.world.buildkite_url}/stacks/register",
        headers={"Authorization": f"Token {served.world.buildkite.agent_token}"},
        json={"key": f"{NAME}-default", "type": "custom", "queue_key": "default", "metadata": {}},
    )
    assert registered.is_success, registered.text
    reasons = list(WaitReason)
    job_ids = served.world.buildkite.create_build("app", steps=[Step(command="true")] * len(reasons)).job_ids
    jobs = tuple(
        Waiting(
            job_id=JobId(job_id),
            queue_key=QueueKey("default"),
            class_name=NO_CLASS if reason is WaitReason.NO_CLASS else ClassName("default"),
            reason=reason,
            words=WORDS.get(reason, ""),
        )
        for job_id, reason in zip(job_ids, reasons, strict=True)
    )
    served.ledger.list_waiting(WaitingList(at=datetime.now(UTC), jobs=jobs))
    completed = served.world.hosts["tracker"].invoke({})
    assert completed.error is None
    groups = {group["reason"]: group["words"] for group in served.data("status")["waiting"]}
    for job in jobs:
        page = [notification.detail for notification in served.world.buildkite.job(job.job_id).notifications]
        assert page == [served.data("job", job.job_id)["waits"]], job.reason
        assert page == [f"Waiting: {groups[job.reason]}"]
        assert page[0] in served.ok("job", job.job_id)
