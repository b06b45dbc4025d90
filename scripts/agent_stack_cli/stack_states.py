"""What CloudFormation's states of a stack mean for who wants to use it. Needs the standard library only.

`scripts/deploy` runs this file before it builds anything: python3 stack_states.py NAME STATUS REGION
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

EVENTS, DELETE, AGAIN = "describe-stack-events", "delete-stack", "continue-update-rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state.

    Attributes:
        words: what is so, after the stack's name.
        then: words of `aws cloudformation` that help next; empty when nothing has to be done.
        deploys: whether CloudFormation takes a deployment in this state.
    """

    words: str
    then: tuple[str, ...] = ()
    deploys: bool = False


def _going_on(words: str, waiter: str) -> State:
    return State(words=words, then=("wait", waiter) if waiter else (EVENTS,))


STATES: Mapping[str, State] = {
    "REVIEW_IN_PROGRESS": State(words="was never made: its change set was not executed", then=(DELETE,)),
    "CREATE_IN_PROGRESS": _going_on("is being made", "stack-create-complete"),
    "CREATE_FAILED": State(words="was not made as a whole", then=(EVENTS,), deploys=True),
    "ROLLBACK_IN_PROGRESS": _going_on("was never made, and what is there is being removed", ""),
    "ROLLBACK_COMPLETE": State(words="was never made", then=(DELETE,)),
    "ROLLBACK_FAILED": State(words="was never made, and not all of it is removed", then=(DELETE,)),
    "UPDATE_IN_PROGRESS": _going_on("is being changed", "stack-update-complete"),
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": _going_on("is being changed", "stack-update-complete"),
    "UPDATE_FAILED": State(words="was not changed as a whole", then=(EVENTS,), deploys=True),
    "UPDATE_ROLLBACK_IN_PROGRESS": _going_on("is being changed back", "stack-rollback-complete"),
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": _going_on("is being changed back", "stack-rollback-complete"),
    "UPDATE_ROLLBACK_FAILED": State(words="could not be changed back", then=(AGAIN,)),
    "DELETE_IN_PROGRESS": _going_on("is being deleted", "stack-delete-complete"),
    "DELETE_FAILED": State(words="was not deleted as a whole", then=(DELETE,)),
    "DELETE_COMPLETE": State(words="is deleted", then=(EVENTS,)),
    "IMPORT_IN_PROGRESS": _going_on("takes over resources", "stack-import-complete"),
    "IMPORT_ROLLBACK_IN_PROGRESS": _going_on("gives resources back", ""),
    "IMPORT_ROLLBACK_FAILED": State(words="could not give resources back", then=(EVENTS,)),
}
"""Every state but those in which all is well. The waiters are those that succeed after the state. None succeeds
after the rollback of a first deployment or of an import. Sources: StackStatus in the CloudFormation API reference, and
its waiters in botocore."""

WELL = State(words="is there", deploys=True)


def of(status: str) -> State:
    """What that state means. A new one that goes on or has failed keeps a deployment away, too."""
    if status in STATES:
        return STATES[status]
    return State(words=f"is in state {status}", then=(EVENTS,)) if not status.endswith("_COMPLETE") else WELL


def main(name: str, status: str, region: str) -> int:
    """Print what is in the way of a deployment, or what it may repair; the exit status."""
    state = of(status)
    if state.deploys:
        if state.then:
            sys.stdout.write(f"The stack {name} {state.words} ({status}); this deployment may repair it.\n")
        return 0
    then = shlex.join(["aws", "cloudformation", *state.then, "--stack-name", name, "--region", region])
    sys.stderr.write(f"Not deployed: the stack {name} {state.words} ({status}).\n")
    sys.stderr.write(f"Next: {then}, then deploy again.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
