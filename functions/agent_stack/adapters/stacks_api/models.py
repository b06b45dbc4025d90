"""Answers of the API as models. Both dialects' shapes are read; unknown fields are ignored.

A job that cannot be read costs only itself, never its page.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job, ScheduledPage

MAX_RULES = 100  # more than any pipeline writes; bounds the work an untrusted job can ask of matching
MAX_TEXT = 512


MAX_TOKEN_CHARACTERS = 4096  # a job acquisition token may be a JWT

ValueT = TypeVar("ValueT")


def _emptied(value: Any) -> Any:  # noqa: ANN401  (whatever the answer holds; pydantic judges it)
    """Go writes an empty list or map as null."""
    return () if value is None else value


def _emptied_map(value: Any) -> Any:  # noqa: ANN401  (see above)
    return {} if value is None else value


def _if_readable(value: Any, read: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401  (see above)
    """What can be read, else None: a detail that nothing depends on costs no job its place."""
    try:
        return read(value)
    except ValidationError:
        return None


def _page_info(value: Any) -> Any:  # noqa: ANN401  (see above)
    """Where the page stands; one that cannot be read leaves the jobs of the page, and there may be others behind it."""
    try:
        return PageInfo.model_validate({} if value is None else value)
    except ValidationError:
        return PageInfo(has_next_page=True)


def _texts(value: Any) -> Any:  # noqa: ANN401  (see above)
    """Without what is no text, where there are some: it names no job of ours, and says nothing of the others."""
    texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    return texts or _emptied(value)


Items = Annotated[list[ValueT], BeforeValidator(_emptied)]
"""A list, which may be null where it is empty."""

Entries = Annotated[dict[str, ValueT], BeforeValidator(_emptied_map)]
"""A map, which may be null where it is empty."""

Ids = Annotated[list[str], BeforeValidator(_texts)]
"""A list of ids, which may be null where it is empty."""

Detail = Annotated[ValueT | None, WrapValidator(_if_readable)]
"""Something that a job may have and that starts it no sooner or later."""


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Answer(BaseModel):
    """Any answer: unknown fields are ignored, and what was sent never shows in an error."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ListedJob(Answer):
    """A scheduled job, flat (preview) or nested (current)."""

    id: str = Field(pattern=r"^[!-~]{1,200}$")  # what can stand in a path, a key and a log line
    scheduled_at: datetime
    runnable_at: Detail[datetime] = None
    priority: Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)] = 0
    agent_query_rules: Items[str] = Field(default_factory=list, max_length=MAX_RULES)
    pipeline_slug: Detail[str] = Field(
        default=None, validation_alias=AliasChoices("pipeline_slug", AliasPath("pipeline", "slug"))
    )
    pipeline_id: Detail[str] = Field(
        default=None, validation_alias=AliasChoices("pipeline_id", AliasPath("pipeline", "uuid"))
    )
    build_number: Detail[int] = Field(
        default=None, validation_alias=AliasChoices("build_number", AliasPath("build", "number"))
    )
    build_branch: Detail[str] = Field(
        default=None, validation_alias=AliasChoices("build_branch", AliasPath("build", "branch"))
    )
    step_key: Detail[str] = Field(default=None, validation_alias=AliasChoices("step_key", AliasPath("step", "key")))

    def to_job(self, queue: QueueKey) -> Job:
        """The domain's job."""
        return Job(
            job_id=JobId(self.id),
            queue_key=queue,
            scheduled_at=_utc(self.scheduled_at),
            runnable_at=None if self.runnable_at is None else _utc(self.runnable_at),
            priority=self.priority,
            rules=tuple(rule[:MAX_TEXT] for rule in self.agent_query_rules),
            pipeline_slug=(self.pipeline_slug or "")[:MAX_TEXT],
            pipeline_id=(self.pipeline_id or "")[:MAX_TEXT],
            build_number=self.build_number,
            build_branch=(self.build_branch or "")[:MAX_TEXT],
            step_key=self.step_key[:MAX_TEXT] if self.step_key else None,
        )


class PageInfo(Answer):
    """Where a page stands."""

    has_next_page: Annotated[bool, BeforeValidator(lambda value: False if value is None else value)] = False
    end_cursor: str | None = None


class ClusterQueue(Answer):
    """The queue listed. Clients have met both names of the pause flag."""

    dispatch_paused: bool = Field(validation_alias=AliasChoices("dispatch_paused", "paused"))


class Listing(Answer):
    """One page of scheduled jobs; the jobs themselves are read one by one."""

    jobs: Items[Any]
    page_info: Annotated[PageInfo, BeforeValidator(_page_info)] = PageInfo()
    cluster_queue: ClusterQueue

    def to_page(self, queue: QueueKey, *, can_page: bool, unreadable: Callable[[str, str], None]) -> ScheduledPage:
        """The domain's page.

        Args:
            can_page: the dialect takes a cursor.
            unreadable: told the id (or "") of each job that cannot be read, and why.
        """
        jobs: list[Job] = []
        for raw in self.jobs:
            try:
                jobs.append(ListedJob.model_validate(raw).to_job(queue))
            except (ValidationError, OverflowError, ValueError) as error:
                name = raw.get("id", "") if isinstance(raw, Mapping) else ""
                unreadable(str(name)[:MAX_TEXT], problem(error))
        cursor = self.page_info.end_cursor if self.page_info.has_next_page and can_page else None
        return ScheduledPage(
            jobs=tuple(jobs),
            paused=self.cluster_queue.dispatch_paused,
            next_cursor=cursor,
            pageable=can_page,
            more=self.page_info.has_next_page,
        )


class Reservation(Answer):
    """Which of the jobs asked for are ours."""

    reserved: Ids
    not_reserved: Ids = Field(default_factory=list)


class States(Answer):
    """Job states by id; unknown ids are absent."""

    states: Entries[Detail[str]]


class Details(Answer):
    """One job's environment and command."""

    id: str
    env: Entries[Detail[str]] = Field(default_factory=dict)
    command: str | None = None


class NotificationError(Answer):
    """Why some notifications of a batch were refused, by their place in it."""

    error: str | None = ""
    indexes: Items[int] = Field(default_factory=list)


class Notifications(Answer):
    """The answer to a batch of notifications."""

    errors: Items[NotificationError] = Field(default_factory=list)


class IssuedToken(Answer):
    """One job's acquisition token. Never printed."""

    job_uuid: str
    job_acquisition_token: str = Field(repr=False, pattern=r"^[A-Za-z0-9._-]+$", max_length=MAX_TOKEN_CHARACTERS)


class IssuedTokens(Answer):
    """The answer to a request for tokens; each token is read by itself."""

    job_acquisition_tokens: Items[Any] = Field(repr=False)
    not_issued: Items[Any] = Field(default_factory=list)


class Identity(Answer):
    """What the token we were given stands for; every field may be missing."""

    uuid: str | None = None
    description: str | None = None
    organization_slug: str | None = None
    cluster_name: str | None = None
    organization_queue_key: str | None = None


def problem(error: Exception) -> str:
    """What is wrong with an answer, by field; without the values, which may hold anything."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'the whole'}: {first['msg']}"
    return type(error).__name__
