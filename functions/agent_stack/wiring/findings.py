"""How one look of an inspection that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.findings import Finding, not_examined

LATER = "Run doctor again; when it stays, see the dispatcher's log."
DRY_RUN_PASSED = "DryRunOperation"


def looked(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What that look finds. One that fails says so, and the others go on."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001  (a bug in one look hides no other's findings)
        known = isinstance(error, AgentStackError)
        why = f"{type(error).__name__}: {error}" if known else type(error).__name__
        yield not_examined(check, why, LATER)


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
