"""One table: what this stack costs and how soon it acts, beside other ways, with goals. Options: --json, --quick,
--strict, --memory, --cpu, --transactions.

Each measure is one of the benchmarks that `scripts/bench NAME` prints in full. Seconds are virtual unless the row says
"here". `one by one` is one RunInstances for each job; `group` and `launcher` are the models of `side_by_side`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from tests.bench import boot, dispatch, stacks_api_calls, track
from tests.bench.field import Field, Machine, machines, memory_mib
from tests.bench.growth import ALLOWED, QUICK_SIZES, SIZES, Grown, grow
from tests.bench.peers import queue_fed, scaling_group
from tests.bench.processes import import_ratio
from tests.bench.rows import VIRTUAL, Guess, Row, at_most, printed
from tests.bench.side_by_side import HOT_SIZES, ours
from tests.simulator.buildkite import Dialect, Operation

BURSTS = {1: 60.0, 100: 60.0, 1_000: 120.0}


def calls() -> Iterator[Row]:
    """Requests to Buildkite beside the fewest that its limits allow. No notifications: some may stay unsent."""
    for dialect in Dialect:
        asked = stacks_api_calls.measured(dialect)
        counted = stacks_api_calls.fewest(dialect).keys() - {Operation.NOTIFY}
        used = sum(asked.used[operation] for operation in counted)
        least = sum(stacks_api_calls.fewest(dialect)[operation] for operation in counted)
        name = f"2,500 jobs, {dialect} API: requests but notifications"
        yield Row(measure=name, value=used, unit="requests", ratio=(used / least, "the fewest"))
        name = f"2,500 jobs, {dialect} API: refused, or not reserved"
        wrong = asked.refused + stacks_api_calls.MATCHABLE - asked.reserved
        yield at_most(name, wrong, "requests", 0)


def boots(*, quick: bool) -> Iterator[Row]:
    """The boot program."""
    for row in boot.measure(1 if quick else boot.ROUNDS, ("",)):
        yield Row(measure=f"boot, {row.way}: processes", value=row.processes, unit="processes")
        yield Row(measure=f"boot, {row.way}: requests", value=sum(row.requests.values()), unit="requests")
        yield Row(measure=f"boot, {row.way}: until the agent starts, here", value=row.seconds_median, unit="s")


def dispatched(machine: Machine, *, quick: bool) -> Iterator[Row]:
    """From jobs to requests for VMs, and what an idle queue costs."""
    found = dispatch.measure(machine, BURSTS, quick=quick)
    for burst in found.bursts:
        asked, name = burst.seconds_until_asked, f"{burst.jobs:,} jobs at once: until EC2 granted the last VM"
        peers = (
            (burst.one_by_one_seconds, "one by one", ()),
            (scaling_group(burst.jobs).asked, "the group", (Guess.GROUP,)),
            (queue_fed(burst.jobs).asked, "the launcher", (Guess.LAUNCHER,)),
        )
        for seconds, peer, guess in peers:
            yield Row(measure=name, value=asked, unit="s", ratio=(asked / seconds, peer), guesses=(*VIRTUAL, *guess))
            name = ""
        bound = burst.seconds_until_bound
        bound_name = f"{burst.jobs:,} jobs at once: until the last is bound"
        if burst.jobs == 1_000:
            yield at_most(f"{burst.jobs:,} jobs at once: CreateFleet", burst.fleet_calls, "requests", 4)
            yield at_most(bound_name, bound, "s", 10, *VIRTUAL)
        else:
            yield Row(measure=bound_name, value=bound, unit="s", guesses=VIRTUAL)
    for stream in found.streams:
        p50, p99 = dispatch.P50.get(stream.name, 1.5), dispatch.P99.get(stream.name, 2.5)
        yield at_most(f"{stream.name}: p50", stream.p50, "s", p50, *VIRTUAL)
        yield at_most(f"{stream.name}: p99", stream.p99, "s", p99, *VIRTUAL)
    yield at_most("an idle month, polling", found.idle.usd_a_month, "USD", dispatch.IDLE_USD, *VIRTUAL)
    yield Row(measure="an idle month, push", value=found.idle_with_push.usd_a_month, unit="USD", guesses=VIRTUAL)
    ratio = import_ratio(1) if quick else import_ratio()
    yield Row(
        measure="cold import, over bare boto3",
        value=ratio,
        unit="times",
        goal="≤ 2",
        holds=ratio <= dispatch.COLD_IMPORT,
    )
    jobs, active = (2_000, 1_000) if quick else (10_000, 5_000)
    heavy = dispatch.heavy_tick(Field(machine), scheduled=jobs, active=active)
    name = f"a cycle with {jobs:,} scheduled and {active:,} active jobs"
    yield Row(measure=name, value=heavy.cpu_seconds, unit="CPU s", guesses=(Guess.CORE,))
    yield Row(measure=f"{name}: peak", value=heavy.peak_mib, unit="MiB")


def tracked(machine: Machine, *, quick: bool) -> Iterator[Row]:
    """Following VMs, and ending them."""
    sizes = (100, 1_000) if quick else (100, 1_000, 5_000)
    looks = [track.Fleet(live, machine).look(first=news) for live in sizes for news in (True, False)]
    before: track.Look | None = None
    for look in [look for look in looks if not look.first]:
        each = look.cpu_seconds / look.live
        ratio = (each / (before.cpu_seconds / before.live), f"{before.live:,} VMs") if before else None
        yield Row(
            measure=f"a look at {look.live:,} VMs",
            value=look.cpu_seconds,
            unit="CPU s",
            ratio=ratio,
            goal="≤ 1.5 a VM" if ratio else "",
            holds=ratio is None or ratio[0] <= track.GROWTH,
            guesses=(Guess.CORE,),
        )
        before = look
    gone = track.Fleet(300 if quick else 2_000, machine, scheduled=True).cancel(track.CANCELLED)
    wrong = sum(not kept for kept in track.bars_of(looks, gone, {}).values()) - (gone.p99 > track.WITHIN_SECONDS)
    yield at_most("looks that ask more often than their pages need", wrong, "kinds", 0)
    name = f"a cancelled boot's VM is ended, {gone.live:,} VMs live: p99"
    yield at_most(name, gone.p99, "s", track.WITHIN_SECONDS, *VIRTUAL)


def grown(rows: Sequence[Grown]) -> Iterator[Row]:
    """Time and CPU of a job as jobs become more."""
    for row in rows:
        name = f"{row.jobs:,} jobs, no limit of EC2: until "
        name += "all are bound" if row.complete else f"time was over, {row.bound:,} bound"
        for value, ratio, unit, guesses in (
            (row.seconds, row.ratio, "s", VIRTUAL),
            (row.cpu_seconds, row.cpu_ratio, "CPU s", (Guess.CORE,)),
        ):
            before = row.before
            yield Row(
                measure=name,
                value=value,
                unit=unit,
                ratio=None if before is None or ratio is None else (ratio, f"a job of {before.jobs:,}"),
                goal=f"≤ {ALLOWED} a job" if before else "",
                holds=ratio is None or (row.complete and ratio <= ALLOWED),
                guesses=guesses,
            )
            name = ""


def beside(place: Field) -> Iterator[Row]:
    """Until the last job has its agent, cold and hot, beside the two models."""
    for hot in (False, True):
        for jobs in HOT_SIZES:
            one = ours(place, jobs, hot=hot)
            name = f"{jobs:,} jobs, {'hot' if hot else 'cold'}: until the last agent has its job"
            for other, peer, guess in (
                (scaling_group(jobs), "the group", Guess.GROUP),
                (queue_fed(jobs), "the launcher", Guess.LAUNCHER),
            ):
                ratio = (one.started / other.started, peer)
                yield Row(measure=name, value=one.started, unit="s", ratio=ratio, guesses=(*VIRTUAL, guess))
                name = ""


def main(options: Sequence[str]) -> int:
    """Print; the exit status: 1 with --strict when a goal is missed, and whenever Buildkite's limits were broken."""
    quick = "--quick" in options
    machine = machines(options)[0]
    place = Field(machine)
    tracker = replace(machine, memory_mib=memory_mib(options, "TrackerMemory"))
    asked = list(calls())
    rows = [*asked, *boots(quick=quick), *dispatched(machine, quick=quick), *tracked(tracker, quick=quick)]
    rows += [] if quick else beside(place)
    rows += grown(grow(place, QUICK_SIZES if quick else SIZES))
    if "--json" in options:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in printed(rows))
    broken = any(row.missed for row in asked)
    return 1 if broken or ("--strict" in options and any(row.missed for row in rows)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
