"""What `doctor` and `classes validate` find, and how one look that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack_cli.errors import CliError, remedy_of, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; `severity` is `error` when jobs do not run because of it, else `warning`."""

    check: str
    severity: str
    problem: str
    effect: str
    remedy: str


def looked(check: str, look: Callable[[], Iterable[Finding]], again: str) -> Iterator[Finding]:
    """What that look finds; where AWS does not let it look, that is a finding, too.

    Args:
        check: what it looks at.
        again: the command to run once more when AWS answers.
    """
    try:
        yield from look()
    except (ClientError, BotoCoreError) as error:
        yield _not_examined(check, words_of(error), remedy_of(error, again))
    except CliError as error:
        yield _not_examined(check, error.message, error.next)


def _not_examined(check: str, problem: str, remedy: str) -> Finding:
    return Finding(
        check=check,
        severity="warning",
        problem=f"not examined: {problem}",
        effect="What may be wrong there is not known.",
        remedy=remedy,
    )
