"""One error tree, split by what the caller does about it. A class keeps what the classes above it promise.

Adapters translate what the world says into these; nothing else escapes an adapter. A message names what was
asked, what came back and what to do; it never holds a credential.
"""


class AgentStackError(Exception):
    """Anything this package raises on purpose."""


class TransientError(AgentStackError):
    """It passes by itself: look again later. What may be asked then, the two below say; a read may be asked again."""


class RetryError(TransientError):
    """Nothing happened: the same request may be asked again, later."""


class NotAskedError(RetryError):
    """There was no time to send the request."""


class LaunchPausedError(RetryError):
    """An operator paused launches before this request was sent again; nothing of it was done."""


class UnknownOutcomeError(TransientError):
    """The request may have taken effect; find out before asking anything else."""


class WaitError(AgentStackError):
    """Someone else must act first (quota, account, expired token): stop asking, say so, look again later."""


class GiveUpError(AgentStackError):
    """This item does not succeed until something is changed; others are not concerned."""


class NotFoundError(GiveUpError):
    """The thing asked for does not exist (any more)."""


class StackNotFoundError(NotFoundError):
    """Buildkite does not know the stack key: it was never registered, or withdrawn since."""


class ConfigurationError(GiveUpError):
    """A setting is wrong.

    Args:
        setting: its name, as the operator knows it.
        value: what it holds now, cropped; never a credential.
        remedy: what to change.
    """

    def __init__(self, *, setting: str, value: str, problem: str, remedy: str) -> None:
        super().__init__(f"{setting}={value[:120]!r}: {problem}. {remedy}")
        self.setting = setting
        self.problem = problem
        self.remedy = remedy


class NotPermittedError(ConfigurationError):
    """AWS says that our role may not. A change of the role takes some seconds until every service knows it."""


class BugError(AgentStackError):
    """An invariant of ours does not hold. Stop this item and tell us."""
