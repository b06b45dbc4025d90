"""What went wrong, in one line, and the command that helps next. No verb shows a traceback for what AWS answers."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

from agent_stack.domain.errors import AgentStackError, NotPermittedError

NOT_LOGGED_IN = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "AuthFailure",
        "RequestExpired",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
LOG_IN = "aws sso login, or set AWS_PROFILE to a profile that works: aws configure list-profiles"

PROGRAM = os.environ.get("AGENT_STACK_PROGRAM") or "agent-stack"
"""How this command is started here. A checkout has no `agent-stack` on its path, and its scripts say so."""

ATTACH = f"attach the policy that {PROGRAM} policy read (or operate, or classes) prints"


class CliError(Exception):
    """A verb cannot go on.

    Attributes:
        message: what is wrong, in one line.
        next: the command, or the step, that helps.
    """

    def __init__(self, message: str, *, next: str) -> None:  # noqa: A002  (as it is shown: "Next: …")
        super().__init__(message)
        self.message = message
        self.next = next


def read_text(path: Path, *, next: str) -> str:  # noqa: A002  (as it is shown: "Next: …")
    """The text in a file.

    Raises:
        CliError: it cannot be read.
    """
    try:
        return as_text(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {_why(error)}", next=next) from None


def is_there(path: Path) -> bool:
    """Whether something has this name. Not one that no file can have, or one that the operator may not look for."""
    return os.path.exists(path)  # noqa: PTH110  (Path.exists raises for both, before Python 3.14)


def read_standard_input(*, next: str) -> str:  # noqa: A002  (as it is shown: "Next: …")
    """The text that is piped in.

    Raises:
        CliError: it cannot be read.
    """
    try:
        piped = getattr(sys.stdin, "buffer", None)
        return as_text(piped.read()) if piped is not None else sys.stdin.read()
    except (OSError, UnicodeDecodeError, ValueError, AttributeError) as error:  # it may be closed, or not there at all
        raise CliError(f"the standard input cannot be read: {_why(error)}", next=next) from None


def as_text(content: bytes) -> str:
    """The text of a file in UTF-8; in UTF-16 where its first bytes say so, as PowerShell writes files."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in UTF-8 (byte {error.start + 1}); save it as UTF-8"
    return str(error)


@contextmanager
def translated(*options: str) -> Iterator[None]:
    """Turns what boto3 raises into `CliError`.

    Args:
        options: stack, region and profile as they were given; the next command keeps them.

    Raises:
        CliError: the answer of AWS, or what is missing on this machine to ask AWS.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError) as error:
        raise CliError(f"AWS credentials are missing or have expired: {error}", next=_log_in(options)) from None
    except ProfileNotFound as error:
        raise CliError(str(error), next="aws configure list-profiles") from None
    except NoRegionError:
        raise CliError("no AWS region is set", next="name it: --region eu-central-1, or set AWS_REGION") from None
    except (EndpointConnectionError, HTTPClientError) as error:
        raise CliError(
            f"AWS does not answer: {error}", next="check the region (aws configure get region) and the network"
        ) from None
    except ClientError as error:
        raise _of_answer(error, options) from None
    except BotoCoreError as error:
        raise CliError(f"{error}", next="aws configure list") from None
    except AgentStackError as error:  # from the functions' own adapters, which ask as the operator
        raise CliError(f"{error}", next=ATTACH if _denies(error) else command(PROGRAM, "doctor", *options)) from None


def code_of(error: ClientError) -> str:
    """AWS's code of an error, such as `AccessDenied`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def words_of(error: ClientError | BotoCoreError | AgentStackError) -> str:
    """What AWS said against it, or why it was not asked, in one line."""
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {code_of(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return str(error)


def remedy_of(error: ClientError | BotoCoreError | AgentStackError, again: str) -> str:
    """What helps against it.

    Args:
        again: the command to run once more where only time helps.
    """
    code = code_of(error) if isinstance(error, ClientError) else ""
    if code in DENIED or _denies(error):
        return f"{ATTACH}, then: {again}"
    return f"{LOG_IN}, then: {again}" if code in NOT_LOGGED_IN else f"Wait a minute, then: {again}"


def _denies(error: Exception) -> bool:
    """Whether an adapter says that the operator's role may not."""
    return isinstance(error, NotPermittedError) or any(code in str(error) for code in DENIED)


def _log_in(options: Sequence[str]) -> str:
    if "--profile" not in options:
        return LOG_IN
    return command("aws", "sso", "login", *options[options.index("--profile") :][:2])


def _of_answer(error: ClientError, options: Sequence[str]) -> CliError:
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    if code in NOT_LOGGED_IN:
        return CliError(f"AWS does not accept the credentials ({code}): {said}", next=_log_in(options))
    if code in DENIED:
        return CliError(f"{error.operation_name} is not allowed: {said}", next=ATTACH)
    return CliError(f"{error.operation_name}: {code}: {said}", next=command(PROGRAM, "doctor", *options))


def command(*words: str) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(words)
