"""What must not be shown: values that are credentials, wherever somebody put them."""

import re

from agent_stack.adapters.stacks_api.redaction import without_credentials

HIDDEN = "(hidden)"
_OLD_TOKEN = re.compile(r"""(?<![^\s,;="':&])(?<!sha1:)(?<!sha256:)[0-9a-f]{40,}(?![^\s,;"'&@])""")
"""Buildkite's older tokens. In a text for people it may be a commit, and in a path it is one."""
_NAMES = re.compile(r"token|password|secret|credential|apikey|private", re.IGNORECASE)


def is_credential(value: str) -> bool:
    """Whether a value looks like a credential."""
    return without_credentials(value) != value or _OLD_TOKEN.search(value) is not None


def shown(name: str, value: str, *, known: bool, secret: bool) -> str:
    """The value as a report may show it. Of unknown parameters the name decides, too."""
    if value and (secret or is_credential(value) or (not known and _NAMES.search(name))):
        return HIDDEN
    return value
