"""Which lines of a long log are kept."""

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
