"""Which lines of a long log are kept."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from agent_stack_cli import lines
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import find
from tests.cli.served import Served, job_id


def test_of_a_loop_the_newest_lines_are_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    more = 50
    served.log_all(
        "tracker",
        [{"level": "INFO", "message": f"look_{n}", "job_id": job_id(1)} for n in range(lines.MOST_LINES + more)],
    )
    found = lines.mentioning(find(Session(), "demo"), [job_id(1)], since=datetime.now(UTC) - timedelta(minutes=9))
    said = {line.message for line in found}
    assert len(said) == lines.MOST_LINES
    assert f"look_{lines.MOST_LINES + more - 1}" in said
    assert f"look_{more - 1}" not in said


def test_the_colours_of_an_agent_are_left_out_and_all_else_is_shown(served: Served) -> None:
    vm = served.bound(served.recorded(1), served.launched()).binding
    assert vm is not None
    logs, group = served.world._client("logs"), "/agent-stack/demo/vms"
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=vm.instance_id)
    said = "\x1b[38;5;48mINFO\x1b[0m  ready [2] \x1b]0;title\x07"
    event = {"timestamp": int(time.time() * 1000), "message": said}
    logs.put_log_events(logGroupName=group, logStreamName=vm.instance_id, logEvents=[event])
    shown = served.ok("logs", job_id(1), "--vm")
    assert shown.rstrip().endswith("INFO ready [2] \\x1b]0;title\\x07")
