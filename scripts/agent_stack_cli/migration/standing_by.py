"""What kept VMs up ahead of jobs on that stack, as the class field `standby`: all of it is one member."""

import re
from typing import Any

from agent_stack_cli.migration.rows import Outcome, Values, changed, refused, unneeded

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""By cron's number: Sunday is 0 and 7."""
_DAY = r"(?:[0-7]|sun|mon|tue|wed|thu|fri|sat)"
_CRON = re.compile(rf"([0-5]?\d) ([01]?\d|2[0-3]) \* \* (\*|{_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*)")
MEANING = (
    "They are standby VMs of the class here: that many stay idle, beside the VMs that have jobs. A standby VM runs one "
    "job and ends, and another one takes its place."
)
SEE_COST = "See what an hour of standing by costs: agent-stack cost. Lower hot where VMs were up only to shorten waits."
BY_HAND = (
    "Write the windows of the class field standby.schedule yourself: days, from, to, timezone and hot, as in "
    "docs/reference/classes.md."
)


def fields(values: Values) -> dict[str, Any]:
    """The class's fields; none where no VM was kept up.

    Raises:
        ValueError: the schedule is more than one window a day.
    """
    buffer = int(values.number("InstanceBuffer"))
    if not values.on("EnableScheduledScaling"):
        hot = max(buffer, int(values.number("MinSize")))
        return {"standby": {"hot": hot}} if hot > 0 else {}
    opens, closes = _moment(values["ScaleUpSchedule"]), _moment(values["ScaleDownSchedule"])
    if opens[1] != closes[1]:
        raise ValueError("it is not one window on the same days")
    window = {"days": opens[1], "from": opens[0], "to": closes[0], "timezone": values["ScheduleTimezone"]}
    inside, outside = (max(buffer, int(values.number(name))) for name in ("ScaleUpMinSize", "ScaleDownMinSize"))
    return {"standby": {"hot": outside, "schedule": [{**window, "hot": inside}]}}


def kept_up(values: Values) -> Outcome:
    """For MinSize and InstanceBuffer."""
    if values.on("EnableScheduledScaling"):
        return unneeded("EnableScheduledScaling says how many VMs stand by.")
    found = fields(values)
    return changed(MEANING, SEE_COST, fields=found) if found else unneeded("No VM waits for jobs, as here.")


def scheduled(values: Values) -> Outcome:
    """For all that is about the schedule."""
    if not values.on("EnableScheduledScaling"):
        return unneeded("Scheduled scaling is off.")
    try:
        found = fields(values)
    except ValueError as error:
        return refused(f"The schedule could not be carried over: {error}.", BY_HAND)
    return changed(MEANING, SEE_COST, fields=found)


def _moment(cron: str) -> tuple[str, str]:
    """The local time and the days of a cron line that names one time on days of the week."""
    found = _CRON.fullmatch(" ".join(cron.lower().split()))
    if found is None:
        raise ValueError(f"{cron!r} is not one time on days of the week, such as 0 8 * * MON-FRI")
    minute, hour, days = found.groups()
    named = "mon-sun" if days == "*" else re.sub(r"[0-7]", lambda day: DAYS[int(day[0])], days)
    return f"{int(hour):02}:{int(minute):02}", named
