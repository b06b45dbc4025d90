"""A job's log without what an agent adds: a test compares what the command wrote, whichever agent ran it.

Source: logs of both versions of the real agent, as seen in these tests.
"""

import re

_MARK = re.compile(r"\x1b_bk;t=\d+\x07")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_REMARK = "\x1b[90m# "
_COMMANDS = "~~~ Running commands"
_ENDS = ("~~~ ", "+++ ", "^^^ +++", "🚨 Error: ", "user command error: ")
"""How a line begins by which the agent goes on after the command."""


def command_output(log: str) -> str:
    """What the command itself wrote, with plain line ends; empty when it did not begin.

    The agent's sections before the command, its time marks, the command's own first line (`$ command`) and what the
    agent says after it are left out.
    """
    lines = _MARK.sub("", log).replace("\r", "").splitlines(keepends=True)
    begins = next((n for n, line in enumerate(lines) if _plain(line).startswith(_COMMANDS)), None)
    if begins is None:
        return ""
    said = lines[begins + 1 :]
    if said and _plain(said[0]).startswith("$ "):
        said = said[1:]
    ends = next((n for n, line in enumerate(said) if _plain(line).startswith(_ENDS)), len(said))
    return "".join(line for line in said[:ends] if not line.startswith(_REMARK))


def _plain(line: str) -> str:
    return _COLOUR.sub("", line)
