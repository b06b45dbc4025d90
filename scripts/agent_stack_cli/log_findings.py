"""What the functions' logs of the last minutes mean for jobs, and what to do."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from agent_stack.domain.findings import Finding
from agent_stack_cli import lines
from agent_stack_cli.errors import PROGRAM
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

LOOK_BACK = timedelta(minutes=15)

REMEDIES: Mapping[str, tuple[str, str]] = {
    "stack_not_registered": (
        "Buildkite did not take the stack key of a queue: no job of it gets a VM.",
        "Compare Queues with the cluster's queues, and choose another StackKey when this one is taken.",
    ),
    "tokens_not_issued": (
        "Buildkite issues no job acquisition tokens: VMs that wait for one power themselves off.",
        "Set AgentCredential=agent-token when the organisation does not have them; else see Buildkite's status page.",
    ),
    "queue_not_listed": ("Jobs of a queue are not seen.", "See the error; compare Queues with the cluster's queues."),
    "class_broken": (
        "Jobs of that class wait, and their build pages say why; other classes go on.",
        "Correct the class that class_name names, in the class document.",
    ),
    "classes_not_refreshed": (
        "The changed class document is not in force; the last good one is.",
        f"Correct it: {PROGRAM} classes validate FILE.",
    ),
    "launch_partial": (
        "EC2 gave fewer VMs than the dispatcher asked for.",
        "See the code: docs/reference/ec2-codes.md says what each is about.",
    ),
    "account_refused": (
        "EC2 launches nothing for this account: no job gets a VM.",
        "See docs/operations/alarms.md#account-refused.",
    ),
    "subnet_gone": (
        "Nothing is launched in that subnet.",
        "Take it out of Subnets, or put one back.",
    ),
    "cycle_failed": ("Cycles end early: jobs get their VMs late or not at all.", "See the error."),
    "job_failed_by_stack": ("Jobs were finished without a VM.", "See the reason; then retry the jobs at Buildkite."),
}
"""What a logged error means for jobs, and what to do. Others are shown with their own words."""

OVER_WITH: Mapping[str, tuple[str, str]] = {
    "queue_not_listed": ("queue_listed_again", "queue"),
    "stack_not_registered": ("stack_registered", "queue"),
    "subnet_gone": ("subnet_usable", "subnet"),
}
"""Errors that are logged once: which later message of the same function says that they are over, and about what."""


def logged(stack: Stack) -> Iterator[Finding]:
    """The latest line of each error that is not over."""
    since = stack.session.now() - LOOK_BACK
    ends = lines.mentioning(stack, [message for message, _ in OVER_WITH.values()], since=since)
    latest: dict[tuple[str, str], lines.Line] = {}
    for line in lines.errors(stack, since=since):
        if not _is_over(line, ends):
            latest.setdefault((line.function, line.message), line)
    for (function, message), line in latest.items():
        effect, remedy = REMEDIES.get(
            message, ("See docs/reference/logs.md.", "See docs/reference/logs.md#messages-that-need-an-operator.")
        )
        yield Finding(
            check=f"log of the {function}",
            severity="error",
            problem=f"{message}: {line.said}",
            effect=effect,
            remedy=remedy,
        )


JUST_RAN = timedelta(minutes=2)
"""Since a lease that ended unreleased: its function ran until then, and had more to write than one that goes on."""


def unlogged(stack: Stack) -> Iterator[Finding]:
    """Functions that run and whose lines are not in their log group."""
    now = stack.session.now()
    for holder in Records(stack=stack).holders():
        runs = holder.until is not None and holder.until > now - JUST_RAN
        if runs and not lines.has_any(stack, holder.function, since=now - LOOK_BACK):
            yield Finding(
                check=f"logs of the {holder.function}",
                severity="warning",
                problem=f"The {holder.function} runs, and nothing of it is in its log group "
                f"{stack.log_group(holder.function)}",
                effect="Alarms and the dashboard see nothing of it, and errors are not found.",
                remedy="Allow its role logs:CreateLogStream and logs:PutLogEvents there. A permissions boundary or an "
                "organisation's policy may deny it; deploying again restores the template's own role.",
            )


def _is_over(line: lines.Line, ends: list[lines.Line]) -> bool:
    end, about = OVER_WITH.get(line.message, ("", ""))
    return any(
        later.message == end and later.at >= line.at and later.facts.get(about) == line.facts.get(about)
        for later in ends
        if later.function == line.function
    )
