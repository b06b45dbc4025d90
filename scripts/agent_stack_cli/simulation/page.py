"""The report: one HTML page that asks for nothing else, with its inputs, its guesses and its seed."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from agent_stack_cli.output import clean
from agent_stack_cli.simulation import charts
from agent_stack_cli.simulation.analysis import PARTS, Day, Summary, remarks

GUESS = "guess"
MANY_TIMES = 10
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Verdana, sans-serif; color: #1d2733; background: #f4f6f8; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 0 0 8px; }
.lead { color: #50607a; margin: 0 0 20px; }
h1, h2, .lead, li { overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid #dfe4ea; border-radius: 8px; padding: 16px 20px; margin: 0 0 18px; }
svg { width: 100%; height: auto; display: block; } .phone { display: none; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid #edf0f3; vertical-align: top; }
th { font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.guess { background: #fdf1d3; border-radius: 4px; padding: 0 6px; font-size: 13px; white-space: nowrap; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 0 0 18px; }
.tile { background: #fff; border: 1px solid #dfe4ea; border-radius: 8px; padding: 10px 16px; flex: 1 1 150px; }
.tile b { display: block; font-size: 21px; } .two .tile b { font-size: 17px; }
.tile span { color: #50607a; font-size: 13px; }
.note { color: #50607a; font-size: 13px; } .bad { color: #b03a2e; } .good { color: #1e7d4f; }
@media (max-width: 640px) {
  .desk { display: none; } .phone { display: block; } main { padding: 16px 10px 40px; } section { padding: 14px 12px; }
  td, th { padding-right: 8px; } th, td { overflow-wrap: anywhere; } td.n, th.n { white-space: normal; }
  .cards, .cards tbody { display: block; font-size: 13px; }
  .cards tr { display: grid; grid-template-columns: repeat(2, minmax(0, 2fr)) minmax(0, 3fr); padding: 4px 0; }
  .cards.four tr { grid-template-columns: repeat(2, minmax(0, 2fr)) minmax(0, 4fr) minmax(0, 2fr); }
  .cards tr { border-bottom: 1px solid #edf0f3; } .cards td, .cards th { border: 0; padding-bottom: 0; }
  .cards td:first-child, .cards th:first-child { grid-column: 1 / -1; }
  .inputs tr { display: block; border-bottom: 1px solid #edf0f3; padding: 6px 0; }
  .inputs tr:first-child { display: none; }
  .inputs td { display: block; border: 0; padding: 0; } .inputs td:first-child { font-weight: 600; }
}
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""

ROWS: Sequence[tuple[str, str, str, bool]] = (
    ("jobs", "jobs", "", False),
    ("started", "started", "", False),
    ("cancelled", "cancelled", "", False),
    ("cancelled_before", "of that, before they started", "", False),
    ("lost", "lost, because the VM ended first", "", True),
    ("finished_by_stack", "finished by the stack, without an agent", "", True),
    ("not_over", "not over at the end", "", True),
    ("on_standby", "started on a standby VM", "", False),
    ("wait_mean", "wait, mean", "s", True),
    ("wait_p50", "wait, median", "s", True),
    ("wait_p95", "wait, p95", "s", True),
    ("wait_p99", "wait, p99", "s", True),
    ("wait_most", "wait, longest", "s", True),
    ("last_job_over", "last job over after", "s", True),
    ("vms", "VMs launched", "", False),
    ("vms_at_once", "VMs at once, at most", "", False),
    ("vm_hours", "VM hours", "h", True),
    ("standby_idle_hours", "of that, standing by", "h", True),
    ("usd_vms", "cost of VMs", "USD", True),
    ("usd_standby", "of that, standing by", "USD", True),
    ("usd_functions", "cost of the functions' time", "USD", True),
    ("usd_a_job", "cost of a job that started", "USD", True),
    ("requests_refused", "requests refused by a limit", "", True),
)
"""Field, what people call it, its unit, and whether less is better."""


DRAWS = {
    "jobs": charts.jobs_over_time,
    "waits": charts.waits,
    "vms": charts.vms_over_time,
    "budgets": charts.budgets,
    "job": charts.time_lines,
}


def pictures(days: Sequence[Day], *, narrow: bool = False) -> Mapping[str, str]:
    """The report's pictures as SVG, by name; narrow ones for a phone."""
    return {name: draw(days, narrow=narrow) for name, draw in DRAWS.items()}


def page(
    title: str,
    lead: str,
    days: Sequence[Day],
    drawn: Mapping[str, str],
    phone: Mapping[str, str],
    inputs: Iterable[tuple[str, str, str]],
    problems: Sequence[str],
) -> str:
    """The whole report.

    Args:
        drawn, phone: its pictures, and those for a phone, see `pictures`.
        inputs: what was put in: its name, its value, and where it comes from; `guess` is marked.
        problems: what could not be read of the inputs.
    """
    summaries = [day.summary() for day in days]
    both = {
        name: f'<div class="desk">{wide}</div><div class="phone">{phone[name]}</div>' for name, wide in drawn.items()
    }
    parts = [
        f"<h1>{_text(title)}</h1><p class=lead>{_text(lead)}</p>",
        _tiles(summaries),
        _list("Left out", problems, "The rest was played."),
        _section("What changes" if len(days) > 1 else "In figures", _figures(summaries)),
        _section("Jobs over time", both["jobs"], "Time is in hours and minutes from the start."),
        _section("How long jobs waited", both["waits"], "From scheduling until the agent starts the job."),
        _section("VMs and their cost over time", both["vms"],
                 "A VM counts from its launch until it begins to end, without volumes, traffic, taxes and discounts."),
        _section("Requests against their budgets", both["budgets"] + _requests(days),
                 "Budgets of one account and region as EC2 publishes them, and of one queue as Buildkite does."),
        _section("One job, step by step", both["job"]),
        *(_section(f"What the functions said: {_text(day.deployment.name)}", _said(day)) for day in days),
        _section("Inputs", _inputs(inputs)),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _text(what: object) -> str:
    return escape(clean(what))


def _section(title: str, body: str, note: str = "") -> str:
    after = f"<p class=note>{_text(note)}</p>" if note else ""
    return f"<section><h2>{title}</h2>{body}{after}</section>" if body else ""


def _list(title: str, lines: Sequence[str], note: str) -> str:
    items = "".join(f"<li class=bad>{_text(line)}</li>" for line in lines)
    return _section(f"{title} ({len(lines)})", f"<ul>{items}</ul>", note) if lines else ""


def _tiles(summaries: Sequence[Summary]) -> str:
    def tile(field: str, unit: str, said: str) -> str:
        values = " → ".join(shown(getattr(one, field), unit.strip()) for one in summaries)
        return f"<div class=tile><b>{values}{unit.replace(' ', '&nbsp;')}</b><span>{said}</span></div>"

    return (
        f'<div class="tiles{" two" if len(summaries) > 1 else ""}">'
        + tile("wait_p50", " s", "median wait of a job")
        + tile("wait_p95", " s", "wait of the slowest twentieth (p95)")
        + tile("vms_at_once", "", "VMs at once, at most")
        + tile("usd_vms", " USD", "VMs, in all")
        + tile("usd_a_job", " USD", "a job that started")
        + "</div>"
    )


def shown(value: float | None, unit: str = "") -> str:
    """A figure as people read it."""
    if value is None:
        return "none"
    size = abs(value)
    if isinstance(value, int) or size >= 1_000:  # noqa: PLR2004  (no decimals above)
        return f"{value:,.0f}"
    if unit == "USD" and 0 < size < 0.1:  # noqa: PLR2004  (ten cents)
        return f"{value:.4f}"
    return f"{value:.2f}" if size < 10 else f"{value:.1f}"  # noqa: PLR2004  (a digit less from ten on)


def _change(before: float | None, after: float | None, unit: str, *, less_is_better: bool) -> str:
    if before is None or after is None:
        return ""
    if before == after:
        return "same"
    if not before or not after:
        ratio = ""
    elif max(after / before, before / after) >= MANY_TIMES:
        ratio = f" ({after / before:,.0f} times)" if after > before else f" (a {before / after:,.0f}th)"
    else:
        ratio = f" ({100 * (after - before) / before:+.0f} %)"
    kind = "" if not less_is_better else "bad" if after > before else "good"
    sign = "+" if after > before else "-"
    return f'<span class="{kind}">{sign}{shown(abs(after - before), unit)}{ratio}</span>'


def _figures(summaries: Sequence[Summary]) -> str:
    head = "".join(f"<th class=n>{_text(one.name)}</th>" for one in summaries)
    two = len(summaries) > 1
    rows = []
    for field, name, unit, less_is_better in ROWS:
        values = [getattr(one, field) for one in summaries]
        cells = "".join(
            f"<td class=n>{shown(value, unit)} {unit if value is not None else ''}</td>" for value in values
        )
        change = f"<td class=n>{_change(values[0], values[1], unit, less_is_better=less_is_better)}</td>" if two else ""
        rows.append(f"<tr><td>{_text(name)}</td>{cells}{change}</tr>")
    for part in PARTS:
        values = [one.parts_mean[part] for one in summaries]
        cells = "".join(f"<td class=n>{shown(value)} s</td>" for value in values)
        change = f"<td class=n>{_change(values[0], values[1], 's', less_is_better=True)}</td>" if two else ""
        rows.append(f"<tr><td>mean wait {_text(part)}</td>{cells}{change}</tr>")
    last = "<th class=n>change</th>" if two else ""
    kind = " class=cards" if two else ""
    return f"<div class=wide><table{kind}><tr><th></th>{head}{last}</tr>{''.join(rows)}</table></div>"


def _requests(days: Sequence[Day]) -> str:
    rows = []
    for day in days:
        for row in day.outcome["requests"]:
            name = f"{day.deployment.name}: {row['name']}" if len(days) > 1 else row["name"]
            rows.append(
                f"<tr><td>{_text(name)}</td><td class=n>{row['total']:,}</td><td class=n>{row['busiest']:,}</td>"
                f"<td>{_text(row['budget'])}</td><td class=n>{row['refused']:,}</td></tr>"
            )
    head = "<th></th><th class=n>in all</th><th class=n>most in a second</th><th>budget</th><th class=n>refused</th>"
    table = f'<div class=wide><table class="cards four"><tr>{head}</tr>{"".join(rows)}</table></div>'
    return f"<details><summary>All figures</summary>{table}</details>"


def _said(day: Day) -> str:
    rows = [
        f"{row['level'].lower()}: {row['message']}, {row['times']:,} time{'' if row['times'] == 1 else 's'}"
        for row in day.outcome["said"]
    ]
    rows = [*remarks(day), *rows]
    if not rows:
        return "<p>No warning and no error.</p>"
    return "<ul>" + "".join(f"<li>{_text(row)}</li>" for row in rows) + "</ul>"


def _inputs(inputs: Iterable[tuple[str, str, str]]) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_text(value)}</td>"
        f"<td>{'<span class=guess>guess</span>' if source == GUESS else _text(source)}</td></tr>"
        for name, value, source in inputs
    )
    return f"<div class=wide><table class=inputs><tr><th>input</th><th>value</th><th>from</th></tr>{rows}</table></div>"
