"""`agent-stack drain`: pauses, and waits until no VM runs a job any more; what an operator does before a removal."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial

from agent_stack.domain.holds import Hold
from agent_stack_cli import pauses, vms
from agent_stack_cli.output import Output
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

LOOK_SECONDS = 15
SETTLE_SECONDS = 6
"""A launch or a binding may still be sent within five seconds of a pause; before that, nothing found proves nothing."""

NOT_SHOWN_YET = timedelta(minutes=1)
"""EC2 may show a VM that late, so that a launch which was answered just now counts besides the VMs that are shown."""

SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is still there.

    Attributes:
        vms: those that live, and those that were given a job so lately that EC2 need not show them.
        launches: requests to EC2 that are not answered yet, or so lately that EC2 need not show their VMs.
        unreadable: runs or launches that this version cannot read, which may be some of either.
        held: VMs that stay up because their boot failed. Nobody waits for them.
        standby: idle standby VMs. They are not waited for: a pause keeps them, and no job comes to them.
    """

    vms: tuple[str, ...]
    launches: int
    unreadable: int
    held: tuple[Hold, ...] = ()
    standby: int = 0

    @property
    def words(self) -> str:
        """All of it in one line; empty when nothing is left."""
        parts = []
        if self.vms:
            listed = ", ".join(self.vms[:SHOWN]) + (", …" if len(self.vms) > SHOWN else "")
            parts.append(f"{len(self.vms)} VMs live: {listed}")
        if self.launches:
            parts.append(f"{self.launches} launches are not settled yet")
        if self.unreadable:
            parts.append(f"{self.unreadable} records cannot be read")
        return "; ".join(parts)


def nothing_lives(stack: Stack, end: Left) -> str:
    """What is left of a drained stack, in one line: nothing, or idle standby VMs and the VMs that are held."""
    idle = f" {end.standby} standby VMs are idle, and a removal ends them." if end.standby else ""
    if not end.held:
        return f"No VM of {stack.name} has a job.{idle}" if idle else f"No VM of {stack.name} lives."
    latest = max(hold.until for hold in end.held).astimezone(UTC)
    then = (
        "with TerminateOnDelete=false a removal fails while they are up"
        if stack.parameters.get("TerminateOnDelete") == "false"
        else "a removal ends them"
    )
    return (
        f"No VM of {stack.name} has a job.{idle} {len(end.held)} VMs whose boot failed stay up until "
        f"{latest:%Y-%m-%d %H:%M} UTC at the latest; {then}: {', '.join(hold.instance_id for hold in end.held)}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How waiting ended.

    Attributes:
        waited: for how many seconds.
    """

    drained: bool
    left: Left
    waited: float

    @property
    def unfinished(self) -> str:
        """What is still there, in one line."""
        still = self.left.words or "a launch that was sent before may still be on its way"
        return f"Not drained after {self.waited:.0f} s: {still}."


def drain(
    stack: Stack, *, queue: str | None, at_most_seconds: float, output: Output, sleep: Callable[[float], None]
) -> bool:
    """Whether nothing is left; false when the time is over.

    For one queue it waits for the VMs that have a job of it; for the whole stack for every VM with its tag. In both
    cases it waits for launches that were sent before the pause, too. It does not wait for VMs that are held because
    their boot failed, nor for idle standby VMs: no job is on them, and a removal ends them.

    Args:
        sleep: waits so many seconds.
    """
    done = pauses.pause(stack, queue=queue, reason="drain", verb="drain")
    say = output.line if not output.as_json else lambda _text: None
    if not output.as_json:
        pauses.show(done, stack, output)
    end = wait(
        partial(left, stack, queue),
        settle_seconds=SETTLE_SECONDS,
        at_most_seconds=at_most_seconds,
        say=say,
        sleep=sleep,
    )
    if not end.drained:
        say(end.unfinished)
        say(f"Next: {stack.agent_stack('drain', *pauses.of_queue(queue))}")
    if output.as_json:
        output.json(
            {
                "stack": stack.name,
                "drained": end.drained,
                "left": end.left.vms,
                "launches": end.left.launches,
                "unreadable": end.left.unreadable,
                "held": [hold.instance_id for hold in end.left.held],
                "standby": end.left.standby,
            }
        )
    if not end.drained or output.as_json:
        return end.drained
    resume = pauses.resume_command(stack, queue)
    if queue is None:
        say(f"{nothing_lives(stack, end.left)} It stays paused until: {resume}")
        say(f"To remove it: {stack.aws('cloudformation', 'delete-stack', '--stack-name', stack.name)}")
    else:
        say(f"No VM has a job of queue {queue}. It stays paused until: {resume}")
    return True


def wait(
    look: Callable[[], Left],
    *,
    settle_seconds: float,
    at_most_seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> End:
    """Waits until nothing is left, or the time is over.

    Args:
        settle_seconds: for how long launches may still be sent; nothing that is found before proves nothing.
        sleep: waits so many seconds.
    """
    waited, before = 0.0, ""
    while True:
        found = look()
        if not found.words and waited >= settle_seconds:
            return End(drained=True, left=found, waited=waited)
        if found.words and found.words != before:
            say(found.words)
        before = found.words
        if waited >= at_most_seconds:
            return End(drained=False, left=found, waited=waited)
        pause = LOOK_SECONDS if found.words else min(LOOK_SECONDS, settle_seconds - waited)
        pause = min(pause, max(0.1, at_most_seconds - waited))
        sleep(pause)
        waited += pause


def left(stack: Stack, queue: str | None) -> Left:
    """What is left of that queue, or of the stack.

    The ledger is read first, because a launch that is answered in between is a VM by the time EC2 is asked.
    """
    records, now = Records(stack=stack, consistent=True), stack.session.now()
    intents = [intent for intent in records.intents() if queue is None or queue in intent.queues]
    unreadable = len(records.unreadable)
    runs = [run for run in records.active() if queue in {None, run.queue_key}]
    if queue is not None:  # for the whole stack EC2 shows the VMs of unreadable runs, too
        unreadable = len(records.unreadable)
    holds = records.holds().vms  # one that cannot be read is no hold, and its VM counts
    shown = vms.shown(stack)
    launches = sum(
        not intent.spent or (bool(intent.vms) and now - intent.created_at < NOT_SHOWN_YET) for intent in intents
    )
    known, held = {machine.instance_id for machine in shown}, {hold.instance_id for hold in holds}
    bound = {run.binding.instance_id: now - run.state_entered_at for run in runs if run.binding is not None}
    alive = [machine.instance_id for machine in shown if machine.lives]
    idle = _idle(stack) & set(alive) - held
    waited_for = [vm for vm in alive if vm not in held | idle and (queue is None or vm in bound)]
    waited_for += [vm for vm, since in bound.items() if vm not in known and since < NOT_SHOWN_YET]
    return Left(
        vms=tuple(waited_for),
        launches=launches,
        unreadable=unreadable,
        held=tuple(sorted((hold for hold in holds if hold.instance_id in alive), key=lambda hold: hold.instance_id)),
        standby=len(idle),
    )


def _idle(stack: Stack) -> set[str]:
    """The standby VMs that no run has. Runs are read after the list: a VM comes off it when a run has it.

    Where a run cannot be read, any of them may be its VM, so none counts as idle.
    """
    listed: set[str] = {vm.instance_id for vm in Records(stack=stack, consistent=True).standby() if vm.closing is None}
    if not listed:
        return set()
    runs = Records(stack=stack, consistent=True)
    bound = {run.binding.instance_id for run in runs.active() if run.binding is not None}
    return set() if runs.unreadable else listed - bound
