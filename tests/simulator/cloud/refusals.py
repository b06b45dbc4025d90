"""Refusals as data: what EC2 says no to, how, from when and for how long.

Settings carry those of a scenario; `Faults.refuse` adds one while it runs. Both say the same over HTTP and on the
virtual clock.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One thing that EC2 refuses. What is not said matches everything.

    Attributes:
        message: EC2's own words for the code when empty; names such as `{type}`, `{zone}`, `{image}` are filled in.
        where: `pool` refuses the overrides that match, inside a good answer. `answer` launches nothing and says so
            inside a good answer, without LaunchTemplateAndOverrides. `request` refuses the whole request.
        action: which requests. Only a fleet's answer has errors inside; other actions are refused as a whole.
        pool: pattern of `capacity_type:type:zone`, such as `spot:*:eu-central-1a`.
        subnet: pattern of the subnet's id.
        image: pattern of the image's id as it was asked for.
        volume_gib_over: only volumes that are larger than this.
        tags: only requests whose instances get these tags; how one class of VMs is told from another.
        rest: with `pool`: the code of every later pool, which is not tried. A throttle inside a 200 looks like that.
        starts: from the beginning of the simulation, or from when it was added.
        lasts: how long; None for ever.
        times: how many requests at most; None for no end.
        chance: of each request, by the seed.
    """

    code: str
    message: str = ""
    where: Literal["pool", "answer", "request"] = "pool"
    action: str = "CreateFleet"
    pool: str = "*"
    subnet: str = "*"
    image: str = "*"
    volume_gib_over: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    rest: str = ""
    starts: timedelta = timedelta()
    lasts: timedelta | None = None
    times: int | None = None
    chance: float = 1.0

    def touches(self, override: "Override") -> bool:
        """Whether it is about that override."""
        return (
            fnmatchcase(override.pool, self.pool)
            and fnmatchcase(override.subnet, self.subnet)
            and fnmatchcase(override.image, self.image)
            and (self.volume_gib_over is None or override.volume_gib > self.volume_gib_over)
            and all(override.tags.get(key) == value for key, value in self.tags.items())
        )

    @property
    def whole(self) -> bool:
        """Whether it refuses whole requests; only a fleet's answer has errors inside."""
        return self.where == "request" or self.action != "CreateFleet"

    @property
    def about_launches(self) -> bool:
        """Whether it tells one launch from another, which no other action's request can match."""
        plain = Refusal(code=self.code)
        return any(
            getattr(self, name) != getattr(plain, name)
            for name in ("pool", "subnet", "image", "volume_gib_over", "tags")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a refusal can tell one pool of a request from another by."""

    pool: str
    subnet: str
    image: str
    volume_gib: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Active:
    refusal: Refusal
    since: datetime
    left: int | None

    def holds(self, action: str, now: datetime) -> bool:
        refusal = self.refusal
        begins = self.since + refusal.starts
        over = refusal.lasts is not None and now >= begins + refusal.lasts
        return refusal.action == action and now >= begins and not over and self.left != 0


class Refusals:
    """Those in force. A request asks once for its own and then looks which of its overrides they touch."""

    def __init__(self, refusals: Sequence[Refusal], *, now: datetime, seed: int) -> None:
        self._active = [_Active(refusal=refusal, since=now, left=refusal.times) for refusal in refusals]
        self._random = random.Random(f"{seed} refusals")

    def add(self, refusal: Refusal, now: datetime) -> None:
        """One more, from now on."""
        self._active.append(_Active(refusal=refusal, since=now, left=refusal.times))

    def remove(self, refusal: Refusal) -> None:
        """Refuse that no longer."""
        self._active = [active for active in self._active if active.refusal != refusal]

    def clear(self) -> None:
        """Refuse nothing any more."""
        self._active.clear()

    def of(
        self, action: str, overrides: Sequence[Override], now: datetime, *, whole: bool = False
    ) -> tuple[Refusal, ...]:
        """What this request meets; each of them is used up by one.

        Args:
            whole: of whole requests, in place of all others.
        """
        met = []
        for active in self._active:
            refusal = active.refusal
            if refusal.whole is not whole:
                continue
            touched = any(map(refusal.touches, overrides)) if overrides else not refusal.about_launches
            if not touched or not active.holds(action, now) or self._spared(refusal):
                continue
            active.left = None if active.left is None else active.left - 1
            met.append(refusal)
        return tuple(met)

    def _spared(self, refusal: Refusal) -> bool:
        return refusal.chance < 1 and self._random.random() >= refusal.chance


def volume_gib(override: Mapping[str, Any]) -> int:
    """The largest volume that an override asks for; 0 for none."""
    mappings = override.get("BlockDeviceMappings", ())
    return max((mapping.get("Ebs", {}).get("VolumeSize", 0) for mapping in mappings), default=0)
