"""Reads one parameter, and says what is wrong in the operator's terms when that fails."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agent_stack.adapters.aws import AwsCalls, RefusedError, required_text
from agent_stack.domain.errors import ConfigurationError, NotPermittedError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

THROTTLES = frozenset({"ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyUpdates"})
SERVER_ERRORS = frozenset(
    {"InternalServerError", "InternalFailure", "ServiceUnavailable", "ServiceUnavailableException"}
)

_PROBLEMS = {
    "ParameterNotFound": "there is no such parameter in this region",
    "ParameterVersionNotFound": "there is no such version of the parameter",
    "AccessDeniedException": "{who} may not read it",
    "InvalidKeyId": "the key it is encrypted with cannot be used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """SSM parameters by name.

    Attributes:
        who: reads them, for the words of a refusal.
    """

    client: Callable[[], "SSMClient"]
    calls: AwsCalls
    who: str = "the function's role"

    def read(self, name: str, *, setting: str, remedy: str) -> str:
        """The parameter's value, decrypted.

        Args:
            setting: the operator's name for what holds the parameter's name.
            remedy: what to do when it is not there.

        Raises:
            ConfigurationError: it cannot be read as things are.
            TransientError: it may be read later.
        """
        value = self.find(name, setting=setting, remedy=remedy)
        if value is None:
            problem = _PROBLEMS["ParameterNotFound"]
            raise ConfigurationError(setting=setting, value=name, problem=problem, remedy=remedy)
        return value

    def find(self, name: str, *, setting: str, remedy: str) -> str | None:
        """As `read`; None when there is no such parameter."""
        try:
            return self.calls.call("GetParameter", partial(self._value, name), is_read=True)
        except RefusedError as error:
            if error.code == "ParameterNotFound":
                return None
            problem = _PROBLEMS.get(error.code, "").format(who=self.who) or f"{error.code}: {error.message}"
            kind = NotPermittedError if error.code == "AccessDeniedException" else ConfigurationError
            raise kind(setting=setting, value=name, problem=problem, remedy=remedy) from None

    def _value(self, name: str) -> str:
        answer = self.client().get_parameter(Name=name, WithDecryption=True)
        return required_text(answer["Parameter"]["Value"])
