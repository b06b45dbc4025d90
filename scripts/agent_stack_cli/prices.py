"""Public list prices as dated inputs, in USD without tax and without the free tier, and what nothing here can count."""

from collections.abc import Mapping
from typing import NamedTuple

DATE = "2026-11-25"
REGIONS = ("us-east-1", "eu-central-1")
US, BOTH = REGIONS[:1], REGIONS


class Price(NamedTuple):
    """Of one unit, by region.

    Attributes:
        page: under https://aws.amazon.com/.
        confirmed: regions whose price a second public page repeated on that date; the others want a look.
    """

    us_east_1: float
    eu_central_1: float
    page: str
    confirmed: tuple[str, ...] = ()


PRICES: Mapping[str, Price] = {
    "lambda_arm_gb_second": Price(1.33334e-05, 1.33334e-05, "lambda/pricing", US),
    "lambda_request": Price(2e-07, 2e-07, "lambda/pricing", US),
    "dynamodb_read_unit": Price(1.25e-07, 1.525e-07, "dynamodb/pricing/on-demand", US),
    "dynamodb_write_unit": Price(6.25e-07, 7.625e-07, "dynamodb/pricing/on-demand", US),
    "scheduler_invocation": Price(1e-06, 1.2e-06, "eventbridge/pricing"),
    "sqs_request": Price(4e-07, 4e-07, "sqs/pricing"),
    "logs_ingested_gb": Price(0.5, 0.63, "cloudwatch/pricing", US),
    "custom_metric_month": Price(0.3, 0.3, "cloudwatch/pricing", US),
    "alarm_month": Price(0.1, 0.1, "cloudwatch/pricing", US),
    "dashboard_month": Price(3.0, 3.0, "cloudwatch/pricing", US),
    "kms_key_month": Price(1.0, 1.0, "kms/pricing"),
    "kms_request": Price(3e-06, 3e-06, "kms/pricing"),
    "config_item": Price(0.003, 0.003, "config/pricing", US),
    "nat_hour": Price(0.045, 0.052, "vpc/pricing", BOTH),
    "nat_gb": Price(0.045, 0.052, "vpc/pricing", BOTH),
    "public_ipv4_hour": Price(0.005, 0.005, "vpc/pricing", US),
    "internet_gb_out": Price(0.09, 0.09, "ec2/pricing/on-demand"),
    "snapshot_gb_month": Price(0.05, 0.054, "ebs/pricing"),
    "gp3_gb_month": Price(0.08, 0.0952, "ebs/pricing"),
    "m7i.large_hour": Price(0.1008, 0.12075, "ec2/pricing/on-demand"),
    "t3.medium_hour": Price(0.0416, 0.048, "ec2/pricing/on-demand", US),
    "state_transition": Price(2.5e-05, 2.5e-05, "step-functions/pricing"),
}

ASSUMED: Mapping[str, tuple[float, str]] = {
    "cpu_seconds_of_an_invocation": (
        0.05,
        "of a whole core, on top of what is waited for; signing, TLS and JSON of about ten requests",
    ),
    "log_line_bytes": (450, "a structured line, and the 26 bytes that CloudWatch adds"),
    "invocation_log_bytes": (1500, "START, END and REPORT, and the metrics of one invocation"),
    "long_polls_per_minute": (15, "five pollers of Lambda's, 20 s each, for each queue that wakes a function"),
    "kms_requests_per_minute": (
        1,
        "tables and parameters under AWS's own keys; DynamoDB keeps a data key for five minutes",
    ),
    "vm_seconds_beside_job": (40, "billed before and after the job: boot, preparation, agent, power-off"),
    "config_items_per_vm": (
        10,
        "instance, volume and interface made and deleted, and what they are related to",
    ),
    "gb_out_per_job": (0.05, "logs, artifacts and pushed images that leave AWS; what comes in is free"),
    "snapshot_gb_of_an_image": (8, "blocks in use of a baked image; only those are stored"),
    "images_kept": (5, "the newest ones, of weekly builds; those that a class or an operator keeps come on top"),
    "bakes_of_a_month": (4.3, "one each week; an upgrade or another setting makes one more"),
    "hours_of_a_bake": (0.5, "two VMs after one another, which build and test; no test of an account says it"),
    "jobs_of_a_busy_month": (20_000, "about 100 developers"),
    "gb_through_nat_per_job": (1, "clone, packages, images; only in private subnets behind a NAT gateway"),
}
"""Value, and why it is that."""


def usd(region: str) -> Mapping[str, float]:
    """The prices of one of `REGIONS`."""
    first = region == REGIONS[0]
    return {name: price.us_east_1 if first else price.eu_central_1 for name, price in PRICES.items()}


def assumed(name: str) -> float:
    """The value of an assumption."""
    return ASSUMED[name][0]
