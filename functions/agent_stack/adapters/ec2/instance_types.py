"""What EC2 says of instance types, by DescribeInstanceTypes: vCPUs, memory, generation, how they can be bought."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from agent_stack.adapters.aws import AwsCalls, RefusedError, required, required_text
from agent_stack.adapters.pages import members, next_page
from agent_stack.domain.errors import WaitError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAX_TYPES = 100  # of one request; source: DescribeInstanceTypes
_GENERATION = re.compile(r"[a-z-]*(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """One type.

    Attributes:
        memory_mib: memory in MiB.
        usage_classes: how it can be bought: `on-demand`, `spot`, `capacity-block`.
    """

    name: str
    vcpus: int
    memory_mib: int
    usage_classes: frozenset[str]

    @property
    def family(self) -> str:
        """Such as `m7i`."""
        return self.name.partition(".")[0]

    @property
    def generation(self) -> int:
        """The 7 of `m7i`; 0 for a family without a number."""
        found = _GENERATION.match(self.family)
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2InstanceTypes:
    """The port `InstanceTypes`; the instance catalogue reads more of the same answers."""

    client: Callable[[], "EC2Client"]
    calls: AwsCalls

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """See the port."""
        try:
            return {facts.name: facts.vcpus for facts in self.facts(instance_types).values()}
        except RefusedError as error:
            raise WaitError(f"DescribeInstanceTypes: {error}") from None

    def facts(self, instance_types: Sequence[str]) -> Mapping[str, TypeFacts]:
        """What EC2 says of each type; a type that EC2 does not know is left out.

        Raises:
            RefusedError: EC2 refuses to tell.
            TransientError: EC2 did not answer.
        """
        names = list(dict.fromkeys(instance_types))
        pages = (self._described(names[start : start + MAX_TYPES]) for start in range(0, len(names), MAX_TYPES))
        return {one.name: one for page in pages for one in page}

    def _described(self, names: list[str]) -> Iterator[TypeFacts]:
        """By filter: one unknown name in a list of ids would fail the whole request. A filtered answer has pages."""
        asked: dict[str, Any] = {"Filters": [{"Name": "instance-type", "Values": names}]}
        return members(self.calls, "DescribeInstanceTypes", partial(self._page, asked))

    def _page(self, asked: Mapping[str, Any], token: str | None) -> tuple[list[TypeFacts], str]:
        answer: Mapping[str, Any] = self.client().describe_instance_types(**asked, **next_page(token))
        found = [
            TypeFacts(
                name=required_text(one["InstanceType"]),
                vcpus=required(one["VCpuInfo"]["DefaultVCpus"], int),
                memory_mib=required(one["MemoryInfo"]["SizeInMiB"], int),
                usage_classes=frozenset(one.get("SupportedUsageClasses", ())),
            )
            for one in answer["InstanceTypes"]
        ]
        return found, required(answer.get("NextToken") or "", str)
