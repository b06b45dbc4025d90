"""What is around a stack: alarms that ring, and subnets without a way out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent_stack_cli.findings import Finding
from agent_stack_cli.stacks import Stack

ALARMS_OF_A_REQUEST = 100  # source: DescribeAlarms, MaxRecords
OUT = frozenset({"0.0.0.0/0", "::/0"})


def alarms(stack: Stack) -> Iterator[Finding]:
    """Alarms of this stack that ring now, and heartbeats that have stopped."""
    pages = stack.session.client("cloudwatch").get_paginator("describe_alarms")
    prefix = f"{stack.name}-"
    for page in pages.paginate(AlarmNamePrefix=prefix, MaxRecords=ALARMS_OF_A_REQUEST):
        for alarm in page["MetricAlarms"]:
            name = alarm["AlarmName"].removeprefix(prefix)
            dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions", [])}
            if dimensions.get("Deployment", stack.name) != stack.name:
                continue  # of a stack whose name only begins like this one's
            heartbeat = name.endswith("-silent")
            if alarm["StateValue"] == "ALARM" or (heartbeat and alarm["StateValue"] == "INSUFFICIENT_DATA"):
                yield Finding(
                    check=f"alarm {name}",
                    severity="error" if heartbeat else "warning",
                    problem=f"{alarm['StateValue']} since {alarm['StateUpdatedTimestamp']:%Y-%m-%d %H:%M} UTC",
                    effect=alarm.get("AlarmDescription", "").partition(" See docs/")[0].strip()
                    or "See its description.",
                    remedy=f"See docs/operations.md#{name}.",
                )


def routes(stack: Stack) -> Iterator[Finding]:
    """Subnets of the VMs without a way out: no VM there reaches Buildkite."""
    wanted = stack.settings.subnet_ids
    ec2 = stack.session.ec2
    by_id = [{"Name": "subnet-id", "Values": list(wanted)}]
    vpcs = {s["SubnetId"]: s.get("VpcId", "") for s in ec2.describe_subnets(Filters=by_id)["Subnets"]}  # type: ignore[arg-type]  # the stub's own dictionary
    if not vpcs:
        return
    of_vpcs = [{"Name": "vpc-id", "Values": sorted(set(vpcs.values()))}]
    pages = ec2.get_paginator("describe_route_tables").paginate(Filters=of_vpcs)  # type: ignore[arg-type]  # as above
    tables: list[Mapping[str, Any]] = [table for page in pages for table in page["RouteTables"]]
    without = [subnet for subnet, vpc in vpcs.items() if not _leads_out(tables, subnet, vpc)]
    if without:
        yield Finding(
            check="routes",
            severity="error" if len(without) == len(vpcs) else "warning",
            problem=f"No route leads out of {', '.join(without)}",
            effect="VMs there reach neither Buildkite nor AWS, unless by endpoints or a proxy: their boots time out.",
            remedy="Give the subnets' route table a route 0.0.0.0/0 to an internet or a NAT gateway, "
            "or take them out of Subnets.",
        )


def _leads_out(tables: Sequence[Mapping[str, Any]], subnet: str, vpc: str) -> bool:
    """Whether the subnet's table, or the main one of its VPC, has a default route that works."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet for a in t.get("Associations", []))]
    main = [t for t in tables if t.get("VpcId") == vpc and any(a.get("Main") for a in t.get("Associations", []))]
    return any(
        route.get("State", "active") == "active"
        and not OUT.isdisjoint({route.get("DestinationCidrBlock"), route.get("DestinationIpv6CidrBlock")})
        for table in (own or main)
        for route in table.get("Routes", [])
    )
