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
    CYCLES_COMPLETED = "CyclesCompleted"  # reconcile cycles that ended; silence means that the function does not work
    CYCLE_SECONDS = "CycleSeconds"  # how long a cycle took
    ERRORS = "Errors"  # lines of level ERROR, and cycles in which such a failure lasts

    # How long do jobs wait, and where does the time go?
    JOBS_WAITING = "JobsWaiting"  # jobs that a class matches and that have no agent yet
    OLDEST_WAITING_SECONDS = "OldestWaitingSeconds"  # how long the oldest of them has waited
    WAIT_SECONDS = "WaitSeconds"  # of each job, from runnable until an agent has it
    STEP_SECONDS = "StepSeconds"  # the same, by step

    # How many VMs?
    VMS = "Vms"  # VMs that EC2 shows up, by what they do
    MAXIMUM_USED_PERCENT = "MaximumUsedPercent"  # share of MaxInstances that is up
    VMS_ASKED_FOR = "VmsRequested"  # VMs that the dispatcher asked EC2 for
    VMS_LAUNCHED = "VmsLaunched"  # VMs that EC2 gave
    VCPU_SECONDS = "VcpuSeconds"  # vCPUs times seconds of the VMs that were up

    # What do standby VMs bring?
    STANDBY_HITS = "StandbyHits"  # jobs that got a standby VM
    STANDBY_MISSES = "StandbyMisses"  # jobs whose standby VM did not take them
    STANDBY_SAVED_SECONDS = "StandbySavedSeconds"  # of each job on a standby VM, against a cold start
    STANDBY_VM_SECONDS = "StandbyVmSeconds"  # how long VMs stood by
    STANDBY_SUSPENDED = "StandbySuspended"  # classes whose standby VMs are suspended

    # What fails, and why?
    MIRROR_HITS = "MirrorHits"  # git mirrors that VMs had when their agents started
    MIRROR_MISSES = "MirrorMisses"  # listed git mirrors that they did not have
    MIRROR_AGE_SECONDS = "MirrorAgeSeconds"  # age of the oldest seed that such a VM used

    LAUNCH_ERRORS = "LaunchErrors"  # errors in EC2's answers to launches, by class of error
    POOLS_UNAVAILABLE = "PoolsUnavailable"  # pools that EC2 has no capacity in, for a cooldown
    BREAKERS_OPEN = "BreakersOpen"  # classes that EC2 refuses and that are not asked for
    QUOTA_VCPUS = "QuotaVcpus"  # vCPUs of this deployment under a quota that is full
    JOBS_REQUEUED = "JobsRequeued"  # jobs whose VM failed and that get another VM
    JOBS_FAILED = "JobsFailedByStack"  # jobs that the stack finished with a reason instead of running them
    RUNS_ENDED = "RunsEnded"  # runs that ended, by outcome
    SPOT_INTERRUPTIONS = "SpotInterruptions"  # jobs whose spot VM EC2 took back while an agent had them
    TOKEN_REFUSED = "TokenRefused"  # answers 401 to the agent token  # noqa: S105  (a name)
    TOKENS_NOT_ISSUED = "TokensNotIssued"  # job acquisition tokens that Buildkite did not issue
    QUEUES_CLOGGED = "QueuesClogged"  # queues whose whole listing will not start here
    JOBS_UNMATCHED = "JobsUnmatched"  # jobs that no class matches

    # What is left of the budgets?
    STACKS_API_THROTTLED = "StacksApiThrottled"  # answers 429 of Buildkite
    STACKS_API_DELAYED = "StacksApiDelayed"  # requests that the client held back to stay below Buildkite's limits
    STACKS_API_USED_PERCENT = "StacksApiUsedPercent"  # share of Buildkite's limits that is used
    EC2_THROTTLED = "Ec2Throttled"  # throttled answers of EC2
    EC2_BUDGET_USED_PERCENT = "Ec2BudgetUsedPercent"  # share of the instance budget (InstanceBurst) that is used

    # Which VMs were left over?
    ORPHANS_TERMINATED = "OrphansTerminated"  # VMs without a job that orphan cleanup terminated
    VMS_PAST_LIFETIME = "VmsPastLifetime"  # VMs that are up after MaxLifetimeSeconds
    ORPHAN_CLEANUP_LIMITED = "OrphanCleanupLimited"  # VMs that orphan cleanup spared: they were too many
    VMS_ABSENT = "VmsAbsent"  # VMs of active runs that EC2 does not show
    VMS_IMPAIRED = "VmsImpaired"  # VMs that fail EC2's status checks

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
