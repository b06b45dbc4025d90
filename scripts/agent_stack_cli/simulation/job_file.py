"""A CSV of jobs as a load. A row that cannot be read is left out and named with its line, its column and the remedy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil, isfinite
from typing import NamedTuple

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation.asked import Load, LoadJob
from agent_stack_cli.simulation.csv_rows import read_rows
from agent_stack_cli.simulation.job_columns import COLUMNS, HEADER, REQUIRED, RowError, cells_of, header_of, of_header

MAX_COUNT = 50_000
MAX_JOBS = 200_000
LONGEST = 7 * 86_400.0
"""How far from the start a job may come or be cancelled, in seconds: what `--hours` takes."""

QUEUE = "queue="


def read_jobs(text: str, *, name: str, hours: float | None, queue: str | None) -> Load:
    """The jobs in a CSV.

    Raises:
        CliError: a column that is needed is missing, or no row can be read.
    """
    rows = read_rows(text)
    header = header_of(next(rows, None), name)
    problems = [*of_header(header)]
    read: list[_Read] = []
    for row in rows:
        try:
            read += _jobs(cells_of(header, row), queue, row.line)
        except RowError as error:
            problems.append(f"line {row.line}{', ' if error.column else ': '}{error}")
        if len(read) > MAX_JOBS:
            raise CliError(f"{name} has more than {MAX_JOBS} jobs", next="split it, and simulate each part")
    jobs = _from_the_start(read, problems)
    if not jobs:
        why = next((one for one in problems if one.startswith("line ")), "it has no row")
        raise CliError(f"{name} has no job that can be read: {why}", next=f"write rows of {HEADER}")
    needed = max(job.at for job in jobs) / 3600
    if hours is not None and needed > hours:
        within = [job for job in jobs if job.at <= hours * 3600]
        takes_all = f"--hours {ceil(needed * 100) / 100:g} takes them all"
        if not within:
            raise CliError(f"{name} has no job within the first {hours:g} h", next=takes_all)
        problems.append(f"{len(jobs) - len(within)} jobs come after {hours:g} h; {takes_all}")
        jobs = within
    return Load(
        said=f"the jobs of {name}",
        jobs=tuple(sorted(jobs, key=lambda job: job.at)),
        hours=hours or min(LONGEST / 3600, max(1.0, round(needed + 0.25, 2))),
        problems=tuple(problems),
    )


def _jobs(given: Mapping[str, str], queue: str | None, line: int) -> Iterator["_Read"]:
    for column in REQUIRED:
        if column not in given:
            raise RowError(column, f"it is empty; write {COLUMNS[column]}")
    at, moment = _moment(given["at"])
    count = int(_number(given, "count", least=1, most=MAX_COUNT, whole=True) or 1)
    cancel = _number(given, "cancel_after", least=0, most=LONGEST)
    named, rules = _where(given)
    job = LoadJob(
        at=at,
        seconds=_number(given, "seconds", least=0, most=86_400) or 0.0,
        queue=named or queue,
        agents=rules,
        priority=None if (rank := _number(given, "priority", whole=True)) is None else int(rank),
        pipeline=given.get("pipeline", "pipeline"),
        cancel_at=None if cancel is None else at + cancel,
    )
    for _ in range(count):
        yield _Read(job, moment, line)


def _number(
    given: Mapping[str, str], column: str, *, least: float | None = None, most: float | None = None, whole: bool = False
) -> float | None:
    text = given.get(column)
    if text is None:
        return None
    kind = "a whole number" if whole else "a number"
    bounds = "" if least is None else f" from {least:g} on" if most is None else f" from {least:g} to {most:g}"
    try:
        number = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number) or (least is not None and number < least) or (most is not None and number > most):
        raise RowError(column, f"{text!r} is not {kind}{bounds}; write {COLUMNS[column]}")
    return number


def _where(given: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The queue, which may stand among the rules as in a pipeline, and the other rules."""
    column, rules = given.get("queue"), _rules(given.get("agents", ""))
    queues = {rule.partition("=")[2] for rule in rules if rule.startswith(QUEUE)}
    if column is not None and queues - {column}:
        raise RowError("agents", f"{QUEUE}{min(queues - {column})}, and the column queue has {column}; leave one")
    if len(queues) > 1:
        raise RowError("agents", f"it names the queues {', '.join(sorted(queues))}; leave one")
    return next(iter(queues), column), tuple(rule for rule in rules if not rule.startswith(QUEUE))


def _rules(text: str) -> tuple[str, ...]:
    rules = tuple(text.replace(";", " ").split())
    for rule in rules:
        if not all(rule.partition("=")[::2]):
            raise RowError("agents", f"{rule!r} is no rule; write {COLUMNS['agents']}")
    return rules


_READERS: Sequence[Callable[[str], tuple[float, datetime | None]]] = (
    lambda text: (float(text), None),
    lambda text: (_of_day(text), None),
    lambda text: (0.0, _absolute(text)),
)


def _moment(text: str) -> tuple[float, datetime | None]:
    for reader in _READERS:
        try:
            at, moment = reader(text)
        except ValueError:
            continue
        if 0 <= at <= LONGEST:
            return at, moment
    raise RowError("at", f"{text!r} is no moment; write {COLUMNS['at']}")


def _of_day(text: str) -> float:
    parts = [int(part) for part in text.split(":")]
    hours, minutes, *rest = parts
    seconds = rest[0] if rest else 0
    if len(rest) > 1 or not (0 <= hours <= 24 and 0 <= minutes < 60 and 0 <= seconds < 60):  # noqa: PLR2004  (a clock's)
        raise ValueError(text)
    return hours * 3600.0 + minutes * 60 + seconds


def _absolute(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    try:
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(text) from None


class _Read(NamedTuple):
    """A job, its date if its row has one, and the row's line."""

    job: LoadJob
    moment: datetime | None
    line: int


def _from_the_start(read: Sequence[_Read], problems: list[str]) -> list[LoadJob]:
    """Jobs with a date count from the first midnight, as a time of the day does.

    A date that is far from most others, such as 1970-01-01 of a job that never ran, would make a day of years: it is
    named, and the other rows are played.
    """
    dated = sorted(one.moment for one in read if one.moment is not None)
    if not dated:
        return [one.job for one in read]
    midnight = _first_midnight(dated)
    jobs, named = [], set[int]()
    for job, moment, line in read:
        ahead = 0.0 if moment is None else (moment - midnight).total_seconds()
        if 0 <= ahead <= LONGEST:
            cancel_at = None if job.cancel_at is None else job.cancel_at + ahead
            jobs.append(replace(job, at=job.at + ahead, cancel_at=cancel_at))
        elif line not in named:
            named.add(line)
            problems.append(
                f"line {line}, column at: {moment:%Y-%m-%d} is not within {LONGEST / 86_400:g} days from "
                f"{midnight:%Y-%m-%d}, as most rows are; write {COLUMNS['at']}"
            )
    return jobs


def _first_midnight(ordered: Sequence[datetime]) -> datetime:
    """The midnight from which on `LONGEST` holds most of these dates; the earliest of several."""
    best, most, last = ordered[0], 0, 0
    for first, moment in enumerate(ordered):
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        while last < len(ordered) and (ordered[last] - midnight).total_seconds() <= LONGEST:
            last += 1
        if last - first > most:
            best, most = midnight, last - first
    return best.replace(hour=0, minute=0, second=0, microsecond=0)
