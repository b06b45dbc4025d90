"""`agent-stack pause` and `agent-stack resume`."""

from dataclasses import dataclass
from datetime import datetime

from agent_stack.domain.pauses import EVERYTHING
from agent_stack_cli.errors import CliError
from agent_stack_cli.output import Output
from agent_stack_cli.pausing import write_pause, write_resume
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

MOST_REASON_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """What a pause or a resumption left."""

    stack: str
    what: str
    queue: str | None
    paused: bool
    changed: bool
    at: datetime
    words: str
    warning: str


def pause(stack: Stack, *, queue: str | None, reason: str = "", verb: str = "pause") -> Paused:
    """Launches nothing more for that queue, or for all.

    Args:
        verb: what the operator asked for, for the command after an error.

    Raises:
        CliError: the stack has no such queue, or the reason is too long.
    """
    if len(reason) > MOST_REASON_CHARACTERS:
        raise CliError(
            f"the reason has {len(reason)} characters; a build page shows {MOST_REASON_CHARACTERS}",
            next="shorten --reason",
        )
    name, now = _name(stack, queue, verb), stack.session.now()
    held, changed = write_pause(
        stack.session.dynamodb, stack.ledger, queue=name, at=now, by=_caller(stack), reason=reason
    )
    return Paused(
        stack=stack.name,
        what=_what(queue),
        queue=queue,
        paused=True,
        changed=changed,
        at=held.since,
        words=held.words,
        warning="",
    )


def resume(stack: Stack, *, queue: str | None) -> Paused:
    """Allows launches again.

    Raises:
        CliError: the stack has no such queue.
    """
    name, now = _name(stack, queue, "resume"), stack.session.now()
    changed = write_resume(stack.session.dynamodb, stack.ledger, queue=name, at=now)
    warning = ""
    left = Records(stack=stack).pauses().paused
    if left:
        still = ", ".join("all queues" if key == EVERYTHING else f"queue {key}" for key in sorted(left))
        warning = f"Still paused: {still}"
    elif not stack.policy.launch_enabled:
        warning = "LaunchEnabled is false: nothing is launched until a deployment sets it to true"
    return Paused(
        stack=stack.name,
        what=_what(queue),
        queue=queue,
        paused=False,
        changed=changed,
        at=now,
        words="",
        warning=warning,
    )


def show(done: Paused, stack: Stack, output: Output) -> None:
    """The outcome for people."""
    if output.as_json:
        output.json(done)
        return
    if done.paused:
        again = "" if done.changed else " already"
        output.line(f"{done.what} of {done.stack}: launches are paused{again}, since {done.words}.")
        output.line("No launch is sent from five seconds on. Jobs that run go on.")
        output.line(f"Next: {resume_command(stack, done.queue)}")
    elif done.changed:
        output.line(f"{done.what} of {done.stack}: launches are resumed. The dispatcher sees it within a minute.")
    else:
        output.line(f"{done.what} of {done.stack}: was not paused.")
    if done.warning:
        output.line(done.warning, "warning")


def of_queue(queue: str | None) -> tuple[str, ...]:
    """The option that names that queue; nothing for all queues."""
    return () if queue is None else ("--queue", queue)


def resume_command(stack: Stack, queue: str | None) -> str:
    """What ends the pause of that queue, or of all."""
    return stack.agent_stack("resume", *of_queue(queue))


def _what(queue: str | None) -> str:
    return "all queues" if queue is None else f"queue {queue}"


def _name(stack: Stack, queue: str | None, verb: str) -> str:
    if queue is None:
        return EVERYTHING
    if queue not in stack.queues:
        raise CliError(
            f"{stack.name} serves no queue {queue}; it serves {', '.join(stack.queues)}",
            next=stack.agent_stack(verb, *of_queue(stack.queues[0])),
        )
    return queue


def _caller(stack: Stack) -> str:
    """Who the operator is for AWS, without account and path: the user, or the session of a role."""
    return str(stack.session.client("sts").get_caller_identity()["Arn"]).rpartition("/")[2]
