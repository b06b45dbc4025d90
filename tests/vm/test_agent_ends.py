"""How an agent may end without its job, and what is told of it: its code, and its own last words."""

import os

import pytest

from tests.simulator.buildkite import Operation
from tests.vm.harness import AGENT, VmHarness

pytestmark = pytest.mark.e2e

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
def test_its_code_and_its_reason_are_told(
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


@pytest.mark.skipif(REAL, reason="a real agent cannot be told to")
def test_an_agent_that_ends_with_0_without_its_job_says_why(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0902", job_id, token)
    vm = harness.boot("i-0902", environment={"AGENT_STUB_EXITS": "0"})
    harness.ended(vm)
    assert harness.mail("i-0902")["detail"].startswith("0 buildkite-agent: note: told to end without a job")


def test_long_last_words_are_cropped_from_the_front(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0903", job_id, token)
    agent = (
        f"#!/bin/bash\n{AGENT} --version >/dev/null\nprintf '2026-11-26 10:00:00 ERROR  %0400d the end\\n' 1; exit 1\n"
    )
    vm = harness.boot("i-0903", agent=None, files={"bin/buildkite-agent": agent})
    harness.ended(vm)
    detail = harness.mail("i-0903")["detail"]
    assert detail.startswith("1 ...0000")
    assert detail.rstrip().endswith("1 the end")
    assert len(detail) <= 300
