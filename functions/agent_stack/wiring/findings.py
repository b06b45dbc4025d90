"""What an inspection finds, and how one look that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.domain.errors import AgentStackError

DRY_RUN_PASSED = "DryRunOperation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: which look found it, such as `token` or `class large`.
        severity: `error` when jobs do not run because of it, else `warning`.
        problem: what is wrong, in the words of the service that said so.
        effect: what happens because of it.
        remedy: what to do.
    """

    check: str
    severity: str
    problem: str
    effect: str
    remedy: str


def looked(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What that look finds. One that fails says so, and the others go on."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001  (a bug in one look hides no other's findings)
        yield Finding(
            check=check,
            severity="warning",
            problem=f"not examined: {type(error).__name__}: {error}"
            if isinstance(error, AgentStackError)
            else f"not examined: {type(error).__name__}",
            effect="What may be wrong there is not known.",
            remedy="Run doctor again; when it stays, see the dispatcher's log.",
        )


def refusal(ask: Callable[[], object]) -> str:
    """What AWS says against it; empty when it would do it."""
    try:
        ask()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "" if code == DRY_RUN_PASSED else f"{code}: {error.response['Error'].get('Message', '')}"
    except BotoCoreError as error:
        return str(error)
    return ""
