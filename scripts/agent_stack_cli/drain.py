"""`agent-stack drain`: pauses, and waits until no VM runs a job any more; what an operator does before a removal."""

from collections.abc import Callable

from agent_stack_cli import pauses, vms
from agent_stack_cli.errors import command
from agent_stack_cli.output import Output
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

LOOK_SECONDS = 15
SHOWN = 10


def drain(
    stack: Stack, *, queue: str | None, at_most_seconds: float, output: Output, sleep: Callable[[float], None]
) -> bool:
    """Whether nothing is left; false when the time is over.

    For one queue it waits for the VMs that have a job of it; for the whole stack for every VM with its tag.
    It does not wait for VMs that are held because their boot failed: no job is on them, and a removal ends them.

    Args:
        sleep: waits so many seconds.
    """
    done = pauses.pause(stack, queue=queue, reason="drain")
    say = output.line if not output.as_json else lambda _text: None
    if not output.as_json:
        pauses.show(done, output)
    waited, before = 0.0, -1
    while left := _left(stack, queue):
        if len(left) != before:
            more = ", …" if len(left) > SHOWN else ""
            say(f"{len(left)} VMs live: {', '.join(left[:SHOWN])}{more}")
            before = len(left)
        if waited >= at_most_seconds:
            say(f"Still {len(left)} after {waited:.0f} s.")
            say(f"Next: {command('agent-stack', 'drain', '--stack', stack.name)}")
            if output.as_json:
                output.json({"stack": stack.name, "drained": False, "left": left})
            return False
        pause = min(LOOK_SECONDS, max(0.1, at_most_seconds - waited))
        sleep(pause)
        waited += pause
    if output.as_json:
        output.json({"stack": stack.name, "drained": True, "left": []})
    elif queue is None:
        say(f"No VM of {stack.name} lives. It stays paused until agent-stack resume.")
        say(f"To remove it: {command('aws', 'cloudformation', 'delete-stack', '--stack-name', stack.name)}")
    else:
        say(f"No VM has a job of queue {queue}. It stays paused until agent-stack resume --queue {queue}.")
    return True


def _left(stack: Stack, queue: str | None) -> list[str]:
    held = {hold.instance_id for hold in Records(stack=stack).holds().vms}
    machines = [machine.instance_id for machine in vms.living(stack) if machine.instance_id not in held]
    if queue is None:
        return machines
    of_queue = {
        run.binding.instance_id
        for run in Records(stack=stack).active()
        if run.queue_key == queue and run.binding is not None
    }
    return [instance_id for instance_id in machines if instance_id in of_queue]
