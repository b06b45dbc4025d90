"""`agent-stack cost`: what jobs' VMs cost, from the ledger's own records and dated list prices.

A VM is billed from its launch until its run ended; a VM that failed before its agent, for the seconds that the record
keeps of it. The time for which a VM stood by before it had its job is a group of its own: no pipeline asked for it. Not
in it: volumes, data transfer, taxes, discounts, and VMs that never had a job.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite

from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType, RunState
from agent_stack_cli.errors import CliError
from agent_stack_cli.origins import build_of, pipeline_of
from agent_stack_cli.output import Output, clean
from agent_stack_cli.prices import DATE, REGIONS, usd
from agent_stack_cli.records import Records
from agent_stack_cli.stacks import Stack

HOUR = timedelta(hours=1)
FORMULA = frozenset("=+-@|%\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What begins a formula in one spreadsheet or another. Source: OWASP, CSV injection."""

BY: Mapping[str, Callable[[Run], str]] = {
    "class": lambda run: run.class_name.partition(" ")[0] or "none",
    "queue": lambda run: run.queue_key,
    "pipeline": lambda run: pipeline_of(run) or "unknown",
    "build": build_of,
    "day": lambda run: f"{run.state_entered_at:%Y-%m-%d}",
}
"""What costs are summed by."""

STOOD_BY = "(stood by)"
"""No class, queue or pipeline can have this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One VM's time for one job."""

    run: Run
    instance_type: str
    zone: str
    capacity_type: CapacityType
    began: datetime
    took: timedelta
    stood_by: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Jobs and VMs of one group. `usd` is without the hours in `unpriced_hours`."""

    group: str
    jobs: int
    vms: int
    hours: float
    usd: float
    unpriced_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """All groups, dearest first, and the instance types without a price."""

    stack: str
    by: str
    since: datetime
    prices_of: str
    groups: tuple[Sum, ...]
    total: Sum
    unpriced: tuple[str, ...]


class HourlyPrices:
    """What an hour of a VM costs: the operator's own prices, the dated list, and what EC2 says of spot."""

    def __init__(self, stack: Stack, own: Iterable[str]) -> None:
        """Takes prices as TYPE=USD.

        Raises:
            CliError: one is not written so.
        """
        self._stack = stack
        listed = usd(stack.session.region) if stack.session.region in REGIONS else {}
        self._on_demand = {
            name.removesuffix("_hour"): price for name, price in listed.items() if name.endswith("_hour")
        }
        self._spot: dict[tuple[str, str], float | None] = {}
        for text in own:
            name, _, price = text.partition("=")
            try:
                usd_an_hour = float(price)
                if not (name and isfinite(usd_an_hour) and usd_an_hour >= 0):
                    raise _no_price(text)
                self._on_demand[name] = usd_an_hour
            except ValueError:
                raise _no_price(text) from None

    def of(self, use: Use) -> float | None:
        """USD an hour; None when nobody told it."""
        if use.capacity_type is CapacityType.SPOT:
            key = (use.instance_type, use.zone)
            if key not in self._spot:
                self._spot[key] = self._asked(use)
            return self._spot[key]
        return self._on_demand.get(use.instance_type)

    def _asked(self, use: Use) -> float | None:
        history = self._stack.session.ec2.describe_spot_price_history(
            InstanceTypes=[use.instance_type],  # type: ignore[list-item]  # the stub knows today's types only
            AvailabilityZone=use.zone,
            ProductDescriptions=["Linux/UNIX"],
            StartTime=use.began,
            MaxResults=1,
        )["SpotPriceHistory"]
        return float(history[0]["SpotPrice"]) if history else None


def _no_price(text: str) -> CliError:
    return CliError(f"{text!r} is no price", next="write it as --price m7i.large=0.12")


def uses(run: Run) -> Iterator[Use]:
    """Every VM that a run had, as far as its record tells."""
    for attempt in run.tried:
        yield Use(
            run=run,
            instance_type=attempt.instance_type,
            zone=attempt.zone,
            capacity_type=attempt.capacity_type,
            began=run.state_entered_at - timedelta(seconds=attempt.seconds),
            took=timedelta(seconds=attempt.seconds),
        )
    if run.binding is not None and run.state is RunState.ENDED:
        binding = run.binding
        since = run.vm_since or binding.launched_at
        for_job = Use(
            run=run,
            instance_type=binding.instance_type,
            zone=binding.zone,
            capacity_type=binding.capacity_type,
            began=since,
            took=max(timedelta(), run.state_entered_at - since),
        )
        yield for_job
        if binding.standby:
            yield replace(for_job, began=binding.launched_at, took=since - binding.launched_at, stood_by=True)


def read(stack: Stack, *, by: str, days: float, own_prices: Iterable[str]) -> Costs:
    """The costs of runs that ended in the last days.

    Raises:
        CliError: there is no such grouping, or a price is no number.
    """
    if by not in BY:
        raise CliError(f"costs cannot be summed by {by}", next=f"choose one of {', '.join(BY)}")
    prices, since = HourlyPrices(stack, own_prices), datetime.now(UTC) - timedelta(days=days)
    found = [use for run in Records(stack=stack).ended() if run.state_entered_at >= since for use in uses(run)]
    groups: dict[str, list[Use]] = defaultdict(list)
    for use in found:
        groups[STOOD_BY if use.stood_by else BY[by](use.run)].append(use)
    summed = [_sum(name, members, prices) for name, members in groups.items()]
    return Costs(
        stack=stack.name,
        by=by,
        since=since,
        prices_of=DATE,
        groups=tuple(sorted(summed, key=lambda group: (-group.usd, group.group))),
        total=_sum("all", found, prices),
        unpriced=tuple(sorted({use.instance_type for use in found if prices.of(use) is None})),
    )


def show(costs: Costs, output: Output) -> None:
    """The costs for people."""
    if output.as_json:
        output.json(costs)
        return
    rows = [*costs.groups, costs.total] if costs.groups else []
    output.line(f"VMs of {costs.stack} since {costs.since:%Y-%m-%d %H:%M} UTC, by {costs.by}", "head")
    output.table(
        (costs.by, "jobs", "VMs", "hours", "USD"),
        [(s.group, s.jobs, s.vms, f"{s.hours:.2f}", f"{s.usd:.4f}") for s in rows],
    )
    if not rows:
        output.line("No job with a VM ended in that time.", "quiet")
    output.line(f"List prices of {costs.prices_of}; without volumes, data transfer, taxes and discounts.", "quiet")
    if costs.unpriced:
        output.line(
            f"Not in the sums: {costs.total.unpriced_hours:.2f} hours of {', '.join(costs.unpriced)}, without a price",
            "warning",
        )
        output.line(f"Next: add --price {costs.unpriced[0]}=USD_PER_HOUR")


def as_csv(costs: Costs) -> str:
    """One line for each group, with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((costs.by, "jobs", "vms", "hours", "usd", "unpriced_hours"))
    for s in costs.groups:
        writer.writerow((_cell(s.group), s.jobs, s.vms, f"{s.hours:.4f}", f"{s.usd:.6f}", f"{s.unpriced_hours:.4f}"))
    return text.getvalue()


def _cell(text: str) -> str:
    """A text that no spreadsheet runs as a formula, and no terminal obeys."""
    shown = clean(text)
    return f"'{shown}" if text[:1] in FORMULA or text != text.lstrip() else shown


def _sum(name: str, members: list[Use], prices: HourlyPrices) -> Sum:
    priced = [(use.took / HOUR, prices.of(use)) for use in members]
    return Sum(
        group=name,
        jobs=len({use.run.job_id for use in members}),
        vms=len(members) if name == STOOD_BY else sum(not use.stood_by for use in members),
        hours=sum(hours for hours, _ in priced),
        usd=sum(hours * price for hours, price in priced if price is not None),
        unpriced_hours=sum(hours for hours, price in priced if price is None),
    )
