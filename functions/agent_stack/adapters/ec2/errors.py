"""EC2's error codes, as the adapter needs them. The table of them is `domain.ec2_codes`."""

from agent_stack.domain.ec2_codes import Effect, Scope, codes, row_for
from agent_stack.domain.launching import LaunchErrorClass

NOTHING_DONE = codes(Effect.THROTTLED)
"""Refused before anything was looked at."""

SERVER = codes(Effect.SERVER_ERROR)
"""EC2's own trouble: it may or may not have acted."""


def classify(code: str, message: str = "", *, placed: bool = False) -> LaunchErrorClass:
    """What kind of error a code is; one that no document lists is UNRECOGNISED."""
    return row_for(code, message, placed=placed).error_class


def denied(code: str) -> bool:
    """Whether IAM says no. Within minutes of a new role that may pass by itself."""
    return row_for(code, placed=False).authorisation


def is_of_subnet(code: str) -> bool:
    """Whether the subnet is full or gone."""
    return row_for(code, placed=True).scope is Scope.SUBNET


def is_without_subnet(code: str) -> bool:
    """Whether the subnet is gone."""
    return is_of_subnet(code) and classify(code, placed=True) is not LaunchErrorClass.CAPACITY
