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
    recipe,
    refused,
    unneeded,
    where,
)

SHORTEST_BOOT, LONGEST_BOOT = 30, 3240
MARGIN = 360
"""What ReservationSeconds must have over the longest boot timeout: docs/reference/parameters.md."""
DEFAULT_RESERVATION = 900
NO_STANDBY = (
    "No VM runs before its job: each job waits for a launch and a boot.",
    "Measure the wait. BakeImage shortens the boot. Leave a queue that cannot wait on the Elastic stack.",
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
        f"There is no percentage ({share:g} % on-demand before). The class default is spot and falls back to "
        "on-demand. The class on-demand is for jobs that must not be interrupted.",
        "Let pipelines that must not be interrupted ask for it: agents: { class: on-demand }. Others retry by the "
        "signal reason agent_stop.",
        fields={"market": "spot", "fallback_to_on_demand": True},
    )


def _strategy(values: Values) -> Outcome:
    if values.number("OnDemandPercentage") >= 100:  # noqa: PLR2004  (per cent)
        return unneeded("No spot VMs.")
    if values["SpotAllocationStrategy"] == "price-capacity-optimized":
        return unneeded("As here.")
    return changed("Spot VMs come by price-capacity-optimized. SpotMaxPrice bounds the price.")


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


def _scheduled(values: Values) -> Outcome:
    if not values.on("EnableScheduledScaling"):
        return unneeded("Scheduled scaling is off.")
    return impossible(*NO_STANDBY)(values)


ROWS: tuple[Row, ...] = (
    absent("MinSize", "0", "No VM waits for jobs; `BakeImage` shortens the boot", impossible(*NO_STANDBY)),
    covered("MaxSize", "10", "`MaxInstances`, `MaxVcpus`, the class field `max_instances`", _max, always=True),
    absent("InstanceBuffer", "0", "No VM waits for jobs; `BakeImage` shortens the boot", impossible(*NO_STANDBY)),
    absent("DisableScaleIn", "true", FOLLOWS),
    absent("InstanceScaleInProtection", "true", FOLLOWS),
    recipe(
        "OnDemandBaseCapacity", "0", "A class with `market` on-demand for the jobs that need it",
        impossible(
            "There is no on-demand base before spot.",
            "Make a class with `market` on-demand, and let the jobs that need it ask for it by class=.",
        ),
    ),
    recipe(
        "OnDemandPercentage", "100", "Two classes; the class fields `market` and `fallback_to_on_demand`",
        _market, always=True,
    ),
    recipe(
        "SpotAllocationStrategy", "capacity-optimized",
        "Always price-capacity-optimized; `SpotMaxPrice` bounds the price", _strategy,
    ),
    absent("ScaleOutFactor", "1.0", FOLLOWS),
    absent("ScaleOutCooldownPeriod", "300", f"{FOLLOWS}; `MaxLaunchesPerMinute` is the safety limit"),
    absent("ScaleInIdlePeriod", "600", FOLLOWS),
    absent("ScaleInCooldownPeriod", "3600", FOLLOWS),
    absent(
        "ScaleOutForWaitingJobs", "false", "No VM starts before its job can start",
        where("ScaleOutForWaitingJobs", {"false": needless("As here.")}, impossible(*NO_STANDBY)),
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
    absent("EnableScheduledScaling", "false", "No VM waits for jobs, so nothing is scheduled", _scheduled),
    *(
        absent(
            name, default, "As `EnableScheduledScaling`",
            where("EnableScheduledScaling", {"true": needless("See EnableScheduledScaling.")}, _scheduled),
        )
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
