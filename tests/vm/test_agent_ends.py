"""How an agent may end without its job, and what is reported of it: its code, and the end of its log."""

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stack.adapters.dynamodb import DynamoMailbox, Table
from agent_stack.domain.decisions import Action, Decision, decide
from agent_stack.domain.failure_report import failure_report
from agent_stack.domain.identifiers import InstanceArn, InstanceId
from agent_stack.domain.situations import JobPhase, Situation, job_phase_of
from agent_stack.domain.states import JobState, VmState
from tests.contract.tables import dynamo_calls
from tests.simulator.buildkite import Operation
from tests.simulator.clock import EPOCH, VirtualClock
from tests.unit.values import a_policy, a_run, a_vm
from tests.vm.harness import AGENT, VmHarness, arn

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

REAL = bool(os.environ.get("BUILDKITE_AGENT_BINARY"))
ALWAYS = 1000

TABLE = [
    (Operation.AGENT_ACQUIRE_JOB, 401, "0", "acquire"),
    (Operation.AGENT_ACQUIRE_JOB, 404, "0", "acquire"),
    (Operation.AGENT_ACQUIRE_JOB, 409, "0", "acquire"),
    (Operation.AGENT_ACQUIRE_JOB, 422, "27", "acquire"),
    (Operation.AGENT_START_JOB, 401, "0", "start"),
    (Operation.AGENT_START_JOB, 422, "0", "start"),
    (Operation.AGENT_FINISH_JOB, 422, "0", "finish"),
    (Operation.AGENT_REGISTER, 401, "1", "register"),
    (Operation.AGENT_REGISTER, 422, "1", "register"),
]
"""What is refused, with what, the agent's code, and a word of its reason. As observed with both real agents."""

PATIENT = [
    (Operation.AGENT_ACQUIRE_JOB, 423, "0", "acquire"),
    (Operation.AGENT_ACQUIRE_JOB, 500, "0", "acquire"),
    (Operation.AGENT_CONNECT, 401, "1", "connect"),
]
"""A real agent tries these again for minutes."""


@pytest.mark.parametrize(("operation", "status", "code", "word"), [*TABLE, *(() if REAL else PATIENT)])
@pytest.mark.share(6)
def test_its_code_and_its_reason_are_told_and_what_becomes_of_the_run_is_documented(
    harness: VmHarness, operation: Operation, status: int, code: str, word: str
) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0901", job_id, token)
    body = b'{"message":"the reason of the service"}'
    harness.buildkite.faults.fail(operation, status=status, times=ALWAYS, body=body)
    vm = harness.boot("i-0901")
    harness.ended(vm, seconds=90)
    mail = harness.mail("i-0901")
    assert mail["stage"] == "agent_exited"
    told, _, reason = mail["detail"].partition(" ")
    assert told == code
    assert word in reason.lower()
    assert "the reason of the service" in reason
    assert len(mail["detail"]) <= 300, "the tracker reads so many characters"
    assert "\x1b" not in reason
    assert "___" not in reason
    assert token not in reason
    job_state = harness.buildkite.job(job_id).state
    decided, detail = last_try_decided(harness, "i-0901", JobState(job_state.value))
    (row,) = rows(operation, status)
    assert (row["code"], row["job"].strip()) == (code, job_state.value)
    assert row["run"].strip() == (decided.outcome or decided.action).value
    page = detail or " ".join(notice.text for notice in decided.notices)
    assert row["page"].strip() in page
    assert "the reason of the service" in page


@pytest.mark.skipif(REAL, reason="a real agent cannot be told to")
def test_an_agent_that_ends_with_0_without_its_job_says_why(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0902", job_id, token)
    vm = harness.boot("i-0902", environment={"AGENT_STUB_EXITS": "0"})
    harness.ended(vm)
    assert harness.mail("i-0902")["detail"].startswith("0 buildkite-agent: note: told to end without a job")


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "vm.md").read_text()
ROW = re.compile(r"\| (?P<what>[^|]+) \| (?P<code>\d+) \| (?P<job>[^|]+) \| (?P<run>[^|]+) \| (?P<page>[^|]+) \|")
SEEN = {
    Operation.AGENT_REGISTER: "registration",
    Operation.AGENT_CONNECT: "connection",
    Operation.AGENT_ACQUIRE_JOB: "acquiring",
    Operation.AGENT_START_JOB: "starting",
    Operation.AGENT_FINISH_JOB: "finishing",
}


def rows(operation: Operation, status: int) -> list[dict[str, str]]:
    """The rows of docs/reference/vm.md about that answer."""
    found = [row.groupdict() for row in ROW.finditer(PAGE) if row["what"].startswith(SEEN[operation])]
    named = str(status)[:1] + "xx" if status >= 500 else str(status)
    return [row for row in found if named in row["what"]]


def last_try_decided(harness: VmHarness, instance_id: str, job_state: JobState) -> tuple[Decision, str]:
    """What the tracker decides of a run at its last try, once EC2 shows the VM's end; and the finish detail."""
    mailbox = DynamoMailbox(
        table=Table(
            client=harness.aws.dynamodb, calls=dynamo_calls(VirtualClock()), name=harness.aws.deployed.mailbox_table
        ),
        clock=VirtualClock(),
    )
    arn_ = InstanceArn(arn(instance_id))
    vm = a_vm(arn=arn_, instance_id=InstanceId(instance_id), state=VmState.TERMINATED)
    run = a_run().reserved(now=EPOCH, until=EPOCH + timedelta(hours=1)).bound(vm, now=EPOCH)
    if job_phase_of(job_state) is JobPhase.AGENT:
        run = run.running(now=EPOCH, observed_moments={})
    s = Situation(
        run=run,
        vm=vm,
        described=True,
        job_state=job_state,
        mailbox_status=mailbox.read([arn_])[arn_],
        boot_timeout=timedelta(minutes=5),
        policy=a_policy(max_launch_attempts=1),
        now=EPOCH + timedelta(seconds=60),
    )
    decided = decide(s)
    is_finish = decided.action is Action.FINISH
    return decided, failure_report(s, decided.reason, decided.failure, None) if is_finish else ""


def test_long_last_words_are_cropped_from_the_front_and_leave_no_part_of_the_credential(harness: VmHarness) -> None:
    """The crop comes in the middle of the credential, so that its end would be left by one that comes too early."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0903", job_id, token)
    agent = (
        f'#!/bin/bash\n{AGENT} --version >/dev/null\ntoken=$(cat "${{BUILDKITE_AGENT_TOKEN#file://}}")\n'
        "printf '2026-11-26 10:00:00 ERROR  %0200d%s%0247d the end\\n' 0 \"$token\" 1; exit 1\n"
    )
    vm = harness.boot("i-0903", agent=None, files={"bin/buildkite-agent": agent})
    harness.ended(vm)
    detail = harness.mail("i-0903")["detail"]
    assert detail.startswith("1 ...0000")
    assert detail.rstrip().endswith("1 the end")
    assert "0***0" in detail
    assert len(token) > 20
    assert token[-8:] not in detail
    assert len(detail) <= 300
