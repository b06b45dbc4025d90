"""The pools of a fleet: in which order they are tried, and how much room each has."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.errors import Ec2Error, refused, words
from tests.simulator.cloud.images import Image, Images
from tests.simulator.cloud.prices import price
from tests.simulator.cloud.quotas import Quotas, bucket_of
from tests.simulator.cloud.region import Region
from tests.simulator.cloud.volumes import check_room, check_volumes

NO_CAPACITY = "InsufficientInstanceCapacity"
NO_ADDRESS = "InsufficientFreeAddressesInSubnet"
QUOTA = {"spot": "MaxSpotInstanceCountExceeded", "on-demand": "VcpuLimitExceeded"}
LAST = float("inf")
MIN_SPOT_PRICE = 0.001  # USD an hour; source: EC2's API reference, MaxPrice of a launch template override


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a pool can give.

    Attributes:
        code: of what runs out first.
    """

    count: int
    code: str
    message: str


class Pools:
    """All pools of a region."""

    def __init__(self, *, region: Region, quotas: Quotas, images: Images) -> None:
        self._region = region
        self._quotas = quotas
        self._images = images

    def name(self, override: Mapping[str, Any], capacity_type: str) -> str:
        """`capacity_type:type:zone`."""
        return f"{capacity_type}:{override['InstanceType']}:{self._zone(override)}"

    def ordered(
        self, overrides: Sequence[Mapping[str, Any]], request: Mapping[str, Any], capacity_type: str
    ) -> Sequence[Mapping[str, Any]]:
        """The pools in the order in which they are tried.

        `price-capacity-optimized` is simulated as: pools with room for all that is wanted first, of these the cheaper.

        Raises:
            Ec2Error: a subnet is unknown, two overrides name one pool, a price limit is none, or the strategy is not
                known.
        """
        for override in overrides:
            _check_price_limit(override)
        names = [self.name(override, capacity_type) for override in overrides]
        if len(set(names)) < len(names):
            raise Ec2Error("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools.")
        spot = capacity_type == "spot"
        options = request.get("SpotOptions" if spot else "OnDemandOptions", {})
        strategy = options.get("AllocationStrategy", "lowest-price")
        keys: Mapping[str, Callable[[Mapping[str, Any]], Any]] = (
            {
                "lowest-price": lambda one: self._price(one, capacity_type),
                "capacity-optimized": lambda one: self._short(one, capacity_type, request),
                "capacity-optimized-prioritized": lambda one: (
                    self._short(one, capacity_type, request),
                    one.get("Priority", LAST),
                ),
                "price-capacity-optimized": lambda one: (
                    self._short(one, capacity_type, request),
                    self._price(one, capacity_type),
                ),
            }
            if spot
            else {
                "lowest-price": lambda one: self._price(one, capacity_type),
                "prioritized": lambda one: one.get("Priority", LAST),
            }
        )
        if strategy not in keys:
            raise Ec2Error(
                "InvalidParameterValue", f"The allocation strategy {strategy} is not simulated for {capacity_type}"
            )
        return sorted(overrides, key=keys[strategy]) if len(overrides) > 1 else overrides

    def image(self, override: Mapping[str, Any]) -> tuple[str, Image]:
        """The image that a launch gets, and its id.

        Raises:
            Ec2Error: it cannot be launched.
        """
        if override["InstanceType"] not in catalogue():
            raise Ec2Error("InvalidParameterValue", f"Invalid value '{override['InstanceType']}' for InstanceType.")
        image_id, image = self._images.launched(override.get("ImageId", ""), override["InstanceType"])
        check_room(image, override)
        return image_id, image

    def room(self, override: Mapping[str, Any], capacity_type: str, wanted: int, now: datetime) -> Room:
        """How many instances the pool can give now, of those that are wanted."""
        try:
            self._check(override, capacity_type)
        except Ec2Error as error:
            return Room(count=0, code=error.code, message=error.message)
        named = {"type": override["InstanceType"], "zone": self._zone(override), "subnet": override["SubnetId"]}
        rooms: list[tuple[int, str, dict[str, object]]] = [
            (self._region.network.free[override["SubnetId"]], NO_ADDRESS, {})
        ]
        free = self._free(override, capacity_type)
        if free is not None:
            rooms.append((free, NO_CAPACITY, {}))
        under = self._quotas.room(capacity_type, override["InstanceType"], self._region.current(now), now)
        if under is not None:
            if under < wanted and self._region.settings.quota_answer == "nothing":
                under = 0
            limit = self._quotas.ceilings[f"{capacity_type}:{bucket_of(override['InstanceType'])}"]
            rooms.append((under, QUOTA[capacity_type], {"limit": limit}))
        count, code, values = min(rooms, key=lambda room: room[0])
        return Room(count=max(0, min(count, wanted)), code=code, message=words(code, **named, **values))

    def _check(self, override: Mapping[str, Any], capacity_type: str) -> None:
        """Whether anything can be launched there at all.

        Raises:
            Ec2Error: nothing can.
        """
        kind, zone = override["InstanceType"], self._zone(override)
        self.image(override)
        check_volumes(override)
        offered = f"{kind}:{zone}" not in self._region.settings.not_offered
        if not offered or capacity_type not in catalogue()[kind].usage_classes:
            raise refused("Unsupported", type=kind, zone=zone)
        if (
            capacity_type == "spot"
            and "MaxPrice" in override
            and float(override["MaxPrice"]) < price(capacity_type, kind, zone)
        ):
            raise refused("SpotMaxPriceTooLow", price=price(capacity_type, kind, zone))

    def _short(self, override: Mapping[str, Any], capacity_type: str, request: Mapping[str, Any]) -> bool:
        free = self._free(override, capacity_type)
        return free is not None and free < request["TargetCapacitySpecification"]["TotalTargetCapacity"]

    def _free(self, override: Mapping[str, Any], capacity_type: str) -> int | None:
        pool = self.name(override, capacity_type)
        capacity = self._region.settings.capacity
        return capacity[pool] - self._region.up_in(pool) if pool in capacity else None

    def _price(self, override: Mapping[str, Any], capacity_type: str) -> float:
        return price(capacity_type, override["InstanceType"], self._zone(override))

    def _zone(self, override: Mapping[str, Any]) -> str:
        return self._region.network.subnet(override["SubnetId"]).zone


def _check_price_limit(override: Mapping[str, Any]) -> None:
    """Whether the override's MaxPrice is a price, if it names one.

    Raises:
        Ec2Error: it is not a number, or below the least price that EC2 takes.
    """
    limit = override.get("MaxPrice", str(MIN_SPOT_PRICE))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", limit) or float(limit) < MIN_SPOT_PRICE:
        raise Ec2Error("InvalidParameterValue", f"Invalid value '{limit}' for MaxPrice.")
