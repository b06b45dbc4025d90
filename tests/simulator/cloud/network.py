"""The subnets: which there are, and how many addresses each still has."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from tests.simulator.cloud.errors import Ec2Error, refused
from tests.simulator.cloud.pages import page_of
from tests.simulator.cloud.settings import Subnet
from tests.simulator.cloud.types_api import unknown_filter

PAGE = 1000


class Network:
    """All of them. A test may delete one, and give and take addresses, at any time."""

    def __init__(self, subnets: Mapping[str, Subnet]) -> None:
        self.subnets = dict(subnets)
        self.free = {subnet_id: subnet.free_addresses for subnet_id, subnet in subnets.items()}
        """Free addresses by subnet; a launch takes one, an ended instance gives it back."""

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

    def _described(self, subnet_id: str, subnet: Subnet) -> dict[str, Any]:
        return {
            "SubnetId": subnet_id,
            "VpcId": subnet.vpc,
            "AvailabilityZone": subnet.zone,
            "AvailableIpAddressCount": max(0, self.free[subnet_id]),
            "State": "available",
        }


_FILTERS = {
    "availability-zone": "AvailabilityZone",
    "available-ip-address-count": "AvailableIpAddressCount",
    "state": "State",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}
