"""What to run after a migration: a trial on a queue of its own first, then a share of the old stack's queue."""

from dataclasses import dataclass
from pathlib import Path

from agent_stack_cli.commands import Commands
from agent_stack_cli.migration.plan import Migration

TRIAL_VMS, FIRST_SHARE = 2, 10
"""How many VMs the new stack may have at first, and when it begins to take jobs of the old stack's queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSteps:
    """Commands in the order in which they are run.

    Attributes:
        queue: the trial's; the operator makes it.
        trial: no job of the old stack's queue is touched.
        share: both stacks serve the old stack's queue.
    """

    queue: str
    trial: tuple[str, ...]
    share: str


def next_steps(migration: Migration, parameters: Path, classes: Path, commands: Commands) -> NextSteps:
    """The commands for these files."""
    given = migration.parameters
    served = given.get("Queues", "default")
    queue = f"{served.lstrip('_')}-next"  # _default is a word of Queues; a queue's key begins with no underscore
    of_trial = (f"Queues={queue}", f"MaxInstances={TRIAL_VMS}")
    deploy = commands.deploy(migration.new_stack, "--parameters", str(parameters), *of_trial)
    put = ("ssm", "put-parameter", "--type", "String", "--name", given["ClassesParameter"])
    most = min(FIRST_SHARE, int(given.get("MaxInstances", FIRST_SHARE)))
    return NextSteps(
        queue=queue,
        trial=(
            commands.aws(*put, "--value", f"file://{classes}"),
            commands.agent_stack("doctor", "--parameters", str(parameters)),
            f"{deploy} --dry-run",
            deploy,
        ),
        # Without UnmatchedJobs=ignore the new stack may fail jobs whose tags only the old stack's agents have.
        share=commands.deploy(
            migration.new_stack, "--yes", f"Queues={served}", f"MaxInstances={most}", "UnmatchedJobs=ignore"
        ),
    )
