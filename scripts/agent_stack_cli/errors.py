"""What went wrong, in one line, and the command that helps next. No verb shows a traceback for what AWS answers."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def translated() -> Iterator[None]:
    """Turns what boto3 raises into `CliError`.

    Raises:
        CliError: the answer of AWS, or what is missing on this machine to ask AWS.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError) as error:
        raise CliError(f"AWS credentials are missing or have expired: {error}", next=LOG_IN) from None
    except ProfileNotFound as error:
        raise CliError(str(error), next="aws configure list-profiles") from None
    except NoRegionError:
        raise CliError("no AWS region is set", next="name it: --region eu-central-1, or set AWS_REGION") from None
    except (EndpointConnectionError, HTTPClientError) as error:
        raise CliError(
            f"AWS does not answer: {error}", next="check the region (aws configure get region) and the network"
        ) from None
    except ClientError as error:
        raise _of_answer(error) from None
    except BotoCoreError as error:
        raise CliError(f"{error}", next="aws configure list") from None


def code_of(error: ClientError) -> str:
    """AWS's code of an error, such as `AccessDenied`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_answer(error: ClientError) -> CliError:
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    if code in NOT_LOGGED_IN:
        return CliError(f"AWS does not accept the credentials ({code}): {said}", next=LOG_IN)
    if code in DENIED:
        return CliError(
            f"{error.operation_name} is not allowed: {said}",
            next="attach the policy that agent-stack policy read (or operate, or classes) prints",
        )
    return CliError(f"{error.operation_name}: {code}: {said}", next="agent-stack doctor")


def command(*words: str) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(words)
