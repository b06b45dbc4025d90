"""`agent-stack simulate`: gather the inputs, play each set, write the report, and say what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_stack_cli.errors import CliError, command, is_there, read_text
from agent_stack_cli.output import Output
from agent_stack_cli.simulation import boot_times, deployments, history, loads, player
from agent_stack_cli.simulation.analysis import Day, Summary, remarks
from agent_stack_cli.simulation.asked import Load
from agent_stack_cli.simulation.boot_times import BootTimes
from agent_stack_cli.simulation.deployments import Deployment
from agent_stack_cli.simulation.job_columns import HEADER
from agent_stack_cli.simulation.job_file import read_jobs
from agent_stack_cli.simulation.page import DRAWS, GUESS, ROWS, page, pictures, shown
from agent_stack_cli.simulation.places import Places
from agent_stack_cli.simulation.player import Played, SetDiedError
from agent_stack_cli.simulation.prices_used import PricesUsed, prices, unused
from agent_stack_cli.verbs import Call

START = datetime(2026, 1, 6, tzinfo=UTC)
"""Midnight of a Tuesday: an ordinary working day for schedules of standby VMs."""

TAIL_HOURS = 24.0
SHOWN_PROBLEMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator asked for."""

    file: Path | None
    classes: Path | None
    given: Sequence[str]
    against: Sequence[str]
    against_classes: Path | None
    load: str
    jobs: int | None
    hours: float | None
    boots: str
    price: Sequence[str]
    seed: int
    every_cycle: bool
    report: Path
    pictures: Path | None
    force: bool


def run(call: Call, options: Options) -> None:
    """Simulate, and write the report.

    Raises:
        CliError: an input is wrong, or a file that it writes is there already.
    """
    places = Places(report=options.report, pictures=options.pictures, force=options.force)
    places.refuse_what_is_there(DRAWS)
    player.simulator()
    sets = sets_of(call, options)
    load = _load(call, options, sets[0])
    boots = _boots(call, options)
    asked = prices(options.price)
    places.try_to_write(DRAWS)
    ended = player.play([(one.name, _request(one, load, boots, options)) for one in sets])
    died = [one for one in ended if isinstance(one, SetDiedError)]
    played = [(of, done) for of, done in zip(sets, ended, strict=True) if isinstance(done, Played)]
    days = [Day(deployment=of, outcome=done.outcome, prices=PricesUsed(own=asked.own)) for of, done in played]
    title = f"{title_of(load.said)}: {len(load.jobs):,} jobs in {load.hours:g} h"
    lead = f"Simulated with the functions of this version; seed {options.seed}. {load.said}."
    summaries = [day.summary() for day in days]
    problems = [*(one.message for one in died), *load.problems, *boots.problems]
    problems += unused([day.prices for day in days])
    drawn = pictures(days)
    inputs = _inputs(days, load, boots, options)
    places.write(page(title, lead, days, drawn, pictures(days, narrow=True), inputs, problems), drawn)
    slowest = min((done for _, done in played), key=lambda done: done.hours_a_minute)
    if call.output.as_json:
        call.output.json(
            {
                "report": str(options.report),
                "seed": options.seed,
                "load": load.said,
                "problems": problems,
                "sets": [asdict(one) for one in summaries],
                "simulated_hours_a_minute": round(slowest.hours_a_minute, 1),
                "simulated_hours_a_cpu_minute": round(slowest.hours_a_cpu_minute, 1),
            }
        )
    else:
        _say(call.output, summaries, problems, load, options, slowest)
        for day in days:
            for remark in remarks(day):
                call.output.line(f"{day.deployment.name}: {remark}", "warning")
        call.output.line(f"The report: {options.report}")
        call.output.line(f"Next: open it in a browser: {command('xdg-open', str(options.report))}")
    if died:
        raise died[0]


def title_of(said: str) -> str:
    """What the load is, as a title; names in it stay as they are."""
    short = said.partition(": ")[0]
    return short[:1].upper() + short[1:]


def sets_of(call: Call, options: Options) -> list[Deployment]:
    """What is tried: one set, or two with names of their own.

    Raises:
        CliError: one of them cannot be so.
    """
    if options.file is not None:
        base = deployments.of_file(options.file)
    elif call.named is not None:
        base = deployments.of_stack(call.stack)
    else:
        base = deployments.of_defaults()
    if options.classes is not None:
        base = base.with_classes(options.classes)
    base = deployments.changed(base, options.given)
    if not options.against and options.against_classes is None:
        return [base]
    words = [word if "=" in word else Path(word).stem for word in options.against]
    other = deployments.changed(base, options.against)
    if options.against_classes is not None:
        other = other.with_classes(options.against_classes)
        words.append(options.against_classes.stem)
    if words == [base.name]:  # the file of the second set is called as the first one
        words = [str(options.against_classes or options.against[0])]
    return [base, replace(other, name=", ".join(words))]


def _load(call: Call, options: Options, of: Deployment) -> Load:
    if options.jobs is not None and options.load not in loads.SHAPES:
        raise CliError(
            f"--jobs {options.jobs} is for a named load, and {options.load} has its own",
            next=f"leave --jobs out, or name a load: {', '.join(loads.SHAPES)}",
        )
    if options.load in loads.SHAPES:
        return loads.named(options.load, seed=options.seed, jobs=options.jobs, hours=options.hours, queue=of.queue)
    if options.load == history.HISTORY:
        return history.load_of(call.stack, hours=options.hours)
    names = ", ".join([*loads.SHAPES, history.HISTORY])
    path = Path(options.load)
    if not path.suffix and not is_there(path):
        raise CliError(f"there is no load {options.load}", next=f"name one of {names}, or a CSV with {HEADER}")
    text = read_text(path, next=f"name a load ({names}), or a CSV with the columns {HEADER}")
    return read_jobs(text, name=path.name, hours=options.hours, queue=of.queue)


def _boots(call: Call, options: Options) -> BootTimes:
    if options.boots in boot_times.NAMED:
        return boot_times.named(options.boots)
    if options.boots == history.HISTORY:
        return history.boots_of(call.stack)
    names = ", ".join([*boot_times.NAMED, history.HISTORY])
    text = read_text(Path(options.boots), next=f"name one of {names}, or a file with one number of seconds a line")
    return boot_times.read_seconds(text, Path(options.boots).name)


def _request(of: Deployment, load: Load, boots: BootTimes, options: Options) -> Mapping[str, Any]:
    return {
        "parameters": dict(of.parameters),
        "classes": of.classes,
        "classes_source": of.classes_source,
        "jobs": [job.row for job in load.jobs],
        "boots": boots.data,
        "start": START.isoformat(),
        "seconds": load.hours * 3600,
        "tail_seconds": TAIL_HOURS * 3600,
        "seed": options.seed,
        "skips": not options.every_cycle,
    }


def _inputs(days: Sequence[Day], load: Load, boots: BootTimes, options: Options) -> list[tuple[str, str, str]]:
    rows = [("seed", str(options.seed), "given or 0"), ("load", load.said, f"{len(load.jobs):,} jobs")]
    rows += [("load", guess, GUESS) for guess in load.guesses]
    median = boots.quantiles[len(boots.quantiles) // 2]
    rows.append(("boot times", f"{boots.said}; median {median:.1f} s", "named" if boots.guesses else "measured"))
    rows += [("boot times", guess, GUESS) for guess in boots.guesses]
    for day in days:
        of = day.deployment
        decided = "; ".join(f"{name}={value}" for name, value in sorted(of.parameters.items())) or "all defaults"
        rows.append((f"parameters: {of.name}", decided, of.source))
        rows.append((f"classes: {of.name}", ", ".join(day.outcome["classes"]), of.classes_source))
    sources = dict.fromkeys(row for day in days for row in day.prices.said())
    rows += [("prices", what, source) for source, what in sources]
    rows += [
        ("answers", "each request of the functions takes 10 to 60 ms, CreateFleet 1.5 to 3 s", GUESS),
        ("events", "EC2's state changes all arrive, and wake the tracker after 10 s", GUESS),
        ("EC2", "has room in every pool, three zones, and its published budgets; nothing is lost or taken back", GUESS),
        ("time", "starts at midnight of a Tuesday, UTC", "fixed"),
    ]
    return rows


def _say(
    output: Output, summaries: Sequence[Summary], problems: Sequence[str], load: Load, options: Options, slowest: Played
) -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        output.line(f"Left out: {problem}", "warning")
    if len(problems) > SHOWN_PROBLEMS:
        output.line(f"Left out: {len(problems) - SHOWN_PROBLEMS} more, which the report lists", "warning")
    output.line(f"{load.said}: {len(load.jobs):,} jobs in {load.hours:g} h, seed {options.seed}", "head")
    rows = [
        (name, *(f"{shown(getattr(one, field), unit)} {unit}".strip() for one in summaries))
        for field, name, unit, _ in ROWS
    ]
    output.table(("", *(one.name for one in summaries)), rows)
    output.line(
        f"{slowest.hours_a_minute:.1f} simulated hours in a real minute, "
        f"{slowest.hours_a_cpu_minute:.1f} in a minute of one core",
        "quiet",
    )
