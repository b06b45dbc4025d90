"""The pattern of GitKnownHosts, made from the one by which the boot program judges each line (known_hosts.sh)."""

import re

from infra.user_data import VM

_LINE = re.compile(r"^HOST_KEY_LINE='\^(.*)\$'$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<=^  GitKnownHosts:\n)((?:    .*\n)*?    AllowedPattern: ).*$", re.MULTILINE)
_CLASS = "[]A-Za-z0-9.,:*?[_-]"
"""Of a host's characters, as bash knows them. Java and Python want the brackets in it escaped."""


def allowed_pattern() -> str:
    """Of the whole value: lines, comments and empty lines, separated by line ends or semicolons.

    Raises:
        ValueError: the boot program has no such pattern.
    """
    found = _LINE.search((VM / "known_hosts.sh").read_text())
    if found is None or _CLASS not in found[1]:
        raise ValueError(
            f"known_hosts.sh has no HOST_KEY_LINE with {_CLASS}. Write it in one line, or change host_keys.py"
        )
    key = found[1].replace(_CLASS, r"[\]\[A-Za-z0-9.,:*?_-]").replace("( .*)?", r"( [^\n;]*)?")
    line = rf" *({key}|\#[^\n;]*)?\r?"
    return rf"^{line}([\n;]{line})*$"


def generated(template: str) -> str:
    """The template with that pattern."""
    written, count = _PARAMETER.subn(lambda found: f"{found[1]}{allowed_pattern()}", template)
    if count != 1:
        raise ValueError("template.yaml has no AllowedPattern of GitKnownHosts")
    return written
