"""The report's pictures, each as SVG text."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes

from agent_stack_cli.simulation.analysis import (
    HOUR,
    PARTS,
    STATES,
    Day,
    accumulated,
    over_time,
    parts_of,
    percentile,
    state_spans,
)
from agent_stack_cli.simulation.drawing import INK, drawing, hours_along, label, legend, lie_down

POINTS, FEWER = 480, 160
"""Moments of a picture that are drawn, and of one for a phone."""

OF_STATES = ("#9aa7b4", "#f2a65a", "#4f86c6", "#2e8b57")
OF_PARTS = ("#9aa7b4", "#f2a65a", "#e4572e", "#4f86c6", "#2e5fa3")
OF_SETS = ("#2e5fa3", "#e4572e")
BUSY, BOOTING, IDLE, COST = "#2e8b57", "#4f86c6", "#f2c14e", "#b6d5c4"
FULL = 100
TITLE = 48
"""Characters of a title that stand beside another picture."""


def jobs_over_time(days: Sequence[Day], *, narrow: bool = False) -> str:
    """Jobs by state, a picture for each set."""
    with drawing(1, len(days), 3.2, narrow=narrow) as (axes, done):
        for one, day in zip(axes, days, strict=True):
            points = _points(day, narrow=narrow)
            spans = state_spans(day)
            counts = [over_time(spans[state], points) for state in STATES]
            one.stackplot([p / HOUR for p in points], *counts, colors=OF_STATES, labels=STATES, step="post")
            one.set_title(_title(days, day, "jobs by state"))
        for one, day in zip(axes, days, strict=True):
            hours_along(one, day.seconds)
        legend(axes[0], 2 if narrow else 4)
    return done[0]


def waits(days: Sequence[Day], *, narrow: bool = False) -> str:
    """How long jobs waited: the share that had started after so many seconds, and where the time went."""
    with drawing(1, 2, 2.9 if len(days) == 1 else 3.4, narrow=narrow, share_y=False) as (axes, done):
        left, right = axes
        for day, colour in zip(days, OF_SETS, strict=False):
            ordered = day.waits()
            if ordered:
                shares = [FULL * (n + 1) / len(ordered) for n in range(len(ordered))]
                every = max(1, len(ordered) // (FEWER if narrow else POINTS))
                shown = [*zip(ordered, shares, strict=True)][::-every][::-1]
                left.step(
                    *zip(*shown, strict=True), where="post", color=colour, linewidth=1.8, label=day.deployment.name
                )
        left.set_title("jobs that had started (%)")
        left.set_xlabel("seconds from scheduling to start")
        left.set_ylim(0, 102)
        left.set_xlim(left=0)
        if len(days) > 1:
            legend(left, 1, "outside upper left" if narrow else "outside lower left")
        _where_time_went(right, days)
        legend(right, 2, "outside lower left" if narrow else "outside lower right")
    return done[0]


def _where_time_went(axes: Axes, days: Sequence[Day]) -> None:
    names, rows = [], []
    for day in days:
        for percent in (95, 50):
            at = percentile(day.waits(), percent)
            near = [parts for job in day.jobs if (parts := parts_of(job)) is not None and at is not None
                    and abs(sum(parts) - at) <= max(1.0, 0.05 * at)]  # fmt: skip
            if near:
                names.append(label(day.deployment.name if len(days) > 1 else "", f"p{percent}"))
                rows.append([sum(parts[n] for parts in near) / len(near) for n in range(len(PARTS))])
    begun = [0.0] * len(rows)
    for number, part in enumerate(PARTS):
        lengths = [row[number] for row in rows]
        axes.barh(names, lengths, left=begun, color=OF_PARTS[number], label=part, height=0.6)
        begun = [a + b for a, b in zip(begun, lengths, strict=True)]
    axes.invert_yaxis()
    lie_down(axes)
    axes.set_title("where the time of a wait went")
    axes.set_xlabel("seconds")


def vms_over_time(days: Sequence[Day], *, narrow: bool = False) -> str:
    """VMs by what they do, and what all of them have cost so far."""
    with drawing(2, len(days), 5.0, narrow=narrow) as (axes, done):
        top, bottom = axes[: len(days)], axes[len(days) :]
        for one, under, day in zip(top, bottom, days, strict=True):
            points = _points(day, narrow=narrow)
            kinds = _vm_spans(day)
            counts = [over_time(spans, points) for spans in kinds.values()]
            hours = [p / HOUR for p in points]
            one.stackplot(hours, *counts, colors=(BUSY, BOOTING, IDLE), labels=list(kinds), step="post")
            one.set_title(_title(days, day, "VMs by what they do"))
            total, idle = _costs(day, points)
            under.fill_between(hours, total, color=COST, linewidth=0, label="cost of all VMs")
            under.fill_between(hours, idle, color=IDLE, linewidth=0)
            under.set_title(_title(days, day, "USD so far"))
        for one, under, day in zip(top, bottom, days, strict=True):
            hours_along(one, day.seconds)
            hours_along(under, day.seconds)
        one = top[0]
        one.fill_between([], [], color=COST, label="cost of all VMs")
        legend(one, 2 if narrow else 4)
    return done[0]


def _vm_spans(day: Day) -> Mapping[str, list[tuple[float, float]]]:
    started = {}
    for job in day.jobs:
        if job["vm"] is not None and job["started"] is not None:
            started[job["vm"]] = float(job["started"])
    kinds: dict[str, list[tuple[float, float]]] = {"has a running job": [], "boots or ends": [], "stands by": []}
    for vm in day.vms:
        end, idle = day.end_of(vm), day.idle_until(vm)
        begun = min(started.get(vm["id"], end), end)
        kinds["stands by"].append((vm["launched"], idle))
        kinds["boots or ends"].append((idle, max(idle, begun)))
        kinds["has a running job"].append((max(idle, begun), end))
    return kinds


def _costs(day: Day, points: Sequence[float]) -> tuple[list[float], list[float]]:
    """USD so far at each moment: of all VMs, and of the time that standby VMs waited."""
    total = [(day.prices.of(vm) / HOUR, float(vm["launched"]), day.end_of(vm)) for vm in day.vms]
    idle = [(rate, since, day.idle_until(vm)) for (rate, since, _), vm in zip(total, day.vms, strict=True)]
    return accumulated(total, points), accumulated(idle, points)


def budgets(days: Sequence[Day], *, narrow: bool = False) -> str:
    """How much of each budget was used at the worst moment."""
    names = [row["name"] for row in days[0].outcome["requests"]]
    names += [row["name"] for day in days[1:] for row in day.outcome["requests"] if row["name"] not in names]
    with drawing(1, 1, 1.0 + 0.24 * len(names) * len(days), narrow=narrow) as (axes, done):
        one = axes[0]
        lie_down(one)
        one.set_ylim(-0.6, len(names) - 0.4)
        thick = 0.8 / len(days)
        for number, (day, colour) in enumerate(zip(days, OF_SETS, strict=False)):
            rows = {row["name"]: row for row in day.outcome["requests"]}
            used = [rows[name]["used_percent"] if name in rows else 0.0 for name in names]
            places = [place + thick * (number - (len(days) - 1) / 2) for place in range(len(names))]
            one.barh(places, used, height=thick, color=colour, label=day.deployment.name)
            for place, name, percent in zip(places, names, used, strict=True):
                refused = rows.get(name, {}).get("refused", 0)
                said = f" {percent:.0f} %" + (f", {refused} refused" if refused else "")
                one.text(min(percent, FULL), place, said, va="center", fontsize=8, color=INK)
        one.set_yticks(range(len(names)), [label(name) for name in names] if narrow else names)
        one.invert_yaxis()
        one.set_xlim(0, 135 if narrow else 118)
        one.axvline(FULL, color="#c0392b", linewidth=1)
        one.set_title(
            "share of the budget that was used\nat the worst moment (%)"
            if narrow
            else "share of the budget that was used at the worst moment (%)"
        )
        if len(days) > 1:
            legend(one, 1)
    return done[0]


def time_lines(days: Sequence[Day], *, narrow: bool = False) -> str:
    """A job with the median wait and the one that waited longest, step by step."""
    shown = [(day, name, job) for day in days for name, job in _examples(day)]
    with drawing(1, 1, 1.4 + 0.5 * max(1, len(shown)), narrow=narrow) as (axes, done):
        one = axes[0]
        lie_down(one)
        labels = []
        for place, (day, name, job) in enumerate(shown):
            labels.append(label(day.deployment.name if len(days) > 1 else "", name))
            begun = 0.0
            for number, seconds in enumerate(parts_of(job) or ()):
                said = PARTS[number] if place == 0 else None
                one.barh(place, seconds, left=begun, color=OF_PARTS[number], height=0.6, label=said)
                begun += seconds
            one.text(begun, place, f"  starts after {begun:.1f} s", va="center", fontsize=8.5)
        one.set_yticks(range(len(labels)), labels)
        one.invert_yaxis()
        one.set_xlim(
            0,
            (1.45 if narrow else 1.18) * max((job["started"] - job["scheduled"] for _, _, job in shown), default=1.0)
            or 1.0,
        )
        one.set_xlabel("seconds since the job was scheduled")
        if shown:
            legend(one, 2 if narrow else 5)
    return done[0]


def _examples(day: Day) -> list[tuple[str, Mapping[str, Any]]]:
    started = sorted(
        (job for job in day.jobs if job["started"] is not None), key=lambda job: job["started"] - job["scheduled"]
    )
    return [("median wait", started[len(started) // 2]), ("longest wait", started[-1])] if started else []


def _points(day: Day, *, narrow: bool) -> list[float]:
    count = FEWER if narrow else POINTS
    return [day.seconds * n / count for n in range(count + 1)]


def _title(days: Sequence[Day], day: Day, what: str) -> str:
    return fill(f"{what}: {day.deployment.name}", TITLE) if len(days) > 1 else what
