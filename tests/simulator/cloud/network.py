"""The subnets: which there are, how many addresses each still has, and whether a route leads out of them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from tests.simulator.cloud.errors import Ec2Error, refused
from tests.simulator.cloud.pages import page_of
from tests.simulator.cloud.settings import Subnet
from tests.simulator.cloud.types_api import unknown_filter

PAGE = 1000
ROUTE_TABLES_PAGE = 100


class Network:
    """All of them. A test may delete one, and give and take addresses, at any time."""

    def __init__(self, subnets: Mapping[str, Subnet]) -> None:
        self.subnets = dict(subnets)
        self.free = {subnet_id: subnet.free_addresses for subnet_id, subnet in subnets.items()}
        """Free addresses by subnet; a launch takes one, an ended instance gives it back."""
        self.without_route: set[str] = set()
        """Subnets with a route table of their own, in which no route leads out of the VPC."""

    def delete(self, subnet_id: str) -> None:
        """The subnet is gone. What runs in it goes on, which real EC2 would not allow: a test need not wait for it."""
        del self.subnets[subnet_id]

    def subnet(self, subnet_id: str) -> Subnet:
        """One of them.

        Raises:
            Ec2Error: there is no such subnet.
        """
        if subnet_id not in self.subnets:
            raise refused("InvalidSubnetID.NotFound", subnet=subnet_id)
        return self.subnets[subnet_id]

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeSubnets. One missing id fails the whole request; a filter only finds fewer.

        Raises:
            Ec2Error: an id is missing, or a filter is unknown.
        """
        asked = request.get("SubnetIds") or list(self.subnets)
        shown = [self._described(subnet_id, self.subnet(subnet_id)) for subnet_id in asked]
        for wanted in request.get("Filters", ()):
            key = _FILTERS.get(wanted["Name"])
            if key is None:
                raise unknown_filter(wanted["Name"])
            shown = [one for one in shown if any(fnmatchcase(str(one[key]), value) for value in wanted["Values"])]
        if request.get("SubnetIds") and "MaxResults" in request:
            raise Ec2Error("InvalidParameterCombination", "MaxResults cannot be combined with SubnetIds")
        return page_of("Subnets", shown, request, PAGE)

    def describe_route_tables(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeRouteTables: one main table for each VPC, with a way out, and one for each of `without_route`.

        Raises:
            Ec2Error: a filter is unknown.
        """
        tables = [
            _table(f"rtb-{vpc.removeprefix('vpc-')}", vpc) for vpc in sorted({s.vpc for s in self.subnets.values()})
        ]
        tables += [
            _table(f"rtb-{name.removeprefix('subnet-')}", self.subnets[name].vpc, name)
            for name in sorted(self.without_route)
        ]
        for wanted in request.get("Filters", ()):
            if wanted["Name"] != "vpc-id":
                raise unknown_filter(wanted["Name"])
            tables = [table for table in tables if table["VpcId"] in wanted["Values"]]
        return page_of("RouteTables", tables, request, ROUTE_TABLES_PAGE)

    def _described(self, subnet_id: str, subnet: Subnet) -> dict[str, Any]:
        return {
            "SubnetId": subnet_id,
            "VpcId": subnet.vpc,
            "AvailabilityZone": subnet.zone,
            "AvailableIpAddressCount": max(0, self.free[subnet_id]),
            "State": "available",
        }


def _table(table_id: str, vpc: str, subnet_id: str = "") -> dict[str, Any]:
    local = {"DestinationCidrBlock": "172.31.0.0/16", "GatewayId": "local", "State": "active"}
    out = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-0123456789abcdef0", "State": "active"}
    association = {"RouteTableId": table_id, "Main": not subnet_id}
    return {
        "RouteTableId": table_id,
        "VpcId": vpc,
        "Associations": [{**association, "SubnetId": subnet_id} if subnet_id else association],
        "Routes": [local] if subnet_id else [local, out],
    }


_FILTERS = {
    "availability-zone": "AvailabilityZone",
    "available-ip-address-count": "AvailableIpAddressCount",
    "state": "State",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}
