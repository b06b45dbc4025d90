"""The documented rules a client can break, and how a request that breaks one is turned down."""

from collections.abc import Mapping
from enum import StrEnum


class Rule(StrEnum):
    """One documented rule each; breaking one is counted as a violation."""

    ACCEPT = "a request accepts application/json"
    JSON_BODY = "the body is a JSON object, sent as application/json"
    REQUIRED_FIELD = "required fields are present and of the documented type"
    STACK_KEY = "a stack key is 1 to 80 bytes of letters, digits, '_' and '-'"
    STACK_TYPE = "a stack's type is one of the known ones"
    METADATA = "metadata is strings to strings within the published sizes"
    QUERY = "query parameters are those documented, within their ranges"
    IDS_PER_REQUEST = "at most 1,000 job ids in a request"
    RESERVATION_TIME = "a reservation lasts 1 to 3,600 seconds"
    TOKEN_LIFETIME = "a job acquisition token lives 1 to 3,600 seconds"
    DETAIL_LENGTH = "a detail is no longer than published"
    FINISH_ONCE = "a job is finished at most once"
    NOTIFICATIONS_PER_REQUEST = "at most 1,000 notifications in a request"
    NOTIFICATIONS_PER_JOB = "a job carries no more notifications than published"
    NOTIFICATION_TIME = "a notification's time lies between the job's creation and now"
    NOTIFICATION_LATE = "no notification for a job that finished over 300 seconds ago"
    RATE_LIMIT = "requests stay within the published rate"
    PATH_ENCODING = "ids are percent-encoded in paths, a '.' as '%2E'"
    CHUNK = "a log chunk is gzip, of the stated size and within the maximum"
    OIDC_LIFETIME = "an OIDC token lives at most two hours"
    OIDC_CLAIM = "an OIDC token holds claims that are documented"
    AGENT_REGISTRATION = "an agent registers with a name and tags of the form key=value"


class Refusal(Exception):
    """A request is turned down.

    Args:
        status: HTTP status of the answer.
        message: The `message` of the answer; never holds a credential.
        rule: The documented rule the request broke, or None when it broke none (a race, say).
        json: Whether the answer is JSON.
        extra: Further fields of the answer's body.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        rule: Rule | None = None,
        extra: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        json: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.rule = rule
        self.json = json
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
