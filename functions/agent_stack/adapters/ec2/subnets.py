"""The operator's subnets: which of them exist, in which zones, and how many addresses each still has."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from agent_stack.adapters.aws import AwsCalls, RefusedError, required, required_text
from agent_stack.adapters.ec2.errors import denied
from agent_stack.adapters.pages import members, next_page
from agent_stack.domain.errors import AgentStackError, ConfigurationError, NotPermittedError, RetryError
from agent_stack.ports import Clock, Telemetry

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAX_AGE = timedelta(minutes=5)
RECHECK = timedelta(seconds=30)
"""How soon a subnet without free addresses, or one that is gone, is looked at again."""

FRESH = timedelta(seconds=10)
"""How old an answer may be when the dispatcher is about to launch and EC2 can be asked beside the cycle."""

UNANSWERED = timedelta(seconds=5)
"""How long nobody asks again after a failure. The question is part of a cycle, in which other classes wait."""

MAX_FILTER_VALUES = 200  # source: EC2's filtering limits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subnet:
    """What EC2 says of one: its zone, and how many addresses are free."""

    subnet_id: str
    zone: str
    free: int


@dataclass(slots=True, kw_only=True)
class Subnets:
    """Reads them by filter, because one missing id would fail the whole question. Worker threads use it, too.

    Attributes:
        subnet_ids: in the operator's order.
    """

    client: Callable[[], "EC2Client"]
    calls: AwsCalls
    clock: Clock
    telemetry: Telemetry
    subnet_ids: tuple[str, ...]
    _zones: dict[str, str] = field(default_factory=dict, init=False)
    """Zones by subnet, also of subnets that are gone: an answer may still name one."""
    _free: dict[str, int] = field(default_factory=dict, init=False)
    """Free addresses of the subnets that exist, less what was launched since they were read."""
    _said: dict[str, bool] = field(default_factory=dict, init=False)
    """What was said of a subnet: that it is gone, or full."""
    _due: timedelta | None = field(default=None, init=False)
    _read_at: timedelta | None = field(default=None, init=False)
    _failure: AgentStackError | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def by_zone(self) -> Mapping[str, str]:
        """The subnet with most free addresses for each zone: EC2 refuses two of one zone as one pool named twice.

        Zones without a free address are left out while another zone has some.

        Raises:
            RetryError: EC2 has not said yet which subnets exist.
            ConfigurationError: none of them exists.
        """
        self._refresh()
        with self._lock:
            if not self._free:
                raise self._failure or self._none_exists()
            usable = [subnet for subnet in self._existing() if self._free[subnet] > 0] or list(self._existing())
            by_zone: dict[str, str] = {}
            for subnet in usable:
                best = by_zone.setdefault(self._zones[subnet], subnet)
                if self._free[subnet] > self._free[best]:
                    by_zone[self._zones[subnet]] = subnet
            return by_zone

    def look_beside(self) -> None:
        """Read them again if somebody uses them and they are not fresh: a refused launch costs a job seconds."""
        with self._lock:
            if self._read_at is None or self.clock.monotonic() - self._read_at < FRESH:
                return
            self._due = self.clock.monotonic()
        self._refresh()

    def of_zone(self, zone: str) -> str:
        """The subnet to use there, as it was known last: a request that is being written asks EC2 nothing."""
        with self._lock:
            there = [subnet for subnet in self._existing() if self._zones[subnet] == zone]
            known = there or [subnet for subnet, its_zone in self._zones.items() if its_zone == zone]
            return max(known, key=lambda subnet: self._free.get(subnet, 0))

    def zones(self) -> Mapping[str, str]:
        """The zone of each subnet that was ever found; empty before EC2 has answered."""
        if not self._zones:
            self._refresh()
        with self._lock:
            return dict(self._zones)

    def missing(self) -> Sequence[str]:
        """The subnets that do not exist.

        Raises:
            RetryError: EC2 has not said which subnets exist.
            ConfigurationError: none of them exists.
        """
        found = self.by_zone()
        return [subnet for subnet in self.subnet_ids if found and subnet not in self._free]

    def launched(self, subnet: str, count: int) -> None:
        """So many VMs took an address there."""
        with self._lock:
            if subnet in self._free:
                self._free[subnet] = max(0, self._free[subnet] - count)

    def refused(self, subnet: str, *, gone: bool) -> bool:
        """EC2 has no free address there, or no such subnet. Whether the zone has another subnet to use."""
        with self._lock:
            if subnet not in self._zones:
                return False
            if gone:
                self._free.pop(subnet, None)
            elif subnet in self._free:
                self._free[subnet] = 0
            self._say(subnet, gone=gone)
            self._recheck()
            zone = self._zones[subnet]
            return any(self._free[other] > 0 and self._zones[other] == zone for other in self._existing())

    def _existing(self) -> Iterator[str]:
        return (subnet for subnet in self.subnet_ids if subnet in self._free)

    def _refresh(self) -> None:
        now = self.clock.monotonic()
        with self._lock:
            if self._due is not None and now < self._due:
                return
            self._due = now + UNANSWERED  # no second thread asks meanwhile
        try:
            described = list(self._described())
        except RefusedError as error:
            kind = NotPermittedError if denied(error.code) else ConfigurationError
            self._failed(kind(setting="Subnets", value=self._names(), problem=f"EC2 refuses: {error}", remedy=_LOOK))
        except AgentStackError as error:
            self._failed(RetryError(f"the subnets are not known yet: {error}"))
        else:
            self._take_in(described, now)

    def _failed(self, error: AgentStackError) -> None:
        with self._lock:
            self._failure = error
        self.telemetry.warning("subnets_unknown", error=str(error))

    def _take_in(self, described: Sequence["_Subnet"], now: timedelta) -> None:
        with self._lock:
            self._failure, self._read_at = None, now
            self._due = now + MAX_AGE
            self._zones |= {one.subnet_id: one.zone for one in described}
            self._free = {one.subnet_id: one.free for one in described}
            for subnet in self.subnet_ids:
                if subnet not in self._free:
                    self._say(subnet, gone=True)
                elif not self._free[subnet]:
                    self._say(subnet, gone=False)
                elif self._said.pop(subnet, None) is not None:
                    self.telemetry.info("subnet_usable", subnet=subnet, zone=self._zones[subnet])
            if any(not self._free.get(subnet) for subnet in self.subnet_ids):
                self._recheck()

    def _recheck(self) -> None:
        soon = self.clock.monotonic() + RECHECK
        self._due = soon if self._due is None else min(self._due, soon)

    def _say(self, subnet: str, *, gone: bool) -> None:
        """Once, until it changes."""
        if self._said.get(subnet) is gone:
            return
        self._said[subnet] = gone
        if gone:
            self.telemetry.error("subnet_gone", subnet=subnet, zone=self._zones.get(subnet, ""))
        else:
            self.telemetry.warning("subnet_full", subnet=subnet, zone=self._zones.get(subnet, ""))

    def _described(self) -> Iterator["_Subnet"]:
        for start in range(0, len(self.subnet_ids), MAX_FILTER_VALUES):
            wanted = list(self.subnet_ids[start : start + MAX_FILTER_VALUES])
            asked: dict[str, Any] = {"Filters": [{"Name": "subnet-id", "Values": wanted}]}
            yield from members(self.calls, "DescribeSubnets", partial(self._page, asked))

    def _page(self, asked: Mapping[str, Any], token: str | None) -> tuple[list["_Subnet"], str]:
        answer: Mapping[str, Any] = self.client().describe_subnets(**asked, **next_page(token))
        found = [
            _Subnet(
                subnet_id=required_text(one["SubnetId"]),
                zone=required_text(one["AvailabilityZone"]),
                free=required(one["AvailableIpAddressCount"], int),
            )
            for one in answer["Subnets"]
        ]
        return found, required(answer.get("NextToken") or "", str)

    def _none_exists(self) -> ConfigurationError:
        problem = "EC2 finds none of them"
        return ConfigurationError(setting="Subnets", value=self._names(), problem=problem, remedy=_LOOK)

    def _names(self) -> str:
        return ", ".join(self.subnet_ids)


_LOOK = "Name subnets of VpcId that exist, and deploy again."
