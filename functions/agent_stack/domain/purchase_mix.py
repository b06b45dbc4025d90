"""A class of spot VMs of which some are bought on-demand: a base, and a share of what comes above it."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent_stack.domain.states import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseMix:
    """What the operator wants of the VMs of a class that are up.

    Attributes:
        base: the first that many are on-demand.
        percent: of the others, rounded up.
    """

    base: int = 0
    percent: int = 0

    def on_demand_due(self, wanted: int, up: Mapping[CapacityType, int]) -> int:
        """How many of the wanted VMs are to be on-demand, so that the mix holds once they are up.

        Nothing that is up is ended to reach it.

        >>> PurchaseMix(base=1, percent=50).on_demand_due(5, {})
        3
        """
        total = sum(up.values()) + wanted
        above = max(0, total - self.base)
        target = min(total, self.base) - (-above * self.percent // 100)
        return max(0, min(wanted, target - up.get(CapacityType.ON_DEMAND, 0)))
