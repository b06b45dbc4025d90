"""How many vCPUs an instance type has, by DescribeInstanceTypes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agent_stack.adapters.aws import AwsCalls, RefusedError
from agent_stack.domain.errors import WaitError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAX_TYPES = 100  # of one request; source: DescribeInstanceTypes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2InstanceTypes:
    """See the port `InstanceTypes`."""

    client: Callable[[], "EC2Client"]
    calls: AwsCalls

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """See the port."""
        found: dict[str, int] = {}
        for start in range(0, len(instance_types), MAX_TYPES):
            found |= self._page(list(instance_types[start : start + MAX_TYPES]))
        return found

    def _page(self, names: list[str]) -> Mapping[str, int]:
        """One request, by filter: a name that EC2 does not know is simply not in the answer."""
        wanted = {"Name": "instance-type", "Values": names}
        send = partial(self.client().describe_instance_types, Filters=[wanted])  # type: ignore[list-item]  # the stub's own shape
        try:
            answer = self.calls.call("DescribeInstanceTypes", send)
        except RefusedError as error:
            raise WaitError(f"DescribeInstanceTypes: {error}") from None
        return {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in answer["InstanceTypes"]}
