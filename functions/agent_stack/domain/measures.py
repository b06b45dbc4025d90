"""What is measured: a closed set of names, for each combination of name and dimension is billed as a metric of its own.

The unit is in the name: `…Seconds`, `…Percent`, else a count. Nothing is written while it is zero, so that what never
happens costs nothing; the heartbeat says that somebody looked.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.launching import LaunchErrorClass
from agent_stack.domain.states import CapacityType, Moment, Outcome

NAMESPACE = "AgentStackEc2"


class Function(StrEnum):
    """Who measures."""

    DISPATCHER = "dispatcher"
    TRACKER = "tracker"


class Step(StrEnum):
    """The parts of a job's wait, in order; each ends with the moment of its name."""

    RESERVED = Moment.RESERVED.value  # since it became runnable: seen, admitted, recorded, reserved
    LAUNCHED = Moment.LAUNCHED.value  # EC2 was asked for its VM, or it got one that was there
    VM_RUNNING = Moment.VM_RUNNING.value  # EC2 shows the VM running
    AGENT_STARTED = Moment.AGENT_STARTED.value  # the boot program has started the agent
    JOB_RUNNING = Moment.JOB_RUNNING.value  # Buildkite shows an agent


class Activity(StrEnum):
    """What a VM that is up is doing."""

    BOOTING = "booting"
    WORKING = "working"
    UNBOUND = "unbound"  # no run is bound to it: just launched, or left over
    STANDBY = "standby"  # it waits for a job


class Quota(StrEnum):
    """The vCPU quotas that are measured by name: those that nearly every deployment can meet, and the rest together."""

    STANDARD = "standard"
    STANDARD_SPOT = "standard-spot"
    G_VT = "g-vt"
    G_VT_SPOT = "g-vt-spot"
    OTHER = "other"


def quota_of(bucket: Bucket) -> Quota:
    """The value of the dimension for a quota such as `spot:standard`."""
    capacity_type, _, group = bucket.partition(":")
    name = f"{group}-spot" if capacity_type == CapacityType.SPOT else group
    return Quota(name) if name in set(Quota) else Quota.OTHER


class Metric(StrEnum):
    """Every name that this deployment writes."""

    # Is it alive?
    CYCLES_COMPLETED = "CyclesCompleted"
    CYCLE_SECONDS = "CycleSeconds"
    ERRORS = "Errors"  # lines of level ERROR, and cycles in which such a failure lasts

    # How long do jobs wait, and where does the time go?
    JOBS_WAITING = "JobsWaiting"
    OLDEST_WAITING_SECONDS = "OldestWaitingSeconds"
    WAIT_SECONDS = "WaitSeconds"
    STEP_SECONDS = "StepSeconds"

    # How many VMs?
    VMS = "Vms"
    MAXIMUM_USED_PERCENT = "MaximumUsedPercent"
    VMS_ASKED_FOR = "VmsRequested"
    VMS_LAUNCHED = "VmsLaunched"
    VCPU_SECONDS = "VcpuSeconds"  # what VMs that were up used of what is billed by time and size

    # What do standby VMs bring?
    STANDBY_HITS = "StandbyHits"  # jobs that got one
    STANDBY_MISSES = "StandbyMisses"  # jobs whose standby VM did not take them
    STANDBY_SAVED_SECONDS = "StandbySavedSeconds"  # of each such job, against the cold starts of the same process
    STANDBY_VM_SECONDS = "StandbyVmSeconds"  # what they cost: how long VMs stood by
    STANDBY_SUSPENDED = "StandbySuspended"  # classes that have none for a while

    # What fails, and why?
    MIRROR_HITS = "MirrorHits"  # git mirrors that VMs had when their agents started
    MIRROR_MISSES = "MirrorMisses"  # listed ones that they did not have
    MIRROR_AGE_SECONDS = "MirrorAgeSeconds"  # of the oldest seed that such a VM used

    LAUNCH_ERRORS = "LaunchErrors"
    POOLS_UNAVAILABLE = "PoolsUnavailable"
    BREAKERS_OPEN = "BreakersOpen"
    QUOTA_VCPUS = "QuotaVcpus"  # vCPUs of this deployment under a quota that is full
    JOBS_REQUEUED = "JobsRequeued"
    JOBS_FAILED = "JobsFailedByStack"
    RUNS_ENDED = "RunsEnded"
    SPOT_INTERRUPTIONS = "SpotInterruptions"  # EC2 took the VM back while an agent had the job
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105  (a name)
    TOKENS_NOT_ISSUED = "TokensNotIssued"
    QUEUES_CLOGGED = "QueuesClogged"
    JOBS_UNMATCHED = "JobsUnmatched"  # no class fits them

    # What is left of the budgets?
    STACKS_API_THROTTLED = "StacksApiThrottled"
    STACKS_API_DELAYED = "StacksApiDelayed"
    STACKS_API_USED_PERCENT = "StacksApiUsedPercent"
    EC2_THROTTLED = "Ec2Throttled"
    EC2_BUDGET_USED_PERCENT = "Ec2BudgetUsedPercent"

    # Which VMs were left over?
    ORPHANS_TERMINATED = "OrphansTerminated"
    VMS_PAST_LIFETIME = "VmsPastLifetime"
    ORPHAN_CLEANUP_LIMITED = "OrphanCleanupLimited"
    VMS_ABSENT = "VmsAbsent"  # of active runs, and EC2 does not show them
    VMS_IMPAIRED = "VmsImpaired"  # they fail EC2's status checks

    @property
    def unit(self) -> str:
        """CloudWatch's word for it."""
        return next((unit for unit in ("Seconds", "Percent") if self.endswith(unit)), "Count")


SPLIT: Mapping[Metric, tuple[str, type[StrEnum]]] = {
    Metric.CYCLES_COMPLETED: ("Function", Function),
    Metric.CYCLE_SECONDS: ("Function", Function),
    Metric.STEP_SECONDS: ("Step", Step),
    Metric.VMS: ("Activity", Activity),
    Metric.LAUNCH_ERRORS: ("ErrorClass", LaunchErrorClass),
    Metric.RUNS_ENDED: ("Outcome", Outcome),
    Metric.QUOTA_VCPUS: ("Quota", Quota),
}
"""The one dimension that a metric has besides Deployment, and the closed set of its values."""

DEPLOYMENT = "Deployment"


def dimensions(deployment: str) -> Iterator[tuple[Metric, Mapping[str, str]]]:
    """Every metric that one deployment can be billed for."""
    for metric in Metric:
        if metric not in SPLIT:
            yield metric, {DEPLOYMENT: deployment}
            continue
        name, values = SPLIT[metric]
        for value in values:
            yield metric, {DEPLOYMENT: deployment, name: value.value}
