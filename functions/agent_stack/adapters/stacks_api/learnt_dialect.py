"""The dialect that the service speaks, learnt from the first path of a dialect that it knows."""

from collections.abc import Callable
from typing import TypeVar

from agent_stack.adapters.stacks_api.dialect import Dialect
from agent_stack.domain.errors import NotFoundError
from agent_stack.ports import Telemetry

ResultT = TypeVar("ResultT")


class LearntDialect:
    """Shared by all that one client asks. Learnt once, and never changed after."""

    def __init__(self, known: Dialect | None, telemetry: Telemetry) -> None:
        self.known = known
        self._telemetry = telemetry

    def in_either(self, send: Callable[[Dialect], ResultT]) -> ResultT:
        """Send in the known dialect; else in whichever the service knows the path of, and that one is learnt.

        Raises:
            NotFoundError: the service knows neither path, or not what the path names.
        """
        if self.known is not None:
            return send(self.known)
        try:
            answer, dialect = send(Dialect.CURRENT), Dialect.CURRENT
        except NotFoundError:
            answer, dialect = send(Dialect.PREVIEW), Dialect.PREVIEW
        self._learnt(dialect)
        return answer

    def _learnt(self, dialect: Dialect) -> None:
        if self.known is None:
            self.known = dialect
            self._telemetry.info("api_version_detected", api_version=dialect)
