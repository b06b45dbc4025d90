"""Every operation the service knows: its name, its paths in either dialect, its rate limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from werkzeug.routing import Map, Rule

from tests.simulator.buildkite.settings import BOTH_DIALECTS, Dialect, RateLimits

BASE_PATH = "/v3"


class Operation(StrEnum):
    """The operations of the Stacks API, those of the Agent API, and the documents by which others check tokens."""

    REGISTER_STACK = "register_stack"
    DEREGISTER_STACK = "deregister_stack"
    LIST_SCHEDULED_JOBS = "list_scheduled_jobs"
    RESERVE_JOBS = "reserve_jobs"
    GET_JOB = "get_job"
    GET_JOB_STATES = "get_job_states"
    FINISH_JOB = "finish_job"
    NOTIFY = "notify"
    ISSUE_ACQUISITION_TOKENS = "issue_acquisition_tokens"
    TOKEN_IDENTITY = "token_identity"

    AGENT_REGISTER = "agent_register"
    AGENT_CONNECT = "agent_connect"
    AGENT_HEARTBEAT = "agent_heartbeat"
    AGENT_PING = "agent_ping"
    AGENT_STOP = "agent_stop"
    AGENT_DISCONNECT = "agent_disconnect"
    AGENT_ACQUIRE_JOB = "agent_acquire_job"
    AGENT_GET_JOB = "agent_get_job"
    AGENT_START_JOB = "agent_start_job"
    AGENT_UPLOAD_CHUNK = "agent_upload_chunk"
    AGENT_HEADER_TIMES = "agent_header_times"
    AGENT_FINISH_JOB = "agent_finish_job"
    JOB_DATA_EXISTS = "job_data_exists"
    JOB_DATA_SET = "job_data_set"
    JOB_DATA_GET = "job_data_get"
    JOB_DATA_KEYS = "job_data_keys"
    JOB_ANNOTATE = "job_annotate"
    JOB_ARTIFACTS = "job_artifacts"
    JOB_OIDC_TOKEN = "job_oidc_token"

    OIDC_DISCOVERY = "oidc_discovery"
    OIDC_KEYS = "oidc_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method and path. `limit` names the field of `RateLimits`; None, as in the Agent API: unlimited."""

    operation: Operation
    method: str
    path: str
    dialects: frozenset[Dialect] = BOTH_DIALECTS
    limit: str | None = None
    base: str = BASE_PATH

    def requests_per_second(self, rates: RateLimits) -> int | None:
        """How often one stack may call this, or None when it is not limited."""
        if self.limit is None:
            return None
        limit: int = getattr(rates, self.limit)
        return limit


_CURRENT = frozenset({Dialect.CURRENT})
_PREVIEW = frozenset({Dialect.PREVIEW})


def _stacks_endpoints() -> Sequence[Endpoint]:
    """The ten Stacks API operations.

    Source: the specification for the preview dialect, the public Stacks API page for the current one.
    """
    op, stack = Operation, "/stacks/<stack_key>"
    job = f"{stack}/jobs/<job_id>"
    rows: Sequence[tuple[Operation, str, str, str, frozenset[Dialect]]] = (
        (op.REGISTER_STACK, "POST", "/stacks/register", "other", BOTH_DIALECTS),
        (op.DEREGISTER_STACK, "POST", f"{stack}/deregister", "other", BOTH_DIALECTS),
        (op.LIST_SCHEDULED_JOBS, "GET", f"{stack}/scheduled-jobs", "listing", _CURRENT),
        (op.LIST_SCHEDULED_JOBS, "GET", f"{stack}/scheduled_jobs", "listing", _PREVIEW),
        (op.RESERVE_JOBS, "PUT", f"{stack}/scheduled-jobs/batch-reserve", "reserve", _CURRENT),
        (op.RESERVE_JOBS, "PUT", f"{stack}/scheduled_jobs/batch_reserve", "reserve", _PREVIEW),
        (op.GET_JOB, "GET", job, "get_job", BOTH_DIALECTS),
        (op.GET_JOB_STATES, "POST", f"{stack}/jobs/get-states", "get_states", BOTH_DIALECTS),
        (op.FINISH_JOB, "POST", f"{job}/finish", "finish", BOTH_DIALECTS),
        (op.NOTIFY, "POST", f"{stack}/notifications", "notify", _CURRENT),
        (op.NOTIFY, "POST", f"{job}/stack_notifications", "notify", _PREVIEW),
        (op.ISSUE_ACQUISITION_TOKENS, "POST", f"{stack}/job-acquisition-tokens", "other", _CURRENT),
        (op.TOKEN_IDENTITY, "GET", "/token", "other", _CURRENT),
    )
    return tuple(
        Endpoint(operation=operation, method=method, path=path, limit=limit, dialects=dialects)
        for operation, method, path, limit, dialects in rows
    )


def _agent_endpoints() -> Sequence[Endpoint]:
    """The Agent API operations of an agent that acquires one job.

    Source: the agent's public source, its API client.
    """
    op, job = Operation, "/jobs/<job_id>"
    rows: Sequence[tuple[Operation, str, str]] = (
        (op.AGENT_REGISTER, "POST", "/register"),
        (op.AGENT_CONNECT, "POST", "/connect"),
        (op.AGENT_HEARTBEAT, "POST", "/heartbeat"),
        (op.AGENT_PING, "GET", "/ping"),
        (op.AGENT_STOP, "POST", "/stop"),
        (op.AGENT_DISCONNECT, "POST", "/disconnect"),
        (op.AGENT_ACQUIRE_JOB, "PUT", f"{job}/acquire"),
        (op.AGENT_GET_JOB, "GET", job),
        (op.AGENT_START_JOB, "PUT", f"{job}/start"),
        (op.AGENT_UPLOAD_CHUNK, "POST", f"{job}/chunks"),
        (op.AGENT_HEADER_TIMES, "POST", f"{job}/header_times"),
        (op.AGENT_FINISH_JOB, "PUT", f"{job}/finish"),
        (op.JOB_DATA_EXISTS, "POST", f"{job}/data/exists"),
        (op.JOB_DATA_SET, "POST", f"{job}/data/set"),
        (op.JOB_DATA_GET, "POST", f"{job}/data/get"),
        (op.JOB_DATA_KEYS, "POST", f"{job}/data/keys"),
        (op.JOB_ANNOTATE, "POST", f"{job}/annotations"),
        (op.JOB_ARTIFACTS, "POST", f"{job}/artifacts"),
        (op.JOB_ARTIFACTS, "PUT", f"{job}/artifacts"),
        (op.JOB_OIDC_TOKEN, "POST", f"{job}/oidc/tokens"),
    )
    return tuple(Endpoint(operation=operation, method=method, path=path) for operation, method, path in rows)


_PUBLIC = (
    Endpoint(operation=Operation.OIDC_DISCOVERY, method="GET", path="/.well-known/openid-configuration", base=""),
    Endpoint(operation=Operation.OIDC_KEYS, method="GET", path="/.well-known/jwks", base=""),
)
ENDPOINTS: Sequence[Endpoint] = (*_stacks_endpoints(), *_agent_endpoints(), *_PUBLIC)


@cache  # each simulated world asks for it, and making it takes milliseconds
def url_map(dialects: frozenset[Dialect]) -> Map:
    """The paths a service of these dialects answers; any other path is 404 there."""
    return Map(
        [
            Rule(endpoint.base + endpoint.path, methods=[endpoint.method], endpoint=endpoint)
            for endpoint in ENDPOINTS
            if endpoint.dialects & dialects
        ],
        strict_slashes=True,
        merge_slashes=False,
        redirect_defaults=False,
    )
