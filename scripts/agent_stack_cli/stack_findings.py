"""What CloudFormation, the ledger and the dispatcher's memory show of a stack."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from agent_stack.adapters.ssm.json_document import read_json
from agent_stack.domain.breakers import ACCOUNT
from agent_stack.domain.classes import base_name
from agent_stack.domain.findings import Finding
from agent_stack.domain.identifiers import ClassName
from agent_stack_cli.classes import deployed
from agent_stack_cli.errors import CliError
from agent_stack_cli.pauses import resume_command
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

SILENT_AFTER = timedelta(minutes=3)

STILL_FAILS = timedelta(minutes=10)
"""A class whose last launch failed as a whole is tried again within a minute; what is older is about no job now."""

QUOTA_CODES = frozenset({"VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"})
_SUPPORT = "Open a case with AWS Support: docs/operations/new-aws-account.md."
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(QUOTA_CODES, "Ask AWS to raise the quota (Service Quotas, Amazon EC2), or lower MaxInstances."),
    "MaxFleetCountExceeded": (
        "Ask AWS Support to enable EC2 Fleet for this account: docs/operations/new-aws-account.md."
    ),
    "PendingVerification": _SUPPORT,
    "Blocked": _SUPPORT,
    "OptInRequired": _SUPPORT,
}
"""What to do about codes that no dry run shows, because it checks permissions only."""


def deployment(stack: Stack) -> Iterator[Finding]:
    """A deployment that did not take effect as a whole, and LaunchEnabled or ObserveOnly as it stops launches."""
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
    """Launches that an operator has paused."""
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
    """Functions that never ran, or whose last invocation was stopped at work.

    One that ended in order leaves no lease, as each does between two invocations; its alarm rings when none comes.
    """
    now = stack.session.now()
    for holder in Records(stack=stack).holders():
        function = holder.function
        if not holder.fence:
            problem = f"The {function} never ran."
        elif holder.until is not None and now - holder.until > SILENT_AFTER:
            problem = f"The {function} has run no cycle since {holder.until:%H:%M:%S} UTC"
        else:
            continue
        yield Finding(
            check=function,
            severity="error",
            problem=problem,
            effect="No job gets a VM." if function == "dispatcher" else "The tracker follows no VM and no job.",
            remedy="Look at its log: " + stack.aws("logs", "tail", stack.log_group(function), "--since", "10m"),
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
                    _code(breaker.message),
                    "Correct what the words name; docs/operations/alarms.md#account-refused says how.",
                )
                if name == ACCOUNT
                else f"Correct the class or what the words name; see: {validate}",
            )
    broken = {name for name, breaker in memory.breakers.items() if breaker.until > now} | {
        base_name(ClassName(key.partition("|")[0]))
        for key, backoff in memory.backoffs.items()
        if backoff.failures and now - backoff.until < STILL_FAILS
    }
    said = {name: words for name, words in memory.last_error_by_class.items() if _code(words) in REMEDIES}
    known = _classes(stack) if said else None
    for name, words in said.items():
        if known is not None and name not in known:
            continue  # the document has it no more, and the memory forgets it only by newer words
        holds = not broken.isdisjoint({name, ACCOUNT})
        then = "jobs of the class wait, or are finished at LaunchDeadlineSeconds."
        yield Finding(
            check=f"class {name}",
            severity="error" if holds and _code(words) not in QUOTA_CODES else "warning",
            problem=f"Last EC2 error: {words}",
            effect="J" + then[1:] if holds else f"If it still holds, {then}",
            remedy=REMEDIES[_code(words)],
        )


def _code(words: str) -> str:
    return words.partition(":")[0]


def _classes(stack: Stack) -> Collection[str] | None:
    """The names in the class document; None for one that cannot be read, which other looks say."""
    try:
        return frozenset(read_json(deployed(stack).text)["classes"])
    except (ValueError, TypeError, KeyError, CliError):
        return None
