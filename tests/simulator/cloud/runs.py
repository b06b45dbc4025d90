"""RunInstances: instances of one type in one subnet."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.simulator.cloud.authorisation import Caller, Launch
from tests.simulator.cloud.budgets import Budgets
from tests.simulator.cloud.errors import SERVER_ERRORS, Ec2Error
from tests.simulator.cloud.faults import Faults
from tests.simulator.cloud.launches import check_tags, launch, tags_of
from tests.simulator.cloud.pools import Pools
from tests.simulator.cloud.refusals import Override, volume_gib
from tests.simulator.cloud.region import Region
from tests.simulator.cloud.settings import LaunchTemplateData
from tests.simulator.cloud.tokens import Tokens

MARKET = "on-demand"


class Runs:
    """Serves RunInstances, on demand and without a launch template. Its client tokens count within a zone."""

    def __init__(self, *, region: Region, pools: Pools, budgets: Budgets, faults: Faults) -> None:
        self._region = region
        self._pools = pools
        self._budgets = budgets
        self._faults = faults
        self._tokens = Tokens()

    def run(self, request: Mapping[str, Any], now: datetime, caller: Caller | None) -> dict[str, Any]:
        """Launch.

        Raises:
            Ec2Error: the request is refused, as a whole.
        """
        subnet = self._region.network.subnet(request["SubnetId"])
        settings = self._region.settings
        if caller is not None:
            asked = Launch(request=request, override=request, capacity_type=MARKET, vpc=subnet.vpc, settings=settings)
            caller.check(asked.run())
        return self._tokens.once(request, lambda: self._launch(request, now), subnet.zone)

    def _launch(self, request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        check_tags(request, MARKET)
        tags = tags_of("instance", request, None)
        pool = self._pools.name(request, MARKET)
        seen = Override(
            pool=pool,
            subnet=request["SubnetId"],
            image=request.get("ImageId", ""),
            volume_gib=volume_gib(request),
            tags=tags,
        )
        self._faults.check("RunInstances", [seen])
        room = self._pools.room(request, MARKET, request["MaxCount"], now)
        if room.count < request["MinCount"]:
            raise Ec2Error(room.code, room.message, status=SERVER_ERRORS.get(room.code, 400))
        if self._budgets.instances("RunInstances", room.count, now) < room.count:
            raise Ec2Error("RequestLimitExceeded", "Too many instances at once", status=503)
        launched = launch(
            self._region,
            request,
            room.count,
            capacity_type=MARKET,
            image=self._pools.image(request),
            template=LaunchTemplateData(),
            tags=tags,
            now=now,
        )
        shown = [instance.described() for instance in launched]
        return {"ReservationId": f"r-{self._tokens.count:08x}", "Instances": shown}
