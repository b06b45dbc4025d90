"""What kind of EC2 is simulated: how long things take, what there is, and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from tests.simulator.cloud.images import Image
from tests.simulator.cloud.quotas import Workload
from tests.simulator.cloud.refusals import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet."""

    zone: str
    free_addresses: int = 1_000_000
    vpc: str = "vpc-0123456789abcdef0"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTemplateData:
    """What a launch template gives every instance.

    Attributes:
        tags: of instances.
        tags_of: of other resources by kind, such as `volume`.
        role: ARN of the role in its instance profile; empty for none.
        metadata_tags: whether an instance finds its tags in its metadata.
    """

    user_data: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)
    tags_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ()
    role: str = ""
    http_tokens: str = "optional"
    metadata_tags: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A token bucket as EC2 publishes it."""

    burst: float
    refill_per_second: float


REQUEST_BUDGETS: Mapping[str, Budget] = {
    "CreateFleet": Budget(burst=50, refill_per_second=5),
    "RunInstances": Budget(burst=5, refill_per_second=2),
    "TerminateInstances": Budget(burst=100, refill_per_second=5),
    "CreateTags": Budget(burst=100, refill_per_second=10),
}
READ_BUDGET = Budget(burst=100, refill_per_second=20)
LAUNCHES = Budget(burst=1_000, refill_per_second=2)
TERMINATIONS = Budget(burst=1_000, refill_per_second=20)
"""Instances, whatever the request that names them."""
"""Source: the request throttling page of the EC2 developer guide, account and region defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about the simulated EC2 that a test may choose.

    Attributes:
        pending: the shortest and longest time from launch to `running`.
        pending_of: the same for single instance types.
        shutting_down: from the request to `terminated`.
        describe_lag: how long a fresh instance is missing from answers.
        terminated_shown: how long a terminated one stays in them.
        capacity: free instances by pool `capacity_type:type:zone`; a pool that is not named has plenty.
        quotas: ceilings in vCPUs by bucket `capacity_type:group`, such as `{"on-demand:standard": 5}`; a bucket that is
            not named has none. `quotas.BUCKETS` lists the groups.
        quota_answer: what a request above a ceiling gets: as many instances as fit, or none.
        workloads: what else in the account takes vCPUs of buckets, and when.
        not_offered: types that a zone does not have, as `type:zone`.
        images: what is special about images; one that is not named is available, for every architecture, with the
            root device `/dev/xvda`.
        parameters: image ids by the SSM parameter that names them; None: every parameter names an image.
        unknown_images: images no launch finds.
        locked_images: images whose key the launch may not use; what is launched from one never runs.
        refusals: what EC2 refuses, how, and when.
        fleet_sees_template_tags: whether IAM, asked for CreateFleet, knows tags that only the launch template gives.
            Not documented; the policies that AWS manages suggest that it does not, for network interfaces.
    """

    subnets: Mapping[str, Subnet]
    pending: tuple[timedelta, timedelta] = (timedelta(seconds=5), timedelta(seconds=19))
    pending_of: Mapping[str, timedelta] = field(default_factory=dict)
    shutting_down: timedelta = timedelta(seconds=30)
    describe_lag: timedelta = timedelta()
    terminated_shown: timedelta = timedelta(hours=1)
    spot_notice: timedelta = timedelta(minutes=2)
    capacity: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    quota_answer: Literal["part", "nothing"] = "part"
    workloads: tuple[Workload, ...] = ()
    not_offered: frozenset[str] = frozenset()
    images: Mapping[str, Image] = field(default_factory=dict)
    parameters: Mapping[str, str] | None = None
    unknown_images: frozenset[str] = frozenset()
    locked_images: frozenset[str] = frozenset()
    refusals: tuple[Refusal, ...] = ()
    fleet_sees_template_tags: bool = True
    throttled: bool = True
    region: str = "eu-central-1"
    account_id: str = "123456789012"
