"""Money: what was counted, at what it is sold for."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from agent_stack_cli.prices import assumed, usd
from infra.template_yaml import loads
from infra.user_data import ROOT, TEMPLATE
from tests.cost.units import Weights, weigh
from tests.cost.usage import JOB_MINUTES, JOBS, Usage, idle, work
from tests.infra.stacks import deployed
from tests.simulator.deployment import Resolved
from tests.simulator.simulation.costs import FULL_CORE_MIB

HOURS_OF_A_MONTH = 730
MINUTES_OF_A_MONTH = HOURS_OF_A_MONTH * 60
SHORTEST_SECONDS = 60
"""What EC2 bills at least: instance, volume and address."""

MODES: Mapping[str, Mapping[str, str]] = {
    "polling": {},
    "push": {"BuildkiteEventBusName": "aws.partner/buildkite.com/organisation/1"},
}
"""How the dispatcher hears of jobs, and the parameters for it; all others have their defaults."""

AT_MOST = {"polling": 10.0, "push": 1.0}
"""USD that functions and tables of an idle month may cost."""

Bill = Mapping[str, float]
"""USD by what it is for."""


@cache
def _weights() -> Weights:
    return weigh()


def _settings(mode: str) -> dict[str, str]:
    variables = _stack(mode).resources["DispatcherFunction"]["Properties"]["Environment"]["Variables"]
    return {name: str(variables[name]) for name in ("IDLE_POLL_SECONDS", "WOKEN_BY_JOBS")}


@cache
def idle_usage(mode: str) -> Usage:
    """An idle hour."""
    return idle(_settings(mode), _weights())


@cache
def busy_usage(mode: str) -> Usage:
    """The minutes in which jobs ran."""
    return work(_settings(mode), _weights())


def idle_month(mode: str, region: str) -> Bill:
    """A month without a job."""
    usage = idle_usage(mode)
    months = MINUTES_OF_A_MONTH / usage.minutes
    billed = {name: cost * months for name, cost in _billed(mode, usage, region).items()}
    return {**billed, **_standing(mode, region)}


def core(bill: Bill) -> float:
    """Functions and tables, which are the stack's own doing."""
    return bill["functions"] + bill["tables"]


def thousand_jobs(mode: str, region: str) -> Bill:
    """The stack's own part of a thousand jobs, over what it costs idle."""
    busy, resting = busy_usage(mode), idle_usage(mode)
    rest = _billed(mode, resting, region)
    return {
        name: (cost - rest[name] * busy.minutes / resting.minutes) * 1_000 / JOBS
        for name, cost in _billed(mode, busy, region).items()
    }


def thousand_vms(job_minutes: float, region: str) -> Bill:
    """What EC2 bills for a thousand jobs of that length, one VM each."""
    price, gb = usd(region), _volume_gb()
    hours = max(SHORTEST_SECONDS, job_minutes * 60 + assumed("vm_seconds_beside_job")) / 3600 * 1_000
    return {
        "m7i.large": price["m7i.large_hour"] * hours,
        f"{gb} GB of gp3": price["gp3_gb_month"] * gb * hours / HOURS_OF_A_MONTH,
        "public IPv4 address": price["public_ipv4_hour"] * hours,
    }


def tracker_all_month(memory_mib: int, region: str) -> float:
    """What the tracker's time costs in a month in which a VM is always up. Lambda bills its pauses as its work."""
    return MINUTES_OF_A_MONTH * 60 * memory_mib / 1024 * usd(region)["lambda_arm_gb_second"]


def often_forgotten(region: str) -> Bill:
    """What else a deployment may cost, where it applies."""
    price = usd(region)
    return {
        "data out to the internet, a thousand jobs": 1_000 * assumed("gb_out_per_job") * price["internet_gb_out"],
        **{f"{name}, a month": cost for name, cost in images(region).items()},
        "AWS Config that records continuously, a thousand jobs": 1_000
        * assumed("config_items_per_vm")
        * price["config_item"],
        "a NAT gateway's data, a thousand jobs": 1_000 * assumed("gb_through_nat_per_job") * price["nat_gb"],
        "a NAT gateway before it carries anything, a month": price["nat_hour"] * HOURS_OF_A_MONTH,
    }


def images(region: str) -> Bill:
    """What a month of baked images costs; nothing without the image pipeline."""
    price = usd(region)
    looks = HOURS_OF_A_MONTH * len(states_of_a_look())  # its rule is `rate(1 hour)`, which a test holds
    return {
        "snapshots of baked images": assumed("images_kept")
        * assumed("snapshot_gb_of_an_image")
        * price["snapshot_gb_month"],
        "builders of baked images": assumed("bakes_of_a_month") * assumed("hours_of_a_bake") * price["t3.medium_hour"],
        "the hourly look for another recipe": looks * price["state_transition"],
    }


def states_of_a_look() -> list[str]:
    """The steps of the state machine that starts bakes, when there is nothing to bake: each is a transition."""
    states = loads((ROOT / "infra" / "image.yaml").read_text())["Resources"]["Bake"]["Properties"]["Definition"]
    at, passed = states["StartAt"], list[str]()
    while at:
        passed.append(at)
        state = states["States"][at]
        at = state["Choices"][0]["Next"] if state["Type"] == "Choice" else state.get("Next", "")
    return passed


def busy_month(mode: str, region: str) -> Bill:
    """A month of many jobs of five minutes, with everything that they cost in public subnets."""
    thousands = assumed("jobs_of_a_busy_month") / 1_000
    out = assumed("jobs_of_a_busy_month") * assumed("gb_out_per_job") * usd(region)["internet_gb_out"]
    vms = {name: cost * thousands for name, cost in thousand_vms(JOB_MINUTES, region).items()}
    return {
        "the stack, idle": sum(idle_month(mode, region).values()),
        "the stack's part of the jobs": sum(thousand_jobs(mode, region).values()) * thousands,
        **vms,
        "data out to the internet": out,
        "baked images": sum(images(region).values()),
    }


def _billed(mode: str, usage: Usage, region: str) -> Bill:
    price, functions = usd(region), 0.0
    for function, count in usage.invocations.items():
        memory = int(_stack(mode).resources[f"{function.capitalize()}Function"]["Properties"]["MemorySize"])
        cpu = count * assumed("cpu_seconds_of_an_invocation") * FULL_CORE_MIB / min(memory, FULL_CORE_MIB)
        functions += (usage.function_seconds[function] + cpu) * memory / 1024 * price["lambda_arm_gb_second"]
        functions += count * price["lambda_request"]
    written = usage.log_lines * assumed("log_line_bytes")
    written += sum(usage.invocations.values()) * assumed("invocation_log_bytes")
    return {
        "functions": functions,
        "tables": usage.units.reads * price["dynamodb_read_unit"] + usage.units.writes * price["dynamodb_write_unit"],
        "log ingestion": written / 1e9 * price["logs_ingested_gb"],
    }


def _standing(mode: str, region: str) -> Bill:
    """What a month costs in any case."""
    price, resources = usd(region), list(_all_resources(mode))
    count = Counter(resource["Type"] for resource in resources)
    alarms = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]
    polls = count["AWS::Lambda::EventSourceMapping"] * assumed("long_polls_per_minute") * MINUTES_OF_A_MONTH
    kms = assumed("kms_requests_per_minute") * MINUTES_OF_A_MONTH * price["kms_request"]
    return {
        # each schedule of the template is `rate(1 minute)`, which a test holds
        "schedules": count["AWS::Scheduler::Schedule"] * MINUTES_OF_A_MONTH * price["scheduler_invocation"],
        "queues, polled while empty": polls * price["sqs_request"],
        "custom metrics": idle_usage(mode).metrics * price["custom_metric_month"],
        "alarms": sum(_metrics_of(alarm) for alarm in alarms) * price["alarm_month"],
        "dashboards": count["AWS::CloudWatch::Dashboard"] * price["dashboard_month"],
        "KMS": count["AWS::KMS::Key"] * price["kms_key_month"] + kms,
    }


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1


def _stack(mode: str) -> Resolved:
    return deployed(dict(MODES[mode]))


def _all_resources(mode: str) -> Iterator[Mapping[str, Any]]:
    stack = _stack(mode)
    for resource in stack.resources.values():
        yield resource
        if resource["Type"] == "AWS::CloudFormation::Stack":
            template = loads((ROOT / "infra" / Path(resource["Properties"]["TemplateURL"]).name).read_text())
            yield from stack.inside(template, resource).resources.values()


def _volume_gb() -> int:
    found = re.search(r'"volume_gib": (\d+)', TEMPLATE.read_text())
    if found is None:
        raise ValueError("template.yaml's default class states no volume_gib")
    return int(found[1])
