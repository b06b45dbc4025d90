"""What the operator decided, as values: bounds, graces and brakes."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from agent_stack.domain.budgets import Budget


class UnmatchedJobs(StrEnum):
    """What becomes of a job that asks for something nobody offers."""

    AUTO = "auto"  # finished where they would hide the jobs behind them for ever, else left alone
    IGNORE = "ignore"
    FAIL = "fail"


class NotificationLevel(StrEnum):
    """How much of a boot the build page tells, from the least to the most."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One deployment's decisions. All durations end in a comparison with a clock reading of the same cycle.

    Attributes:
        hold_on_failure: how long a VM whose boot failed stays up for a person; zero for not at all.
        vm_log_url: where people read a VM's log, up to the VM's id, which ends it; empty where VMs send none.
    """

    reservation: timedelta
    launch_deadline: timedelta
    unassigned_timeout: timedelta
    max_lifetime: timedelta
    cancel_grace: timedelta
    finish_grace: timedelta
    orphan_grace: timedelta
    max_instances: int
    max_vcpus: int | None
    instance_budget: Budget
    max_launches_per_minute: int
    max_launch_attempts: int
    max_terminations_per_cycle: int
    unmatched_jobs: UnmatchedJobs
    notification_level: NotificationLevel
    launch_enabled: bool
    observe_only: bool
    hold_on_failure: timedelta = timedelta()
    vm_log_url: str = ""

    @property
    def bindable_age(self) -> timedelta:
        """A VM older than this is no longer bound to a job.

        An unbound VM powers itself off at `unassigned_timeout`; the minute is what binding and the VM's next
        look into its mailbox may take together, so that a bound VM is never one about to leave.
        """
        return max(self.unassigned_timeout - timedelta(seconds=60), self.unassigned_timeout / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPolicy:
    """What the operator decided about every launch request to EC2.

    Attributes:
        volume_key_arn: ARN of the KMS key for the root volume; empty for the account's own.
        spot_max_price: USD for an hour of one spot VM; None for EC2's own limit, the on-demand price.
        cost_tags: `key=value` on everything that a launch makes, besides this stack's own tags.
    """

    volume_key_arn: str = ""
    spot_max_price: Decimal | None = None
    cost_tags: tuple[str, ...] = ()
