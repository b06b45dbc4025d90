"""What `instance_requirements` become on the real catalogue: which types, in which order, from how many families."""

import sys
from typing import Any

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, Settings
from tests.simulator.cloud.catalogue import MIB_PER_GIB, InstanceType, catalogue
from tests.simulator.identity import SeededIds
from tests.simulator.simulation.direct import DirectClient

SHAPES = ((2, 8), (16, 64))
"""vCPUs and GiB."""

NEAR = 1.1
FIRST = 10
"""The first types must have at most so much more than what was asked, and so many are the first."""


def types_for(vcpus: int, gib: int, market: CapacityType) -> list[InstanceType]:
    """What the adapter makes of these requirements, asked of a fake EC2 that has the real catalogue."""
    clock = VirtualClock()
    client: Any = DirectClient(Ec2(settings=Settings(subnets={}), now=clock.now))
    calls = AwsCalls(
        clock=clock,
        ids=SeededIds(),
        deadline=FixedDeadline(),
        throttles=errors.NOTHING_DONE,
        server_errors=errors.SERVER,
    )
    shapes = Ec2InstanceCatalog(
        client=lambda: client,
        calls=calls,
        instance_types=Ec2InstanceTypes(client=lambda: client, calls=calls),
        parameter=str,
        clock=clock,
    )
    wanted = InstanceRequirements(architecture="x86_64", vcpus_min=vcpus, memory_gib_min=gib)
    return [catalogue()[name] for name in shapes.types(wanted, market)]


def is_near(kind: InstanceType, vcpus: int, gib: int) -> bool:
    """Whether a type is within a tenth of what was asked."""
    return vcpus <= kind.vcpus <= NEAR * vcpus and gib <= kind.memory_mib / MIB_PER_GIB <= NEAR * gib


def main() -> int:
    """Print the lists; the exit status."""
    missed = 0
    for vcpus, gib in SHAPES:
        for market in CapacityType:
            kinds = types_for(vcpus, gib, market)
            families = {kind.family for kind in kinds}
            print(f"\n{vcpus} vCPU / {gib} GiB, {market}: {len(kinds)} types of {len(families)} families")
            for kind in kinds:
                print(f"  {kind.name:20} {kind.vcpus:4} vCPU {kind.memory_mib / MIB_PER_GIB:7g} GiB")
            with_chips = [kind.name for kind in kinds if kind.accelerators]
            far = [kind.name for kind in kinds[:FIRST] if not is_near(kind, vcpus, gib)]
            missed += bool(with_chips) + bool(far)
            print(f"  with accelerators: {', '.join(with_chips) or 'none'}")
            print(f"  of the first {FIRST}, not within 10 % of what was asked: {', '.join(far) or 'none'}")
    print(f"\n{'FAIL' if missed else 'PASS'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
