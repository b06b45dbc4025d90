"""Money: what was counted, at what it is sold for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tests.cost.play import Usage, Worked, idle, work
from tests.cost.prices import Prices
from tests.cost.template import Stack, custom_metrics, stack, volume_gb
from tests.cost.units import Weights, weigh
from tests.simulator.simulation.costs import FULL_CORE_MIB

HOURS_OF_A_MONTH = 730
MINUTES_OF_A_MONTH = HOURS_OF_A_MONTH * 60
SHORTEST_SECONDS = 60
"""What EC2 bills at least: instance, volume and address."""

MEMORY_MIB = (256, 512, 1024)
JOB_MINUTES = (1, 5, 20)
PLAYED_JOB_MINUTES = 5
PUSH = (("BuildkiteEventBusName", "aws.partner/buildkite.com/organisation/bus"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A way of hearing of jobs: parameters of the template, and the settings that come of them."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]

    @property
    def stack(self) -> Stack:
        """The template with these parameters."""
        return stack(**dict(self.parameters))


def modes() -> Sequence[Mode]:
    """The template's default poll, a slower one, and push."""
    default = stack().idle_poll_seconds
    polls = [
        Mode(
            name=f"polling each {seconds:g} s",
            parameters=(("IdlePollSeconds", f"{seconds:g}"),),
            settings=(("IDLE_POLL_SECONDS", f"{seconds:g}"), ("WOKEN_BY_JOBS", "false")),
        )
        for seconds in (default, 10.0)
    ]
    return (*polls, Mode(name="push", parameters=PUSH, settings=(("WOKEN_BY_JOBS", "true"),)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """USD by what it is for; `functions and tables` first."""

    functions: float
    tables: float
    others: Mapping[str, float]

    @property
    def core(self) -> float:
        """Functions and tables."""
        return self.functions + self.tables

    @property
    def total(self) -> float:
        """All of it."""
        return self.core + sum(self.others.values())


@cache
def _weights() -> Weights:
    return weigh()


@cache
def _idle(mode: Mode) -> Usage:
    return idle(dict(mode.settings), _weights())


@cache
def _worked(mode: Mode) -> Worked:
    return work(dict(mode.settings), _weights(), job_minutes=PLAYED_JOB_MINUTES)


class Costs:
    """What this deployment costs at a region's prices."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices

    @property
    def idle_usage(self) -> Mapping[str, Usage]:
        """An idle hour by mode."""
        return {mode.name: _idle(mode) for mode in modes()}

    @property
    def worked(self) -> Mapping[str, Worked]:
        """Jobs by mode."""
        return {mode.name: _worked(mode) for mode in modes()}

    def idle_month(self, mode: Mode, memory_mib: Mapping[str, int] | None = None) -> Bill:
        """A month without a job."""
        deployed, usage = mode.stack, _idle(mode)
        months = MINUTES_OF_A_MONTH / usage.minutes
        return self._bill(usage, memory_mib or deployed.memory_mib, months, self._standing(deployed, usage.metrics))

    def thousand_jobs(self, mode: Mode) -> Bill:
        """The stack's own part of a thousand jobs, over what it costs idle."""
        deployed, worked, rest = mode.stack, _worked(mode), _idle(mode)
        resting = self._bill(rest, deployed.memory_mib, worked.usage.minutes / rest.minutes, {})
        busy = self._bill(worked.usage, deployed.memory_mib, 1.0, {})
        times = 1_000 / worked.jobs
        return Bill(
            functions=(busy.functions - resting.functions) * times,
            tables=(busy.tables - resting.tables) * times,
            others={
                **{name: (usd - resting.others[name]) * times for name, usd in busy.others.items()},
                "records and logs kept": self._stored_reason(deployed, worked.usage.log_lines * times),
            },
        )

    def thousand_vms(self, job_minutes: float) -> Mapping[str, float]:
        """What EC2 and its surroundings bill for a thousand jobs of that length, one VM each; extras apart."""
        seconds = max(SHORTEST_SECONDS, job_minutes * 60 + self.prices.assumed["vm_seconds_beside_job"])
        return {name: usd * 1_000 for name, usd in self._vm(seconds, volume_gb()).items()}

    def elastic_month(self) -> Mapping[str, float]:
        """An idle month of the Elastic CI Stack's scaler."""
        usd, assumed = self.prices.usd, self.prices.assumed
        seconds = assumed["elastic_lambda_seconds_per_minute"] * MINUTES_OF_A_MONTH
        return {
            "function": seconds * assumed["elastic_lambda_gb"] * usd["lambda_x86_gb_second"]
            + MINUTES_OF_A_MONTH * usd["lambda_request"],
            "custom metrics": assumed["elastic_custom_metrics"] * usd["custom_metric_month"],
        }

    def elastic_tail(self) -> float:
        """One VM of the Elastic CI Stack that idles until it may go."""
        return sum(
            self._vm(self.prices.assumed["elastic_idle_seconds"], self.prices.assumed["elastic_volume_gb"]).values()
        )

    def forgotten(self) -> Mapping[str, float]:
        """What else a thousand jobs may cost, where it applies."""
        usd, assumed = self.prices.usd, self.prices.assumed
        return {
            f"the least that 1,000 VMs cost: {SHORTEST_SECONDS} s each are billed": 1_000
            * sum(self._vm(SHORTEST_SECONDS, volume_gb()).values()),
            "AWS Config, where it records continuously": 1_000 * assumed["config_items_per_vm"] * usd["config_item"],
            "a NAT gateway's data, in private subnets": 1_000 * assumed["gb_through_nat_per_job"] * usd["nat_gb"],
        }

    def all_metrics_month(self) -> float:
        """Every metric that the code may write, written in every hour."""
        return custom_metrics() * self.prices.usd["custom_metric_month"]

    def nat_month(self) -> float:
        """One NAT gateway that stands there."""
        return self.prices.usd["nat_hour"] * HOURS_OF_A_MONTH

    def _bill(self, usage: Usage, memory_mib: Mapping[str, int], times: float, standing: Mapping[str, float]) -> Bill:
        usd, assumed = self.prices.usd, self.prices.assumed
        functions = tables = 0.0
        for function, count in usage.invocations.items():
            slower = FULL_CORE_MIB / min(memory_mib[function], FULL_CORE_MIB)
            seconds = usage.function_seconds[function] + count * assumed["cpu_seconds_of_an_invocation"] * slower
            functions += seconds * memory_mib[function] / 1024 * usd["lambda_arm_gb_second"]
            functions += count * usd["lambda_request"]
        tables += usage.units.reads * usd["dynamodb_read_unit"] + usage.units.writes * usd["dynamodb_write_unit"]
        written = usage.log_lines * assumed["log_line_bytes"]
        written += sum(usage.invocations.values()) * assumed["invocation_log_bytes"]
        logs = written / 1e9 * usd["logs_ingested_gb"]
        return Bill(
            functions=functions * times, tables=tables * times, others={"log ingestion": logs * times, **standing}
        )

    def _stored_reason(self, deployed: Stack, log_lines: float) -> float:
        """What a thousand jobs leave behind until it expires: a record and a count each, and their lines."""
        usd, months = self.prices.usd, 1 / 30
        recovery = usd["dynamodb_recovery_gb_month"] if deployed.ledger_is_recoverable else 0.0
        records = 1_000 * 2 * _weights().run_kib * 1024 / 1e9 * (usd["dynamodb_gb_month"] + recovery)
        lines = log_lines * self.prices.assumed["log_line_bytes"] / 1e9 * usd["logs_stored_gb_month"]
        return (records * deployed.history_days + lines * deployed.log_retention_days) * months

    def _standing(self, deployed: Stack, metrics: int) -> Mapping[str, float]:
        """What a month costs whatever happens."""
        usd, assumed, things = self.prices.usd, self.prices.assumed, deployed.things
        polled = things.get("AWS::Lambda::EventSourceMapping", 0) * assumed["long_polls_per_minute"]
        return {
            "schedules": deployed.schedules_per_minute * MINUTES_OF_A_MONTH * usd["scheduler_invocation"],
            "queues, polled while empty": polled * MINUTES_OF_A_MONTH * usd["sqs_request"],
            "custom metrics": metrics * usd["custom_metric_month"],
            "alarms": deployed.alarm_metrics * usd["alarm_month"],
            "dashboards": things.get("AWS::CloudWatch::Dashboard", 0) * usd["dashboard_month"],
            "KMS": things.get("AWS::KMS::Key", 0) * usd["kms_key_month"]
            + assumed["kms_requests_per_minute"] * MINUTES_OF_A_MONTH * usd["kms_request"],
        }

    def _vm(self, seconds: float, gb: float) -> Mapping[str, float]:
        usd, hours = self.prices.usd, seconds / 3600
        return {
            "m7i.large": usd["m7i.large_hour"] * hours,
            f"{gb:g} GB of gp3": usd["gp3_gb_month"] * gb * hours / HOURS_OF_A_MONTH,
            "public IPv4 address": usd["public_ipv4_hour"] * hours,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What it may cost at most."""

    name: str
    usd: float
    at_most: float

    @property
    def kept(self) -> bool:
        """Whether it does not cost more."""
        return self.usd <= self.at_most


def bars(costs: Costs) -> Sequence[Bar]:
    """At the template's memory, functions and tables of an idle month."""
    polling, *_, push = modes()
    return (
        Bar(name=f"idle month, {polling.name}", usd=costs.idle_month(polling).core, at_most=10.0),
        Bar(name=f"idle month, {push.name}", usd=costs.idle_month(push).core, at_most=1.0),
    )
