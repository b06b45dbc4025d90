"""EC2's error codes, as the adapter needs them. The table of them is `domain.ec2_codes`."""

from agent_stack.domain.ec2_codes import Effect, codes, row_for
from agent_stack.domain.launching import LaunchErrorClass

NOTHING_DONE = codes(Effect.THROTTLED)
"""Refused before anything was looked at."""

SERVER = codes(Effect.SERVER_ERROR)
"""EC2's own trouble: it may or may not have acted."""


def classify(code: str, message: str = "", *, placed: bool = False) -> LaunchErrorClass:
    """What kind of error a code is; one that no document lists is UNRECOGNISED."""
    return row_for(code, message, placed=placed).error_class
