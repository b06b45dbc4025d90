"""docs/reference/cost.md: the tables, as the command computes them."""

from collections.abc import Iterable, Iterator, Sequence

from agent_stack_cli.prices import ASSUMED, DATE, PRICES, REGIONS, assumed, usd
from tests.cost import model
from tests.cost.model import AT_MOST, MODES, Bill
from tests.cost.usage import JOB_EVERY, JOB_MINUTES, JOBS
from tests.infra.stacks import template

LENGTHS = (1, 5, 20)
MEMORIES = (int(template()["Parameters"]["TrackerMemory"]["Default"]), 512, 256)

ALWAYS_UP = (
    "A month in which a VM is always up: the tracker's time, by `TrackerMemory`. Lambda bills the pauses between its "
    "cycles as well, so fewer cycles would not lower it; the first memory is the default."
)


def page() -> str:
    """The page's text."""
    return "\n".join(_lines()) + "\n"


def missed() -> list[str]:
    """The limits that an idle month in the first region exceeds."""
    bills = {mode: model.core(model.idle_month(mode, REGIONS[0])) for mode in MODES}
    return [f"idle month, {mode}: {bill:.2f} USD" for mode, bill in bills.items() if bill > AT_MOST[mode]]


def _lines() -> Iterator[str]:
    yield from ("# What it costs", "")
    yield (
        "Written by `scripts/cost --write` from template.yaml's settings, from API calls counted in a simulated run, "
        f"and from list prices of {DATE} in USD, without tax and without the free tier."
    )
    for region in REGIONS:
        yield from _of_region(region)
    yield from _alarm()
    yield from _inputs()


def _of_region(region: str) -> Iterator[str]:
    months = [model.idle_month(mode, region) for mode in MODES]
    yield from ("", f"## {region}", "", "A month without a job:", "")
    yield from _table(("", *MODES), [*_bills(months), ("functions and tables", *(_usd(model.core(m)) for m in months))])
    pace = f"where a job comes each {JOB_EVERY.total_seconds():g} s. A burst costs less."
    yield from ("", f"A thousand jobs: the stack's own part, over what it costs idle, {pace}", "")
    yield from _table(("", *MODES), _bills([model.thousand_jobs(mode, region) for mode in MODES]))
    yield from ("", ALWAYS_UP, "")
    yield from _table(
        ("", *(f"{memory} MiB" for memory in MEMORIES)),
        [("the tracker", *(_usd(model.tracker_all_month(memory, region)) for memory in MEMORIES))],
    )
    yield from ("", "A thousand jobs: what EC2 bills, one VM a job, by the length of a job:", "")
    heads = [f"{minutes} min" for minutes in LENGTHS]
    yield from _table(("", *heads), _bills([model.thousand_vms(minutes, region) for minutes in LENGTHS]))
    jobs = f"{assumed('jobs_of_a_busy_month'):,.0f}"
    yield from ("", f"A busy month: {jobs} jobs of {JOB_MINUTES} min, in public subnets:", "")
    yield from _table(("", *MODES), _bills([model.busy_month(mode, region) for mode in MODES]))
    yield from (
        "",
        "Costs that are easy to overlook. Public subnets need no NAT gateway, because no VM opens a port.",
        "",
    )
    yield from _table(("", "USD"), [(name, _usd(cost)) for name, cost in model.often_forgotten(region).items()])


def _alarm() -> Iterator[str]:
    price, first = template()["Parameters"]["VcpuHourUsd"]["Default"], REGIONS[0]
    month = usd(first)["custom_metric_month"] + usd(first)["alarm_month"]
    yield from ("", "## An alarm on what a day costs", "")
    yield (
        "`DailySpendAlarmUsd=50` rings when VMs used more vCPU hours within the last 24 hours than 50 USD pay for, at "
        f"`VcpuHourUsd` for each ({price}, an m7i.large's share in {REGIONS[1]}). 0, the default, makes no alarm. It "
        "knows of VMs within minutes, and of nothing else: no volumes, no data, no discounts. The metric and the alarm "
        f"cost {_usd(month)} USD a month. [Alarms](../operations/alarms.md#daily-spend) says what to do when it rings. "
        "For the true bill, hours later, make a daily budget in AWS Budgets, filtered by a tag of `CostTags`."
    )


def _inputs() -> Iterator[str]:
    yield from ("", "## Assumptions and sources", "")
    yield f"Counted in an idle hour, and while {JOBS} jobs of {JOB_MINUTES} min ran; each per minute:"
    yield ""
    heads = ("", "invocations", "function seconds", "read units", "write units", "log lines")
    yield from _table(heads, _counted())
    yield from ("", "Assumed, because no test can count it:", "")
    yield from (f"- `{name}` = {value:g}: {reason}" for name, (value, reason) in ASSUMED.items())
    yield from ("", "Prices. Look up those with a question mark: no second page confirmed them.", "")
    yield from _table(("", *REGIONS), [_price(name) for name in PRICES])


def _counted() -> Iterator[Sequence[str]]:
    for what, count in (("idle", model.idle_usage), ("with jobs", model.busy_usage)):
        for mode in MODES:
            usage = count(mode)
            counts = (
                sum(usage.invocations.values()),
                sum(usage.function_seconds.values()),
                usage.units.reads,
                usage.units.writes,
                usage.log_lines,
            )
            yield (f"{mode}, {what}", *(f"{each / usage.minutes:.1f}" for each in counts))


def _price(name: str) -> Sequence[str]:
    link = f"[{name}](https://aws.amazon.com/{PRICES[name].page}/)"
    amounts = (f"{usd(region)[name]:.10f}".rstrip("0").rstrip(".") for region in REGIONS)
    unsure = ("" if region in PRICES[name].confirmed else " ?" for region in REGIONS)
    return (link, *map("".join, zip(amounts, unsure, strict=True)))


def _bills(bills: Sequence[Bill]) -> Iterator[Sequence[str]]:
    for name in bills[0]:
        yield (name, *(_usd(bill[name]) for bill in bills))
    yield ("**together**", *(f"**{_usd(sum(bill.values()))}**" for bill in bills))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _usd(amount: float) -> str:
    return f"{amount:.2f}"
