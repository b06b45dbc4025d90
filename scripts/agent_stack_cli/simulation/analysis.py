"""The figures of a played day: waits and where their time went, VMs and their cost, by set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from agent_stack_cli.parameter_rules import DEFAULT_QUEUES
from agent_stack_cli.simulation.deployments import Deployment
from agent_stack_cli.simulation.prices_used import PricesUsed

HOUR = 3600.0
PARTS = ("until reserved", "until a VM is asked for", "VM starts", "VM boots, agent starts", "agent takes the job")
"""Of a wait, between the moments that the simulator gives."""

SHOWN_REASONS = 5

STATES = ("waits to be reserved", "waits for a VM", "VM boots", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One set, in figures. Waits are seconds from a job's scheduling to its start."""

    name: str
    jobs: int
    started: int
    cancelled: int
    cancelled_before: int
    lost: int
    finished_by_stack: int
    not_over: int
    on_standby: int
    wait_mean: float | None
    wait_p50: float | None
    wait_p95: float | None
    wait_p99: float | None
    wait_most: float | None
    parts_mean: Mapping[str, float]
    vms: int
    vms_at_once: int
    vm_hours: float
    standby_idle_hours: float
    usd_vms: float
    usd_standby: float
    usd_functions: float
    usd_a_job: float | None
    last_job_over: float | None
    requests_refused: int
    fullest_budget: str
    fullest_budget_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One set and what became of it.

    Attributes:
        idle: by VM, seconds for which a standby VM waited for a job.
    """

    deployment: Deployment
    outcome: Mapping[str, Any]
    prices: PricesUsed
    jobs: Sequence[Mapping[str, Any]] = field(init=False)
    vms: Sequence[Mapping[str, Any]] = field(init=False)
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "jobs", self.outcome["jobs"])
        object.__setattr__(self, "vms", self.outcome["vms"])
        object.__setattr__(self, "seconds", float(self.outcome["seconds"]))

    def waits(self) -> list[float]:
        """Seconds of each job that started, in order."""
        return sorted(job["started"] - job["scheduled"] for job in self.jobs if job["started"] is not None)

    def end_of(self, vm: Mapping[str, Any]) -> float:
        """When it ended, or the end of the day."""
        return self.seconds if vm["ended"] is None else float(vm["ended"])

    def idle_until(self, vm: Mapping[str, Any]) -> float:
        """Until when a standby VM waited for a job; its launch for any other."""
        if not vm["standby"]:
            return float(vm["launched"])
        return self.end_of(vm) if vm["bound"] is None else float(vm["bound"])

    def usd(self, vm: Mapping[str, Any], since: float, until: float) -> float:
        """What it cost in that time."""
        return self.prices.of(vm) * max(0.0, until - since) / HOUR

    def summary(self) -> Summary:
        """The figures."""
        waits = self.waits()
        costs = [self.usd(vm, vm["launched"], self.end_of(vm)) for vm in self.vms]
        idle = [(vm, self.idle_until(vm)) for vm in self.vms if vm["standby"]]
        functions = sum(
            self.prices.functions(seconds, float(self.deployment.value(f"{function.capitalize()}Memory")))
            for function, seconds in self.outcome["functions"].items()
        )
        fullest = max(self.outcome["requests"], key=lambda row: row["used_percent"])
        ended = [job["ended"] for job in self.jobs if job["ended"] is not None]
        total = sum(costs) + functions
        return Summary(
            name=self.deployment.name,
            jobs=len(self.jobs),
            started=len(waits),
            cancelled=sum(job["state"] == "canceled" for job in self.jobs),
            cancelled_before=sum(job["state"] == "canceled" and job["started"] is None for job in self.jobs),
            lost=sum(job["lost"] for job in self.jobs),
            finished_by_stack=sum(bool(job["finished_by_stack"]) for job in self.jobs),
            not_over=sum(job["ended"] is None for job in self.jobs),
            on_standby=sum(job["standby"] for job in self.jobs),
            wait_mean=round(sum(waits) / len(waits), 1) if waits else None,
            wait_p50=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            wait_p99=percentile(waits, 99),
            wait_most=round(waits[-1], 1) if waits else None,
            parts_mean=mean_parts(self.jobs),
            vms=len(self.vms),
            vms_at_once=most_at_once([(vm["launched"], self.end_of(vm)) for vm in self.vms]),
            vm_hours=round(sum(self.end_of(vm) - vm["launched"] for vm in self.vms) / HOUR, 2),
            standby_idle_hours=round(sum(until - vm["launched"] for vm, until in idle) / HOUR, 2),
            usd_vms=round(sum(costs), 2),
            usd_standby=round(sum(self.usd(vm, vm["launched"], until) for vm, until in idle), 2),
            usd_functions=round(functions, 4),
            usd_a_job=round(total / len(waits), 4) if waits else None,
            last_job_over=round(max(ended), 1) if ended else None,
            requests_refused=sum(row["refused"] for row in self.outcome["requests"]),
            fullest_budget=fullest["name"],
            fullest_budget_percent=fullest["used_percent"],
        )


def remarks(day: Day) -> list[str]:
    """What the operator should know of: classes that cannot be used, jobs that no agent ran, jobs that were lost."""
    rows = [
        f"class {name} cannot be used: {why}" if name else f"jobs that name no class cannot have a VM: {why}"
        for name, why in day.outcome["broken_classes"].items()
    ]
    finished = Counter(job["finished_by_stack"] for job in day.jobs if job["finished_by_stack"])
    rows += [_counted(count, "finished without an agent", why) for why, count in finished.most_common(SHOWN_REASONS)]
    waiting = Counter(_why(day, job) for job in day.jobs if job["started"] is None and job["ended"] is None)
    rows += [_counted(count, "still waiting at the end", why) for why, count in waiting.most_common(SHOWN_REASONS)]
    if lost := sum(job["lost"] for job in day.jobs):
        rows.append(_counted(lost, "lost", "the VM ended before the job; see MaxLifetimeSeconds"))
    return rows


def _why(day: Day, job: Mapping[str, Any]) -> str:
    """Why it waits: what its build page says, or that nobody looks at its queue."""
    served, queue = day.deployment.queues, str(job["queue"])
    if job["told"] or queue in served or queue in DEFAULT_QUEUES or job["moments"][0] is not None:
        return str(job["told"])
    named = ",".join(served)
    return f"its queue {queue} is not in Queues={named}; add it, such as --set Queues={named},{queue}"


def _counted(count: int, what: str, why: str) -> str:
    return f"{count:,} job{'' if count == 1 else 's'} {what}{': ' if why else ''}{why}"


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The value below which that share of an ordered list lies."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 1) if ordered else None


def parts_of(job: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Seconds of each of `PARTS`; None for a job that did not start. A moment that nobody saw belongs to the next."""
    if job["started"] is None:
        return None
    before, parts = float(job["scheduled"]), []
    for moment in (*job["moments"], job["started"]):
        at = before if moment is None else min(max(before, float(moment)), float(job["started"]))
        parts.append(at - before)
        before = at
    return tuple(parts)


def mean_parts(jobs: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """The mean seconds of each part, over jobs that started."""
    found = [parts for job in jobs if (parts := parts_of(job)) is not None]
    return {
        name: round(sum(parts[number] for parts in found) / len(found), 2) if found else 0.0
        for number, name in enumerate(PARTS)
    }


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """Most that overlap."""
    now = most = 0
    for _, change in sorted([(since, 1) for since, _ in spans] + [(until, -1) for _, until in spans]):
        now += change
        most = max(most, now)
    return most


def over_time(spans: Sequence[tuple[float, float]], points: Sequence[float]) -> list[int]:
    """How many are under way at each moment."""
    begins, ends = sorted(since for since, _ in spans), sorted(until for _, until in spans)
    begun = ended = 0
    counts = []
    for point in points:
        while begun < len(begins) and begins[begun] <= point:
            begun += 1
        while ended < len(ends) and ends[ended] <= point:
            ended += 1
        counts.append(begun - ended)
    return counts


def accumulated(spans: Sequence[tuple[float, float, float]], points: Sequence[float]) -> list[float]:
    """What has come together at each moment, of rates a second that hold from one moment to another."""
    steps = sorted([(since, rate) for rate, since, _ in spans] + [(until, -rate) for rate, _, until in spans])
    sums, total, rate, before, taken = [], 0.0, 0.0, 0.0, 0
    for point in points:
        while taken < len(steps) and steps[taken][0] <= point:
            at, change = steps[taken]
            total += rate * (at - before)
            before, rate, taken = at, rate + change, taken + 1
        sums.append(total + rate * (point - before))
    return sums


def state_spans(day: Day) -> Mapping[str, list[tuple[float, float]]]:
    """From when to when each job was in each of `STATES`."""
    spans: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    for job in day.jobs:
        over = day.seconds if job["ended"] is None else float(job["ended"])
        reserved, launched = job["moments"][0], job["moments"][1]
        marks = [job["scheduled"], reserved, launched, job["started"], over]
        at = [over if mark is None else min(float(mark), over) for mark in marks]
        for state, (since, until) in zip(STATES, pairwise(at), strict=True):
            if until > since:
                spans[state].append((since, until))
    return spans
