"""What a command wrote is found in the log of any agent."""

import pytest

from tests.simulator.vm.agent_log import command_output

MARK = "\x1b_bk;t=1764160000000\x07"
LOG = (
    f"{MARK}~~~ Running agent environment hook\r\n{MARK}\x1b[90m$\x1b[0m /hooks/environment\r\r\nsaid by a hook\r\r\n"
    f"{MARK}~~~ Preparing working directory\r\n{MARK}~~~ Running commands\r\n{MARK}\x1b[90m$\x1b[0m echo hello\r\n"
    f"{MARK}hello\r\r\n{MARK}world\r\r\n"
)


@pytest.mark.parametrize(
    "end",
    [
        "",
        f"{MARK}\x1b[90m# Received cancellation signal, interrupting\x1b[0m\r\n",
        f"{MARK}^^^ +++\r\n{MARK}\x1b[31m🚨 Error: The command exited with status 3\x1b[0m\r\n",
        f"{MARK}~~~ Running agent pre-exit hook\r\n{MARK}bye\r\n",
    ],
)
def test_it_ends_where_the_agent_goes_on(end: str) -> None:
    assert command_output(LOG + end) == "hello\nworld\n"


def test_a_command_that_did_not_begin_wrote_nothing() -> None:
    assert command_output(f"{MARK}~~~ Preparing working directory\r\nfatal: no such repository\r\r\n") == ""
