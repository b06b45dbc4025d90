"""The vocabulary: states of jobs, runs, VMs and boot programs, each a closed set.

Every state on the wire has a name here; one we have never heard of becomes `UNRECOGNISED` and is inert.
"""

from enum import StrEnum
from typing import Self


class _WireState(StrEnum):
    """An enumeration read from someone else's answer."""

    @classmethod
    def parse(cls, wire: str) -> Self:
        """The member of that value, or UNRECOGNISED. Never raises: new states may appear at any time."""
        try:
            return cls(wire)
        except ValueError:
            return cls("UNRECOGNISED")


class JobState(_WireState):
    """A Buildkite job's state. Source: the job states of Buildkite's public API documentation."""

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
    PASSED = "passed"  # some listings name the result of a job that is finished
    FAILED = "failed"
    CANCELING = "canceling"
    CANCELED = "canceled"
    EXPIRED = "expired"
    TIMING_OUT = "timing_out"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    BROKEN = "broken"
    UNRECOGNISED = "UNRECOGNISED"


OURS = frozenset({JobState.SCHEDULED, JobState.RESERVED})
"""No agent has it: the stack's to provision."""

AGENTS = frozenset({JobState.ASSIGNED, JobState.ACCEPTED, JobState.RUNNING, JobState.TIMING_OUT})
"""An agent has it: hands off."""

CANCELLED = frozenset({JobState.CANCELING, JobState.CANCELED})

OVER = frozenset(
    {
        JobState.CANCELED,
        JobState.EXPIRED,
        JobState.TIMED_OUT,
        JobState.SKIPPED,
        JobState.BROKEN,
        JobState.FINISHED,
        JobState.PASSED,
        JobState.FAILED,
    }
)
"""It will never run again. `canceling` is not among them: with an agent, it is the agent's to end."""


class RunState(StrEnum):
    """Where one run of ours stands."""

    RESERVED = "reserved"  # recorded; no VM is bound to it
    BOOTING = "booting"  # bound to a VM; no agent has been seen
    RUNNING = "running"  # an agent on our VM has the job
    ENDED = "ended"


class Outcome(StrEnum):
    """How a run ended."""

    FINISHED = "finished"  # its agent ran the job, with any result
    CANCELLED = "cancelled"  # the job was cancelled before an agent had it
    FAILED = "failed"  # we finished the job with a reason
    RELEASED = "released"  # the job is no longer ours; nothing was done to it
    LOST = "lost"  # its VM went away under a running agent


class CredentialHolder(StrEnum):
    """Who holds the credential, and with it the job."""

    MAILBOX = "in_box"  # still in the mailbox: undecided
    VM = "vm"  # the VM took it
    TRACKER = "tracker"  # we took it back: no agent of ours can ever get the job with it
    UNKNOWN = "unknown"  # the mailbox could not be read


class VmState(_WireState):
    """An instance's state. Source: EC2's instance lifecycle."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNRECOGNISED = "UNRECOGNISED"


UP = frozenset({VmState.PENDING, VmState.RUNNING})

GOING = frozenset({VmState.SHUTTING_DOWN, VmState.TERMINATED, VmState.STOPPING, VmState.STOPPED})
"""It will not run a job any more. Until `terminated` or `stopped` its agent may still be speaking."""

GONE = frozenset({VmState.TERMINATED, VmState.STOPPED})


class BootStage(_WireState):
    """What the boot program says of itself, in the order in which it happens."""

    BOOTING = "booting"
    PREPARING = "preparing"
    AGENT_INSTALLING = "agent_installing"
    CREDENTIAL_TAKEN = "credential_taken"
    CREDENTIAL_LOST = "credential_lost"
    AGENT_STARTED = "agent_started"
    SPOT_NOTICE = "spot_notice"
    AGENT_EXITED = "agent_exited"
    FAILED = "failed"
    UNRECOGNISED = "UNRECOGNISED"


MAX_REISSUES = 3
"""Credentials that one VM may lose. Answers are lost once in thousands; a VM that loses four has another trouble."""

BOOT_FAILED = frozenset({BootStage.FAILED, BootStage.AGENT_EXITED})
"""No agent will come from this boot any more, if the boot program tells the truth."""


class CapacityType(StrEnum):
    """How EC2 sells the instance."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


class SpotStrategy(StrEnum):
    """How EC2 chooses among the spot pools of a request."""

    PRICE_CAPACITY_OPTIMIZED = "price-capacity-optimized"
    CAPACITY_OPTIMIZED = "capacity-optimized"
    CAPACITY_OPTIMIZED_PRIORITIZED = "capacity-optimized-prioritized"  # the operator's order, where capacity allows it
    LOWEST_PRICE = "lowest-price"


class Moment(StrEnum):
    """The points of a run's time line, in order."""

    SCHEDULED = "scheduled"  # the job was created
    RUNNABLE = "runnable"  # nothing held it any more; missing where that is the same moment
    RECORDED = "recorded"
    RESERVED = "reserved"
    LAUNCHED = "launched"
    BOUND = "bound"
    VM_RUNNING = "vm_running"
    AGENT_STARTED = "agent_started"
    JOB_RUNNING = "job_running"
    ENDED = "ended"
