"""What CloudFormation, the ledger and the dispatcher's memory show of a stack."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from agent_stack.domain.breakers import ACCOUNT
from agent_stack_cli.findings import Finding
from agent_stack_cli.pauses import resume_command
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

SILENT_AFTER = timedelta(minutes=3)

QUOTA_CODES = frozenset({"VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"})
_SUPPORT = "Open a case with AWS Support: docs/deploy.md#a-new-aws-account."
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(QUOTA_CODES, "Ask AWS to raise the quota (Service Quotas, Amazon EC2), or lower MaxInstances."),
    "MaxFleetCountExceeded": "Ask AWS Support to enable EC2 Fleet for this account: docs/deploy.md#a-new-aws-account.",
    "PendingVerification": _SUPPORT,
    "Blocked": _SUPPORT,
    "OptInRequired": _SUPPORT,
}
"""What to do about codes that no dry run shows, because it checks permissions only."""


def deployment(stack: Stack) -> Iterator[Finding]:
    """What CloudFormation and the parameters say."""
    if "FAILED" in stack.status or "ROLLBACK" in stack.status:
        yield Finding(
            check="stack",
            severity="warning",
            problem=f"CloudFormation shows {stack.status}",
            effect="The last deployment did not take effect as a whole.",
            remedy=stack.aws("cloudformation", "describe-stack-events", "--stack-name", stack.name),
        )
    for name, wrong, effect in (
        ("LaunchEnabled", "false", "Nothing is launched; jobs wait."),
        ("ObserveOnly", "true", "The functions decide and log, and change nothing: no job gets a VM."),
    ):
        if stack.parameters.get(name) == wrong:
            right = "true" if wrong == "false" else "false"
            yield Finding(
                check=name,
                severity="warning",
                problem=f"{name} is {wrong}",
                effect=effect,
                remedy=stack.deploy(f"{name}={right}"),
            )


def paused(stack: Stack) -> Iterator[Finding]:
    """What an operator has paused."""
    for name, pause in Records(stack=stack).pauses().paused.items():
        queue = None if name == "*" else name
        yield Finding(
            check="pause" if queue is None else f"pause of queue {name}",
            severity="warning",
            problem=f"Launches are paused since {pause.words}",
            effect="Nothing is launched; jobs wait.",
            remedy=resume_command(stack, queue),
        )


def liveness(stack: Stack) -> Iterator[Finding]:
    """Functions that run no cycle."""
    now = stack.session.now()
    for holder in Records(stack=stack).holders():
        silent = holder.until is not None and now - holder.until > SILENT_AFTER
        if silent or not holder.fence:
            since = "ever" if holder.until is None else f"since {holder.until:%H:%M:%S} UTC"
            yield Finding(
                check=holder.function,
                severity="error",
                problem=f"The {holder.function} has run no cycle {since}"
                if silent
                else f"The {holder.function} never ran.",
                effect="No job gets a VM." if holder.function == "dispatcher" else "Nobody follows VMs and jobs.",
                remedy="Look at its log: "
                + stack.aws("logs", "tail", stack.log_group(holder.function), "--since", "10m"),
            )


def learnt(stack: Stack) -> Iterator[Finding]:
    """What EC2 refused lately, as the dispatcher remembers it."""
    now, memory = stack.session.now(), Records(stack=stack).memory()
    validate = stack.agent_stack("classes", "validate")
    for name, breaker in memory.breakers.items():
        if breaker.until > now:
            what = "every class" if name == ACCOUNT else f"class {name}"
            yield Finding(
                check=what,
                severity="error",
                problem=f"EC2 refuses {what}: {breaker.message}",
                effect="Its jobs are finished with these words after a minute."
                if breaker.definite
                else "Its jobs wait; the dispatcher tries again within minutes.",
                remedy=REMEDIES.get(
                    breaker.message.partition(":")[0],
                    "Correct what the words name; docs/operations.md#account-refused says how.",
                )
                if name == ACCOUNT
                else f"Correct the class or what the words name; see: {validate}",
            )
    for name, words in memory.last_error_by_class.items():
        code = words.partition(":")[0]
        if code in REMEDIES:
            yield Finding(
                check=f"class {name}",
                severity="warning" if code in QUOTA_CODES else "error",
                problem=f"EC2 said last: {words}",
                effect="Jobs of the class wait, or are finished at LaunchDeadlineSeconds.",
                remedy=REMEDIES[code],
            )
