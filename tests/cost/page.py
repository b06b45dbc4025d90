"""docs/cost.md: the tables, as the command computes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.cost.model import JOB_MINUTES, MEMORY_MIB, PLAYED_JOB_MINUTES, Bill, Costs, bars, modes
from tests.cost.play import JOB_EVERY, JOBS
from tests.cost.prices import REGIONS, prices_of
from tests.cost.template import FUNCTIONS, stack

TAILS = (1, 5, 20)


def page() -> str:
    """The page's text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    first = REGIONS[0]
    costs = {region: Costs(prices_of(region)) for region in REGIONS}
    yield from ("# What it costs", "")
    yield (
        "Written by `scripts/cost --write` from template.yaml's settings, from calls counted in a played world, and "
        f"from list prices of {costs[first].prices.date} in USD, without tax and without the free tier. "
        "`scripts/cost --json` has every figure."
    )
    for region in REGIONS:
        yield from _of_region(costs[region], detailed=region == first)
    yield from _inputs(costs)


def _of_region(costs: Costs, *, detailed: bool) -> Iterator[str]:
    yield from ("", f"## {costs.prices.region}", "")
    for bar in bars(costs):
        kept = "kept" if bar.kept else "**missed**"
        yield f"- {kept}: {bar.name}: functions and tables {_usd(bar.usd)}, at most {_usd(bar.at_most)}"
    yield from ("", "### A month without a job", "")
    sizes = [f"{size} MiB" for size in MEMORY_MIB]
    yield from _table(("Functions and tables", "with the template's memory", *sizes), _by_memory(costs))
    yield ""
    yield from _table(("With the template's memory", *(mode.name for mode in modes())), _month(costs))
    yield from ("", "### A thousand jobs", "")
    yield f"The stack's own part, for jobs that come one each {JOB_EVERY.total_seconds():g} s; a burst costs less."
    yield ""
    yield from _table(("Over what it costs idle", *(mode.name for mode in modes())), _thousand(costs))
    yield ""
    yield "What EC2 bills, one VM a job:"
    yield ""
    yield from _table(("Jobs of", *(f"{minutes} min" for minutes in JOB_MINUTES)), _vms(costs))
    if detailed:
        yield from _beside(costs)


def _by_memory(costs: Costs) -> Iterable[Sequence[str]]:
    for mode in modes():
        bills = [costs.idle_month(mode, dict.fromkeys(FUNCTIONS, size)) for size in MEMORY_MIB]
        yield (mode.name, _usd(costs.idle_month(mode).core), *(_usd(bill.core) for bill in bills))


def _month(costs: Costs) -> Iterable[Sequence[str]]:
    yield from _bills([costs.idle_month(mode) for mode in modes()])


def _thousand(costs: Costs) -> Iterable[Sequence[str]]:
    yield from _bills([costs.thousand_jobs(mode) for mode in modes()])


def _bills(bills: Sequence[Bill]) -> Iterable[Sequence[str]]:
    yield ("functions", *(_usd(bill.functions) for bill in bills))
    yield ("tables", *(_usd(bill.tables) for bill in bills))
    for name in bills[0].others:
        yield (name, *(_usd(bill.others[name]) for bill in bills))
    yield ("**together**", *(f"**{_usd(bill.total)}**" for bill in bills))


def _vms(costs: Costs) -> Iterable[Sequence[str]]:
    lengths = [costs.thousand_vms(minutes) for minutes in JOB_MINUTES]
    for name in lengths[0]:
        yield (name, *(_usd(length[name]) for length in lengths))
    yield ("**together**", *(f"**{_usd(sum(length.values()))}**" for length in lengths))


def _beside(costs: Costs) -> Iterator[str]:
    yield from ("", "### What people forget", "")
    yield from _table(("Of a thousand jobs", "USD"), [(name, _usd(usd)) for name, usd in costs.forgotten().items()])
    yield ""
    yield (
        f"A NAT gateway costs {_usd(costs.nat_month())} a month before it carries anything, in each zone that has one. "
        "Public subnets need none: no port of a VM is open."
    )
    yield from ("", "### Beside the Elastic CI Stack", "")
    scaler = costs.elastic_month()
    yield from _table(("An idle month of its scaler", "USD"), [(name, _usd(usd)) for name, usd in scaler.items()])
    tail, idle = costs.elastic_tail(), costs.prices.assumed["elastic_idle_seconds"]
    yield ""
    yield (
        f"Its VMs take job after job, and each idles {idle / 60:g} min before it goes, which costs {_usd(tail, 4)} "
        "a time. Ours run one job and go at once. What its idle tails add to a thousand jobs:"
    )
    yield ""
    rows = [("idle tails", *(_usd(tail * 1_000 / jobs) for jobs in TAILS))]
    yield from _table(("Jobs that one of its VMs runs", *map(str, TAILS)), rows)
    yield ""
    spent = costs.prices.assumed["vm_seconds_beside_job"]
    ours = sum(costs.thousand_vms(spent / 60).values()) - sum(costs.thousand_vms(0).values())
    yield (
        f"What ours pay instead is {spent:g} s of boot and end for each job, {_usd(ours)} for a thousand. Where jobs "
        "follow one another closely its reuse is cheaper; where they come in bursts, or may not share a VM, it is not."
    )


def _inputs(costs: Mapping[str, Costs]) -> Iterator[str]:
    first = costs[REGIONS[0]]
    yield from ("", "## What this rests on", "")
    yield f"Counted in an idle hour, and while {JOBS} jobs of {PLAYED_JOB_MINUTES} min ran; each per minute:"
    yield ""
    heads = ("", "invocations", "function seconds", "read units", "write units", "log lines")
    yield from _table(heads, _counted(first))
    deployed = stack()
    memory = ", ".join(f"{function} {size} MiB" for function, size in deployed.memory_mib.items())
    yield from ("", f"Settings: {memory}; polling each {deployed.idle_poll_seconds:g} s; default class m7i.large.", "")
    yield from ("Assumed, for nothing here can count it:", "")
    for name, value in first.prices.assumed.items():
        yield f"- `{name}` = {value:g}: {first.prices.reasons[name]}"
    yield from ("", "Prices; those with a question mark could not be confirmed by a second page and want a look:", "")
    rows = [
        (
            f"[{name}]({first.prices.pages[name]})",
            *(
                f"{_price(cost.prices.usd[name])}{' ?' if name in cost.prices.unconfirmed else ''}"
                for cost in costs.values()
            ),
        )
        for name in first.prices.usd
    ]
    yield from _table(("", *REGIONS), rows)


def _counted(costs: Costs) -> Iterable[Sequence[str]]:
    for what, usages in (
        ("idle", costs.idle_usage),
        ("with jobs", {name: worked.usage for name, worked in costs.worked.items()}),
    ):
        for name, usage in usages.items():
            counts = (
                sum(usage.invocations.values()),
                sum(usage.function_seconds.values()),
                usage.units.reads,
                usage.units.writes,
                usage.log_lines,
            )
            yield (f"{name}, {what}", *(f"{count / usage.minutes:.1f}" for count in counts))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _usd(amount: float, digits: int = 2) -> str:
    return f"{amount:.{digits}f}"


def _price(amount: float) -> str:
    return f"{amount:.10f}".rstrip("0").rstrip(".")
