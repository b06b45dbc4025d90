"""The member `standby` of a class, as the operator writes it."""

from datetime import time, timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, model_validator

from agent_stack.adapters.ssm.entry_values import Entry
from agent_stack.domain.standby_schedule import Standby, Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = "24:00"  # the end of a day
MAX_HOT = 1000

_DAY = f"({'|'.join(DAYS)})"
Days = Annotated[str, Field(pattern=f"^{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*$")]
ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EndTime = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
TimeZone = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")]
Hot = Annotated[int, Field(ge=0, le=MAX_HOT)]


class WindowEntry(Entry):
    """A window of the week with a number of its own. The first one that is open decides."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    days: Days = Field(description="Days on which it begins, such as mon-fri or sat,sun.")
    begin: ClockTime = Field(alias="from", description="Local time at which it opens, such as 08:00.")
    end: EndTime = Field(alias="to", description="Local time at which it closes; on the next day if not after from.")
    timezone: TimeZone = Field(default="UTC", description="A name of the tz database, such as Europe/Berlin.")
    hot: Hot = Field(description="Standby VMs while it is open.")

    @model_validator(mode="after")
    def _there_is_such_a_window(self) -> "WindowEntry":
        if self.begin == self.end:
            raise ValueError(f"from and to are both {self.begin}; write 00:00 to {MIDNIGHT} for a whole day")
        if self.timezone not in _zones():
            raise ValueError(
                f"there is no time zone {self.timezone!r}; use a name of the tz database, such as Europe/Berlin"
            )
        return self

    def to_window(self) -> Window:
        """The domain's value."""
        return Window(
            days=frozenset(day for part in self.days.split(",") for day in _days(part)),
            begin=time.fromisoformat(self.begin),
            end=None if self.end == MIDNIGHT else time.fromisoformat(self.end),
            timezone=ZoneInfo(self.timezone),
            hot=self.hot,
        )


class StandbyEntry(Entry):
    """VMs that are up and prepared before a job asks for one."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    hot: Hot = Field(description="Standby VMs outside of all windows.")
    max_age_minutes: int = Field(
        default=240, ge=10, le=1440, description="How long one stands by at most, give or take a fifth."
    )
    schedule: list[WindowEntry] = Field(default_factory=list, max_length=20)

    def to_standby(self) -> Standby:
        """The domain's value."""
        return Standby(
            hot=self.hot,
            max_age=timedelta(minutes=self.max_age_minutes),
            schedule=tuple(window.to_window() for window in self.schedule),
        )


@cache
def _zones() -> frozenset[str]:
    """Those of the tz database that ships with the functions. A machine may know more, such as `localtime`."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


def _days(part: str) -> list[int]:
    """The days that `mon`, `mon-fri` or `sat-mon` names."""
    first, _, last = part.partition("-")
    begin = DAYS.index(first)
    count = (DAYS.index(last or first) - begin) % len(DAYS)
    return [(begin + number) % len(DAYS) for number in range(count + 1)]
