"""One request on its way through the model, and the answer it gets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from werkzeug import Request

from tests.simulator.buildkite.access_log import Actor
from tests.simulator.buildkite.operations import Endpoint
from tests.simulator.buildkite.rules import Rule


@dataclass(slots=True, kw_only=True)
class Trace:
    """What the access log will say about a request; filled in while it is served."""

    actor: Actor = field(default_factory=Actor)
    stack_key: str | None = None
    job_ids: tuple[str, ...] = ()
    broken: list[tuple[Rule, str]] = field(default_factory=list)

    def about(self, job_ids: Iterable[str]) -> None:
        """The request concerns these jobs."""
        self.job_ids = tuple(job_ids)

    def breaks(self, rule: Rule, detail: str) -> None:
        """The request broke a rule, though it may be answered all the same."""
        self.broken.append((rule, detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A routed request: the endpoint it reached, the path's arguments, and the moment it is served."""

    request: Request
    endpoint: Endpoint
    arguments: Mapping[str, str]
    now: datetime
    trace: Trace

    @property
    def stack_key(self) -> str:
        """The stack key in the path."""
        return self.arguments["stack_key"]

    @property
    def job_id(self) -> str:
        """The job id in the path."""
        return self.arguments["job_id"]

    @property
    def token(self) -> str | None:
        """The token of the Authorization header, or None without a well-formed one."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() or None if scheme == "Token" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model answers; `body` None stands for no body at all."""

    status: int = 200
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]
