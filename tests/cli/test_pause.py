"""What `pause` and `resume` write."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.domain.identifiers import QueueKey
from agent_stack_cli.pausing import write_pause, write_resume
from tests.cli.served import Served

DEFAULT, ARM = QueueKey("default"), QueueKey("linux.arm")


def test_a_pause_says_who_since_when_and_why_and_the_dispatcher_reads_it(served: Served) -> None:
    before = datetime.now(UTC)
    said = served.ok("pause", "--reason", "image is broken")
    assert "Next: agent-stack resume --stack demo" in said
    pause = served.lease.pauses().of(ARM)
    assert pause is not None
    assert pause.reason == "image is broken"
    assert before <= pause.since <= datetime.now(UTC)
    assert pause.by
    assert "launches are paused since" in served.ok("status")
    served.ok("resume")
    assert served.lease.pauses().of(ARM) is None
    assert served.lease.pauses().resumed_at(DEFAULT) is not None


def test_one_queue_is_paused_and_resumed_by_itself(served: Served) -> None:
    served.ok("pause", "--queue", "linux.arm")
    assert (served.lease.pauses().of(DEFAULT), bool(served.lease.pauses().of(ARM))) == (None, True)
    said = served.ok("resume")
    assert "was not paused" in said
    assert "Still paused: queue linux.arm" in said
    served.ok("resume", "--queue", "linux.arm")
    assert served.lease.pauses().of(ARM) is None


def test_a_second_pause_keeps_the_first_ones_words(served: Served) -> None:
    served.ok("pause", "--reason", "first")
    assert "already" in served.ok("pause", "--reason", "second")
    assert served.lease.pauses().paused["*"].reason == "first"
    assert served.data("pause")["changed"] is False


def test_a_queue_that_the_stack_does_not_serve_is_refused(served: Served) -> None:
    result = served.run("pause", "--queue", "linux-arm")
    assert result.exit_code == 1
    assert "it serves default, linux.arm" in result.stderr
    assert not served.lease.pauses().paused


def test_a_pause_is_told_from_the_answer_that_wrote_it(served: Served) -> None:
    """A colleague's `resume` right after the write must not end in a traceback."""
    now = datetime.now(UTC)
    client = served.world.dynamodb
    table = served.world.deployed.ledger_table
    held, began = write_pause(client, table, queue="*", at=now, by="alice", reason="first")
    assert (held.by, held.reason, began) == ("alice", "first", True)
    held, began = write_pause(client, table, queue="*", at=now + timedelta(seconds=9), by="bob", reason="second")
    assert (held.by, held.reason, held.since, began) == ("alice", "first", now, False)
    write_resume(client, table, queue="*", at=now)
    served.front.after("dynamodb:UpdateItem", lambda: write_resume(client, table, queue="*", at=datetime.now(UTC)))
    assert "launches are paused" in served.ok("pause", "--reason", "third")
    assert not served.lease.pauses().paused


@pytest.mark.parametrize("verb", ["pause", "resume", "drain"])
def test_an_unknown_queue_is_answered_with_the_same_verb(served: Served, verb: str) -> None:
    result = served.run(verb, "--queue", "linux-arm")
    assert f"Next: agent-stack {verb} --queue default --stack demo" in result.stderr
