"""A vCPU quota is a ceiling: what fits under it, and who else uses it, is found out by asking for less.

A refusal halves the request, down to one VM; then the bucket is full for VMs of that size. After a VM of this
deployment has ended in it, it is tried again soon, and then every three minutes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.quota_buckets import quota_name

RETRIES_AFTER_AN_END = tuple(timedelta(seconds=seconds) for seconds in (0, 10, 30, 60))
RETRY_EVERY = timedelta(minutes=3)
FORGOTTEN_AFTER = timedelta(minutes=15)
OLDEST_FIRST_AFTER = timedelta(minutes=10)
"""A job that has waited for so long gets the next room in a quota, so that small jobs cannot starve a large one."""

MAX_HELD = 8
HELD_GAP = timedelta(seconds=20)
"""Two looks that are not further apart belong to one time in which the quota was full of VMs of this deployment."""

MAX_BUCKETS = 40
MAX_MESSAGE_CHARACTERS = 160
_LIMIT = re.compile(r"current vCPU limit of (\d+)")

Held = tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What is known of one quota that has refused something.

    Attributes:
        most: vCPUs that one request may ask for now; one VM more than that is tried when `retry_at` says so.
        refused_at: the latest refusal, or the launch that filled it again after an end.
        ended_at: the latest end of one of our VMs in it; None while none was seen.
        retries: refusals since then.
        bound: so many vCPUs more do not fit, as far as is known; None when nothing is.
        tight: the bound is where one VM was refused, so that all below it may fit; else half of it is tried.
        growing: a retry succeeded, so the next request may ask for twice as much.
        vms: of this deployment in it, at the latest look at EC2's list; None before the first.
        vcpus: of these; None while a type's are not known.
        limit: the ceiling, where EC2 names it.
        too_large: a VM of that size did not fit although none of this deployment was in it.
        held: when it was full while VMs of this deployment were in it, oldest first.
    """

    most: int
    refused_at: datetime
    code: str
    message: str
    ended_at: datetime | None = None
    retries: int = 0
    bound: int | None = None
    tight: bool = False
    growing: bool = False
    vms: int | None = None
    vcpus: int | None = None
    limit: int | None = None
    too_large: int | None = None
    held: Held = ()

    @property
    def retry_at(self) -> datetime:
        """When one VM is asked for again, although it did not fit."""
        if self.ended_at is not None and self.retries < len(RETRIES_AFTER_AN_END):
            return self.ended_at + RETRIES_AFTER_AN_END[self.retries]
        return self.refused_at + RETRY_EVERY

    def vms_allowed(self, vcpus: int, now: datetime) -> int:
        """How many VMs of that size one request may ask for now."""
        if not self.is_full(vcpus):
            return max(1, self.most // vcpus)
        if self.never_fits(vcpus):  # no end makes room for it; a raised quota does
            return int(now >= self.refused_at + RETRY_EVERY)
        return int(now >= self.retry_at)

    def is_full(self, vcpus: int) -> bool:
        """Whether not even one VM of that size fits, as far as is known."""
        untried = not self.tight and self.bound is not None and vcpus < self.bound
        return self.most < vcpus and not untried

    def refused(self, *, asked: int, launched: int, vcpus: int, code: str, message: str, now: datetime) -> Self:
        """EC2 refused it.

        Args:
            asked: VMs of the request.
            launched: those that came of them in this bucket.
            vcpus: of one VM.
        """
        tight = launched > 0 or asked <= 1
        if tight and self.tight and self.bound is not None:
            bound = min(self.bound, vcpus)  # a large VM that does not fit says nothing of smaller ones
        else:
            bound = vcpus if tight else asked * vcpus
        most = bound - 1 if tight else max(vcpus, bound // 2)
        named = _LIMIT.search(message)
        limit = self.limit if named is None else int(named.group(1))
        if limit is not None:  # where EC2 names the ceiling, nothing above it is worth a request
            most, bound = min(most, limit), min(bound, limit + 1)
        too_large = self.too_large
        if asked <= 1 and self.vms == 0:
            too_large = vcpus if too_large is None else min(too_large, vcpus)
        return replace(
            self._with(launched, launched * vcpus),
            most=most,
            bound=bound,
            tight=tight,
            limit=limit,
            too_large=too_large,
            growing=False,
            refused_at=now,
            retries=self.retries + 1,
            code=code,
            message=message[:MAX_MESSAGE_CHARACTERS],
        )

    def granted(self, *, launched: int, vcpus: int, now: datetime) -> Self:
        """EC2 gave all that was asked for.

        Args:
            vcpus: of all of these VMs together.
        """
        known = replace(self._with(launched, vcpus), too_large=None)
        if self.growing or self.bound is None or vcpus >= self.bound:
            return replace(known, growing=True, most=2 * vcpus, bound=None, tight=False)
        bound = max(1, self.bound - vcpus)
        most = bound - 1 if self.tight else bound // 2
        if most < vcpus // launched and self.tight:
            return replace(known, bound=bound, most=most, ended_at=None, refused_at=now)
        return replace(known, bound=bound, most=most)

    def _with(self, vms: int, vcpus: int) -> Self:
        """With VMs that EC2's list does not show yet."""
        return replace(
            self,
            vms=None if self.vms is None else self.vms + vms,
            vcpus=None if self.vcpus is None else self.vcpus + vcpus,
        )

    def seen(self, *, vms: int, vcpus: int | None, now: datetime, full: bool) -> Self:
        """What EC2's list shows of this deployment in it.

        Args:
            full: whether runs wait that do not fit.
        """
        held = prolonged(self.held, now) if full and vms else self.held
        seen = replace(self, vms=vms, vcpus=vcpus, held=held)
        if self.vms is None or vms >= self.vms:
            return seen
        freed = self.vcpus - vcpus if self.vcpus is not None and vcpus is not None else self.vms - vms
        freed = max(0, freed)
        bound = None if self.bound is None else self.bound + freed
        return replace(seen, ended_at=now, retries=0, most=self.most + freed, bound=bound)

    def never_fits(self, vcpus: int) -> bool:
        """Whether EC2 names a ceiling that is lower than one VM of that size."""
        return self.limit is not None and vcpus > self.limit

    def is_worth_a_turn(self, vcpus: int) -> bool:
        """Whether a VM of that size may fit once VMs of this deployment have made room."""
        return not self.never_fits(vcpus) and (self.too_large is None or vcpus < self.too_large)

    def held_since(self, since: datetime) -> timedelta:
        """How long it was full of VMs of this deployment, after that."""
        return held_since(self.held, since)

    def words(self, bucket: Bucket) -> str:
        """Which quota it is, EC2's code, and what this deployment uses of it."""
        used = "" if self.vcpus is None else f", {self.vcpus} vCPUs by this stack"
        return f"{self.code} “{quota_name(bucket)}”{used}"


def prolonged(held: Held, now: datetime) -> Held:
    """With this moment. Moments that are not far apart belong to one time."""
    goes_on = bool(held) and now - held[-1][1] <= HELD_GAP
    longer = (*held[:-1], (held[-1][0], now)) if goes_on else (*held, (now, now))
    return ((longer[0][0], longer[1][1]), *longer[2:]) if len(longer) > MAX_HELD else longer


def held_since(held: Held, since: datetime) -> timedelta:
    """How long these times were in all, after that moment."""
    return sum((max(timedelta(), end - max(begin, since)) for begin, end in held), timedelta())


def current(quotas: Mapping[Bucket, Ceiling], now: datetime) -> Mapping[Bucket, Ceiling]:
    """Those that have refused something not long ago."""
    kept = {bucket: one for bucket, one in quotas.items() if now - one.refused_at < FORGOTTEN_AFTER}
    if len(kept) <= MAX_BUCKETS:
        return kept
    return dict(sorted(kept.items(), key=lambda item: item[1].refused_at)[-MAX_BUCKETS:])


def after_refusal(
    before: Ceiling | None, *, asked: int, launched: int, vcpus: int, code: str, message: str, now: datetime
) -> Ceiling:
    """The ceiling after a refusal; see `Ceiling.refused`."""
    known = before or Ceiling(most=asked * vcpus, refused_at=now, code=code, message="", retries=-1)
    return known.refused(asked=asked, launched=launched, vcpus=vcpus, code=code, message=message, now=now)
