"""The port `Secrets`: the agent token, from an SSM parameter, kept in memory."""

from agent_stack.adapters.ssm.parameters import Parameters
from agent_stack.domain.errors import ConfigurationError

SETTING = "AgentTokenParameter"


class SsmSecrets:
    """Holds the token once it was read; its repr shows the parameter's name only."""

    def __init__(self, *, parameters: Parameters, name: str) -> None:
        self._parameters = parameters
        self._name = name
        self._token: str | None = None

    def __repr__(self) -> str:
        return f"SsmSecrets(name={self._name!r})"

    def agent_token(self, *, fresh: bool = False) -> str:
        """See the port."""
        if self._token is None or fresh:
            self._token = self._read()
        return self._token

    def _read(self) -> str:
        token = self._parameters.read(
            self._name,
            setting=SETTING,
            remedy="Create it as a SecureString that holds an agent token of your Buildkite cluster.",
        ).strip(" \t\n\v\f\r")  # as infra/vm/values.sh reads it, too
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigurationError(
                setting=SETTING,
                value=self._name,
                problem="the parameter holds no agent token",
                remedy="Put the token itself into it: one word, no quotes.",
            )
        return token
