"""Job states as they appear on the wire, and which state may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Every state a job can show. `PASSED` and `FAILED` are two more names of `FINISHED`, on the wire only.

    Source: the job states of the public REST and agent documentation, all lower case on the wire.
    """

    PENDING = "pending"
    WAITING = "waiting"
    WAITING_FAILED = "waiting_failed"
    BLOCKED = "blocked"
    BLOCKED_FAILED = "blocked_failed"
    UNBLOCKED = "unblocked"
    UNBLOCKED_FAILED = "unblocked_failed"
    LIMITING = "limiting"
    LIMITED = "limited"
    PLATFORM_LIMITING = "platform_limiting"
    PLATFORM_LIMITED = "platform_limited"
    SCHEDULED = "scheduled"
    RESERVED = "reserved"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    RUNNING = "running"
    FINISHED = "finished"
    PASSED = "passed"
    FAILED = "failed"
    CANCELING = "canceling"
    CANCELED = "canceled"
    EXPIRED = "expired"
    TIMING_OUT = "timing_out"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    BROKEN = "broken"


OVER = frozenset(
    {
        JobState.FINISHED,
        JobState.PASSED,
        JobState.FAILED,
        JobState.CANCELED,
        JobState.EXPIRED,
        JobState.TIMED_OUT,
        JobState.SKIPPED,
        JobState.BROKEN,
    }
)
"""States a job never leaves."""

FAILED_UNRUN = frozenset({JobState.WAITING_FAILED, JobState.BLOCKED_FAILED, JobState.UNBLOCKED_FAILED})
"""States of a job that never runs, because what it waited for failed. Only a person takes it out of them."""

WITH_AN_AGENT = frozenset(
    {
        JobState.ASSIGNED,
        JobState.ACCEPTED,
        JobState.RUNNING,
        JobState.CANCELING,
        JobState.TIMING_OUT,
    }
)
"""States in which an agent holds the job, so that only the agent (or its loss) ends it."""

ACQUIRABLE = frozenset({JobState.SCHEDULED, JobState.RESERVED})
"""States from which an agent may acquire the job."""

HELD = frozenset(
    {
        JobState.PENDING,
        JobState.WAITING,
        JobState.BLOCKED,
        JobState.LIMITED,
        JobState.PLATFORM_LIMITED,
    }
)
"""States in which a job waits for something and is not listed, and out of which `Buildkite.release` lets it."""

_NEVER_RAN = frozenset({JobState.CANCELED, JobState.EXPIRED, JobState.SKIPPED, JobState.BROKEN})
_RUNNABLE = frozenset({JobState.LIMITING, JobState.PLATFORM_LIMITING, JobState.SCHEDULED}) | _NEVER_RAN
_TAKEN = frozenset({JobState.ASSIGNED, JobState.ACCEPTED})
_CUT_SHORT = frozenset({JobState.FINISHED, JobState.CANCELING, JobState.TIMING_OUT})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.PENDING: _RUNNABLE | {JobState.WAITING, JobState.BLOCKED},
        # Finished without an agent: the job of a wait step.
        JobState.WAITING: _RUNNABLE | {JobState.WAITING_FAILED, JobState.BLOCKED, JobState.FINISHED},
        JobState.WAITING_FAILED: _NEVER_RAN,
        JobState.BLOCKED: _NEVER_RAN | {JobState.BLOCKED_FAILED, JobState.UNBLOCKED},
        JobState.BLOCKED_FAILED: _NEVER_RAN,
        JobState.UNBLOCKED: _RUNNABLE | {JobState.UNBLOCKED_FAILED, JobState.FINISHED},
        JobState.UNBLOCKED_FAILED: _NEVER_RAN,
        JobState.LIMITING: _NEVER_RAN | {JobState.LIMITED, JobState.SCHEDULED},
        JobState.LIMITED: _RUNNABLE,
        JobState.PLATFORM_LIMITING: _NEVER_RAN | {JobState.PLATFORM_LIMITED, JobState.SCHEDULED},
        JobState.PLATFORM_LIMITED: _RUNNABLE,
        JobState.SCHEDULED: _NEVER_RAN
        | _TAKEN
        | {JobState.RESERVED, JobState.FINISHED, JobState.TIMED_OUT, JobState.LIMITED},
        JobState.RESERVED: _NEVER_RAN
        | _TAKEN
        | {JobState.SCHEDULED, JobState.FINISHED, JobState.TIMED_OUT, JobState.LIMITED},
        JobState.ASSIGNED: _CUT_SHORT | {JobState.ACCEPTED},
        JobState.ACCEPTED: _CUT_SHORT | {JobState.RUNNING},
        JobState.RUNNING: _CUT_SHORT,
        JobState.CANCELING: frozenset({JobState.CANCELED}),
        JobState.TIMING_OUT: frozenset({JobState.TIMED_OUT, JobState.CANCELING}),
        **dict.fromkeys(OVER, frozenset[JobState]()),
    }
)
