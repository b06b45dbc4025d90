"""Rows about how many VMs there are, how they are bought, and how long logs are kept."""

import re
from typing import Any

from agent_stack_cli.migration.rows import (
    Outcome,
    Row,
    Values,
    absent,
    carried,
    changed,
    covered,
    impossible,
    needless,
    refused,
    unneeded,
    where,
)
from agent_stack_cli.migration.standing_by import kept_up, scheduled

SHORTEST_BOOT, LONGEST_BOOT = 30, 3240
MARGIN = 360
"""What ReservationSeconds must have over the longest boot timeout: docs/reference/parameters.md."""
DEFAULT_RESERVATION = 900
NO_FORESIGHT = (
    "No VM starts for a job that waits for another step.",
    "Set the class field standby: a standby VM takes a job at once. BakeImage shortens the boot.",
)
FOLLOWS = "Launches follow jobs, and a VM ends with its job"
_DURATION = re.compile(r"^PT(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?$")


def _max(values: Values) -> Outcome:
    most, shared = values.number("MaxSize"), max(1.0, values.number("AgentsPerInstance"))
    if most < 1:
        return changed(
            "No VM is to start: launches are off.",
            "Before the trial, set LaunchEnabled=true, and MaxInstances to as many jobs as shall run at once.",
            parameters={"LaunchEnabled": "false"},
        )
    written = {"MaxInstances": f"{most * shared:g}"}
    if shared > 1:
        return changed(f"{most:g} VMs with {shared:g} agents are {most * shared:g} jobs at once.", parameters=written)
    return carried("One VM, one job.", parameters=written)


def _market(values: Values) -> Outcome:
    share = values.number("OnDemandPercentage")
    if share >= 100:  # noqa: PLR2004  (per cent)
        return carried(fields={"market": "on-demand"})
    if share <= 0:
        return changed(
            "Spot only. A job that finds no spot VM within LaunchDeadlineSeconds fails with the reason.",
            "To start on-demand where spot has nothing, set fallback_to_on_demand in the class.",
            fields={"market": "spot"},
        )
    return changed(
        f"{share:g} % of the VMs of the class default that are up are on-demand, rounded up; the others are spot and "
        "fall back to on-demand. The class on-demand is for jobs that must not be interrupted.",
        "Let pipelines that must not be interrupted ask for it: agents: { class: on-demand }. Others retry by the "
        "signal reason agent_stop.",
        fields={"market": "spot", "fallback_to_on_demand": True, "on_demand_percent": max(1, int(share))},
    )


def _base(values: Values) -> Outcome:
    base = int(values.number("OnDemandBaseCapacity"))
    if values.number("OnDemandPercentage") >= 100 or base <= 0:  # noqa: PLR2004  (per cent)
        return unneeded("All VMs are on-demand." if base > 0 else "No base.")
    return carried(fields={"market": "spot", "on_demand_base": base})


def _strategy(values: Values) -> Outcome:
    if values.number("OnDemandPercentage") >= 100:  # noqa: PLR2004  (per cent)
        return unneeded("No spot VMs.")
    if values["SpotAllocationStrategy"] == "price-capacity-optimized":
        return unneeded("As here.")
    return carried(fields={"market": "spot", "spot_allocation_strategy": values["SpotAllocationStrategy"]})


def _boot(values: Values) -> Outcome:
    found = _DURATION.match(values["InstanceCreationTimeout"])
    if found is None or not any(found.groups()):
        return refused("It is no duration such as PT10M.", "Set boot_timeout_seconds in the class.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    wanted = hours * 3600 + minutes * 60 + seconds
    boot = min(max(wanted, SHORTEST_BOOT), LONGEST_BOOT)
    reservation = max(DEFAULT_RESERVATION, boot + MARGIN)
    written: dict[str, Any] = {} if reservation == DEFAULT_RESERVATION else {"ReservationSeconds": str(reservation)}
    words = "It is now the time from binding a job to its agent; then the job gets another VM."
    return changed(words, fields={"boot_timeout_seconds": boot}, parameters=written)


def _log_days(values: Values) -> Outcome:
    kept = [values.number("LogRetentionDays")] if values.differs("LogRetentionDays") else []
    if values.on("EnableEC2LogRetentionPolicy"):
        kept.append(values.number("EC2LogRetentionDays"))
        return changed(
            "One time for the logs of functions and VMs: the longer one.",
            parameters={"LogRetentionDays": f"{max(kept):g}"},
        )
    if not kept:
        return unneeded("The policy is off.")
    return changed(
        "One time for the logs of functions and VMs. The Elastic stack kept the VMs' logs for good.",
        parameters={"LogRetentionDays": f"{max(kept):g}"},
    )


ROWS: tuple[Row, ...] = (
    covered("MinSize", "0", "The class field `standby`: idle VMs beside those that have jobs", kept_up),
    covered("MaxSize", "10", "`MaxInstances`, `MaxVcpus`, the class field `max_instances`", _max, always=True),
    covered("InstanceBuffer", "0", "The class field `standby`", kept_up),
    absent("DisableScaleIn", "true", FOLLOWS),
    absent("InstanceScaleInProtection", "true", FOLLOWS),
    covered("OnDemandBaseCapacity", "0", "The class field `on_demand_base`", _base),
    covered(
        "OnDemandPercentage", "100", "The class fields `market` and `on_demand_percent`",
        _market, always=True,
    ),
    covered(
        "SpotAllocationStrategy", "capacity-optimized",
        "The class field `spot_allocation_strategy`; `spot_max_price` bounds the price", _strategy,
    ),
    absent("ScaleOutFactor", "1.0", FOLLOWS),
    absent("ScaleOutCooldownPeriod", "300", f"{FOLLOWS}; `MaxLaunchesPerMinute` is the safety limit"),
    absent("ScaleInIdlePeriod", "600", FOLLOWS),
    absent("ScaleInCooldownPeriod", "3600", FOLLOWS),
    absent(
        "ScaleOutForWaitingJobs", "false",
        "No VM starts for a job that waits for another step, because Buildkite does not offer it yet; standby VMs "
        "(`standby`) take jobs at once",
        where("ScaleOutForWaitingJobs", {"false": needless("As here.")}, impossible(*NO_FORESIGHT)),
    ),
    covered("InstanceCreationTimeout", "", "The class field `boot_timeout_seconds`", _boot),
    covered(
        "ScalerEventSchedulePeriod", "1 minute", "`IdlePollSeconds`, or push with `BuildkiteEventBusName`",
        needless("The dispatcher looks twice a second."),
    ),
    absent("ScalerEventScheduleJitter", "0s", "Each stack has one dispatcher, which runs all the time"),
    covered(
        "ScalerMinPollInterval", "10s", "`IdlePollSeconds`, or push with `BuildkiteEventBusName`",
        needless("The dispatcher looks twice a second; IdlePollSeconds changes that."),
    ),
    absent("ScalerEnableExperimentalElasticCIMode", "false", "Orphan cleanup is built in"),
    covered("EnableScheduledScaling", "false", "Windows of the class field `standby`", scheduled),
    *(
        covered(name, default, "Windows of the class field `standby`", scheduled)
        for name, default in (
            ("ScheduleTimezone", "UTC"), ("ScaleUpSchedule", "0 8 * * MON-FRI"), ("ScaleUpMinSize", "1"),
            ("ScaleDownSchedule", "0 18 * * MON-FRI"), ("ScaleDownMinSize", "0"),
        )
    ),
    absent("BuildkiteAgentScalerServerlessARN", "arn:aws:serverlessrepo:us-east-1:172840064832:applications/"
           "buildkite-agent-scaler", "There is no scaler, and that stack no longer uses it either"),
    covered("EnableEC2LogRetentionPolicy", "false", "Always: `LogRetentionDays`", _log_days),
    covered("EC2LogRetentionDays", "7", "`LogRetentionDays`, for functions and VMs", _log_days),
    covered("LogRetentionDays", "1", "`LogRetentionDays`, for functions and VMs", _log_days),
    absent("BuildkiteAgentEnableGracefulShutdown", "false", "A deployment ends no VM"),
    absent("LambdaArchitecture", "x86_64", "The functions run on arm64"),
)  # fmt: skip
