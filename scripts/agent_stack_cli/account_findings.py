"""What is around a stack: alarms that ring, and subnets without a way out."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from agent_stack.domain.findings import Finding
from agent_stack_cli.stacks import Stack

ALARMS_OF_A_REQUEST = 100  # source: DescribeAlarms, MaxRecords
PAGE = "See docs/operations/alarms.md#{name}"
"""How the description of each alarm of the template ends. An alarm of another stack whose name begins like this one's
has another name after the prefix, and an alarm of the operator has no such page."""


def alarms(stack: Stack) -> Iterator[Finding]:
    """Alarms of this stack that ring now, and heartbeats that have stopped."""
    pages = stack.session.client("cloudwatch").get_paginator("describe_alarms")
    prefix = f"{stack.name}-"
    for page in pages.paginate(AlarmNamePrefix=prefix, MaxRecords=ALARMS_OF_A_REQUEST):
        for alarm in page["MetricAlarms"]:
            name, described = alarm["AlarmName"].removeprefix(prefix), alarm.get("AlarmDescription", "").strip()
            if not described.endswith(PAGE.format(name=name)):
                continue
            heartbeat = name.endswith("-silent")
            if alarm["StateValue"] == "ALARM" or (heartbeat and alarm["StateValue"] == "INSUFFICIENT_DATA"):
                since = alarm["StateUpdatedTimestamp"].astimezone(UTC)  # boto3 gives the time of this machine's zone
                yield Finding(
                    check=f"alarm {name}",
                    severity="error" if heartbeat else "warning",
                    problem=f"{alarm['StateValue']} since {since:%Y-%m-%d %H:%M} UTC",
                    effect=described.removesuffix(PAGE.format(name=name)).strip(),
                    remedy=PAGE.format(name=name) + ".",
                )


def routes(stack: Stack) -> Iterator[Finding]:
    """Subnets of the VMs without a way out. It is no error, because VPC endpoints and a private link may serve them."""
    if stack.parameters.get("HttpProxy"):
        return  # the proxy is the way out
    ec2 = stack.session.ec2
    by_id = [{"Name": "subnet-id", "Values": list(stack.settings.subnet_ids)}]
    subnets = ec2.describe_subnets(Filters=by_id)["Subnets"]  # type: ignore[arg-type]  # the stub's own dictionary
    if not subnets:
        return
    of_vpcs = [{"Name": "vpc-id", "Values": sorted({subnet.get("VpcId", "") for subnet in subnets})}]
    pages = ec2.get_paginator("describe_route_tables").paginate(Filters=of_vpcs)  # type: ignore[arg-type]  # as above
    tables: list[Mapping[str, Any]] = [table for page in pages for table in page["RouteTables"]]
    without = [subnet["SubnetId"] for subnet in subnets if not _leads_out(tables, subnet)]
    if without:
        yield Finding(
            check="routes",
            severity="warning",
            problem=f"No route leads out of {', '.join(without)}",
            effect="VMs there reach neither Buildkite nor AWS, unless by endpoints or a proxy: their boots time out.",
            remedy="Give the subnets' route table a route 0.0.0.0/0 to an internet or a NAT gateway (::/0 where "
            "a subnet has IPv6 only), set HttpProxy, or take them out of Subnets.",
        )


def _leads_out(tables: Sequence[Mapping[str, Any]], subnet: Mapping[str, Any]) -> bool:
    """Whether the subnet's table, or the main one of its VPC, has a default route that works."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet["SubnetId"] for a in t.get("Associations", []))]
    main = [
        t
        for t in tables
        if t.get("VpcId") == subnet.get("VpcId") and any(a.get("Main") for a in t.get("Associations", []))
    ]
    destinations = {
        route.get(kind)
        for table in (own or main)
        for route in table.get("Routes", [])
        if route.get("State", "active") == "active"
        for kind in ("DestinationCidrBlock", "DestinationIpv6CidrBlock")
    }
    return ("::/0" if subnet.get("Ipv6Native") else "0.0.0.0/0") in destinations
