"""The environment, read and checked once. A wrong setting stops the start, by name, value and remedy."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_stack.domain.budgets import Budget
from agent_stack.domain.classes import is_default_alias
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import Queue
from agent_stack.domain.measures import NAMESPACE
from agent_stack.domain.policy import LaunchPolicy, NotificationLevel, Policy, UnmatchedJobs
from agent_stack.domain.stack_keys import MAX_STACK_KEY_BYTES, StackKeyNames, short_key
from agent_stack.setting_kinds import Commas, CostTags, Minutes, MisfitError, Seconds, SpotPrice

QUEUE_PATTERN = r"^(_default|__default__|[A-Za-z0-9][A-Za-z0-9._-]*)$"
"""A queue's key, or an alias of the cluster's default queue."""

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
"""The domain of AWS's console, by partition. It takes names quoted twice, with a dollar for each percent."""

_PARAMETER_OF = {
    "BUILDKITE_TOKEN_PARAMETER": "AgentTokenParameter",
    "POWERTOOLS_LOG_LEVEL": "LogLevel",
    "SUBNET_IDS": "Subnets",
    "VM_LOG_GROUP": "VmLogs",
    "VOLUME_KEY_ARN": "KmsKeyArn",
}
"""Where the template's parameter is not the variable in another spelling."""


class Settings(BaseModel):
    """One field for each environment variable that template.yaml sets."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    deployment: str = Field(alias="DEPLOYMENT", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$")
    account_id: str = Field(alias="ACCOUNT_ID", pattern=r"^[0-9]{12}$")
    partition: str = Field(alias="PARTITION", pattern=r"^aws[a-z-]*$")
    region: str = Field(alias="AWS_REGION", min_length=1)
    ledger_table: str = Field(alias="LEDGER_TABLE", min_length=1)
    mailbox_table: str = Field(alias="MAILBOX_TABLE", min_length=1)
    tracker_wakes_url: str = Field(alias="TRACKER_WAKES_URL", pattern=r"^https?://[!-~]+$")
    classes_parameter: str = Field(default="", alias="CLASSES_PARAMETER")
    default_classes_parameter: str = Field(alias="DEFAULT_CLASSES_PARAMETER", min_length=1)
    launch_template_id: str = Field(alias="LAUNCH_TEMPLATE_ID", pattern=r"^lt-[0-9a-f]+$")
    launch_template_version: str = Field(alias="LAUNCH_TEMPLATE_VERSION", pattern=r"^[1-9][0-9]*$")
    program_sha256: str = Field(alias="PROGRAM_SHA256", pattern=r"^[0-9a-f]{64}$")
    subnet_ids: Annotated[tuple[str, ...], Commas] = Field(alias="SUBNET_IDS", min_length=1)
    volume_key_arn: str = Field(default="", alias="VOLUME_KEY_ARN")
    spot_max_price: SpotPrice | None = Field(default=None, alias="SPOT_MAX_PRICE")
    cost_tags: CostTags = Field(default=(), alias="COST_TAGS")

    token_parameter: str = Field(alias="BUILDKITE_TOKEN_PARAMETER", min_length=1)
    endpoint: str = Field(alias="BUILDKITE_ENDPOINT", pattern=r"^https?://[!\"$-&(->A-~]+$")
    dialect: Literal["auto", "current", "preview"] = Field(default="auto", alias="BUILDKITE_DIALECT")
    queue_keys: Annotated[tuple[Annotated[str, Field(pattern=QUEUE_PATTERN)], ...], Commas] = Field(
        alias="QUEUES", min_length=1
    )
    stack_key: str = Field(alias="STACK_KEY", pattern=r"^[A-Za-z0-9_-]+$")
    agent_credential: Literal["job-token", "agent-token"] = Field(default="job-token", alias="AGENT_CREDENTIAL")
    agent_tags: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@+-]+=[A-Za-z0-9._/:@+*-]+$")], ...], Commas
    ] = Field(default=(), alias="AGENT_TAGS")

    read_job_environment: bool = Field(default=False, alias="READ_JOB_ENVIRONMENT")
    unmatched_jobs: UnmatchedJobs = Field(default=UnmatchedJobs.AUTO, alias="UNMATCHED_JOBS")
    notification_level: NotificationLevel = Field(default=NotificationLevel.NORMAL, alias="NOTIFICATION_LEVEL")
    max_instances: int = Field(alias="MAX_INSTANCES", ge=1, le=100_000)
    max_vcpus: Annotated[int | None, AfterValidator(lambda vcpus: vcpus or None)] = Field(
        default=None, alias="MAX_VCPUS", ge=0
    )
    instance_burst: int = Field(alias="INSTANCE_BURST", ge=1)
    instances_per_second: float = Field(alias="INSTANCES_PER_SECOND", gt=0)
    max_launches_per_minute: int = Field(alias="MAX_LAUNCHES_PER_MINUTE", ge=1)
    max_terminations_per_cycle: int = Field(alias="MAX_TERMINATIONS_PER_TICK", ge=1)
    max_launch_attempts: int = Field(alias="MAX_LAUNCH_ATTEMPTS", ge=1, le=20)
    reservation: Seconds = Field(alias="RESERVATION_SECONDS", ge=timedelta(seconds=10), le=timedelta(hours=1))
    launch_deadline: Seconds = Field(alias="LAUNCH_DEADLINE_SECONDS", gt=timedelta())
    unassigned_timeout: Seconds = Field(alias="UNASSIGNED_TIMEOUT_SECONDS", ge=timedelta(seconds=2))
    max_lifetime: Seconds = Field(alias="MAX_LIFETIME_SECONDS", ge=timedelta(seconds=60))
    cancel_grace: Seconds = Field(alias="CANCEL_GRACE_SECONDS", ge=timedelta())
    finish_grace: Seconds = Field(alias="FINISH_GRACE_SECONDS", ge=timedelta())
    orphan_grace: Seconds = Field(alias="SWEEP_GRACE_SECONDS", gt=timedelta())
    hold_on_failure: Minutes = Field(
        default=timedelta(), alias="HOLD_ON_FAILURE_MINUTES", ge=timedelta(), le=timedelta(minutes=120)
    )
    idle_poll: Seconds = Field(alias="IDLE_POLL_SECONDS", ge=timedelta(seconds=0.2), le=timedelta(seconds=60))
    woken_by_jobs: bool = Field(default=False, alias="WOKEN_BY_JOBS")
    history_days: int = Field(alias="HISTORY_DAYS", ge=1, le=3650)
    terminate_on_delete: bool = Field(default=True, alias="TERMINATE_ON_DELETE")
    launch_enabled: bool = Field(default=True, alias="LAUNCH_ENABLED")
    observe_only: bool = Field(default=False, alias="OBSERVE_ONLY")

    vm_log_group: str = Field(default="", alias="VM_LOG_GROUP")
    log_level: str = Field(default="INFO", alias="POWERTOOLS_LOG_LEVEL")
    metrics_namespace: str = Field(default=NAMESPACE, alias="POWERTOOLS_METRICS_NAMESPACE")

    @model_validator(mode="after")
    def _they_fit_together(self) -> "Settings":
        for queue in self.queues:
            if len(queue.stack_key.encode()) > MAX_STACK_KEY_BYTES:
                raise MisfitError(
                    f"StackKey and queue key together are longer than {MAX_STACK_KEY_BYTES} bytes: "
                    f"{queue.stack_key}; shorten StackKey",
                    *("STACK_KEY", "QUEUES"),
                )
        if sum(is_default_alias(queue.key) for queue in self.queues) > 1:
            raise MisfitError(
                "it names the cluster's default queue twice: _default and __default__ are one queue; keep one", "QUEUES"
            )
        keys = [queue.stack_key for queue in self.queues]
        alike = [queue.key for queue in self.queues if keys.count(queue.stack_key) > 1]
        if alike:
            raise MisfitError(
                f"the stack keys of these queues are the same: {', '.join(alike)}; give all but one of them a stack of "
                "its own",
                "QUEUES",
            )
        if self.orphan_grace < self.unassigned_timeout - timedelta(seconds=60):
            raise MisfitError(
                "SweepGraceSeconds is so short that orphan cleanup would terminate VMs that can still get a job; "
                "make it at least UnassignedTimeoutSeconds - 60",
                *("SWEEP_GRACE_SECONDS", "UNASSIGNED_TIMEOUT_SECONDS"),
            )
        if self.token_parameter.startswith("arn:") and self.agent_credential == "agent-token":
            raise MisfitError(
                "AgentTokenParameter is an ARN and AgentCredential is agent-token, but VMs read it by its name in this "
                "account; set AgentCredential to job-token, or put the token into a parameter of this account",
                *("BUILDKITE_TOKEN_PARAMETER", "AGENT_CREDENTIAL"),
            )
        if self.dialect == "preview" and self.agent_credential == "job-token":
            raise MisfitError(
                "AgentCredential=job-token needs job acquisition tokens, which the preview dialect does not have; "
                "set AgentCredential to agent-token",
                *("BUILDKITE_DIALECT", "AGENT_CREDENTIAL"),
            )
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings, or the first thing that is wrong with them.

        Raises:
            ConfigurationError: names the setting as the template does, its value and what is expected.
        """
        try:
            return cls.model_validate({name: value for name, value in environment.items() if value != ""})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            cause = first.get("ctx", {}).get("error")
            variables = cause.variables if isinstance(cause, MisfitError) else tuple(map(str, first["loc"][:1]))
            raise ConfigurationError(
                setting=", ".join(map(_as_parameter, variables)),
                value=", ".join(environment.get(variable, "") for variable in variables),
                problem=first["msg"].removeprefix("Value error, "),
                remedy="Correct that parameter of the stack and deploy it again.",
            ) from None

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Each queue, with its stack key in the short form; the ledger may have another one on record."""
        keys = (QueueKey(key) for key in dict.fromkeys(self.queue_keys))
        return tuple(Queue(key=key, stack_key=short_key(self.stack_key, key)) for key in keys)

    @property
    def stack_key_names(self) -> StackKeyNames:
        """How this deployment names its stacks."""
        deployment = f"{self.partition}:{self.account_id}:{self.region}:{self.deployment}"
        return StackKeyNames(prefix=self.stack_key, deployment=deployment)

    @property
    def uses_job_tokens(self) -> bool:
        """Whether agents register with job acquisition tokens."""
        return self.agent_credential == "job-token"

    @property
    def instance_arn_prefix(self) -> str:
        """An instance's ARN but for its id."""
        return f"arn:{self.partition}:ec2:{self.region}:{self.account_id}:instance/"

    @property
    def vm_log_url(self) -> str:
        """The console's page of a VM's log stream, without the stream's name; empty where there is no such page."""
        domain = _CONSOLES.get(self.partition)
        if not self.vm_log_group or domain is None:
            return ""
        group = quote(quote(self.vm_log_group, safe=""), safe="").replace("%", "$")
        return (
            f"https://{self.region}.{domain}/cloudwatch/home?region={self.region}"
            f"#logsV2:log-groups/log-group/{group}/log-events/"
        )

    @property
    def instance_budget(self) -> Budget:
        """How many VMs EC2 grants this account."""
        return Budget(burst=self.instance_burst, per_second=self.instances_per_second)

    @property
    def policy(self) -> Policy:
        """What the operator decided: each field of `Policy` is the setting of the same name."""
        return Policy(**{decided.name: getattr(self, decided.name) for decided in fields(Policy)})

    @property
    def launch_policy(self) -> LaunchPolicy:
        """What every launch request says: each field of `LaunchPolicy` is the setting of the same name."""
        return LaunchPolicy(**{decided.name: getattr(self, decided.name) for decided in fields(LaunchPolicy)})


def _as_parameter(variable: str) -> str:
    """The template's parameter behind an environment variable."""
    return _PARAMETER_OF.get(variable, "".join(part.capitalize() for part in variable.split("_")))
