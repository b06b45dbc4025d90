"""How one look of `doctor` that fails does not stop the others."""

from collections.abc import Callable, Iterable, Iterator

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.findings import Finding, not_examined
from agent_stack_cli.errors import CliError, remedy_of, words_of


def looked(check: str, look: Callable[[], Iterable[Finding]], again: str) -> Iterator[Finding]:
    """What that look finds; where AWS does not let it look, that is a finding, too.

    The inspection's own `looked` catches bugs as well, because a function cannot show a traceback to a person.

    Args:
        check: what it looks at.
        again: the command to run once more when AWS answers.
    """
    try:
        yield from look()
    except (ClientError, BotoCoreError, AgentStackError) as error:
        yield not_examined(check, words_of(error), remedy_of(error, again))
    except CliError as error:
        yield not_examined(check, error.message, error.next)
