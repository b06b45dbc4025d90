"""What an operator puts into a simulation. One bad row never stops the others."""

from itertools import pairwise
from pathlib import Path

import pytest

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation import boot_times, deployments, loads
from agent_stack_cli.simulation.asked import Load
from agent_stack_cli.simulation.job_columns import COLUMNS
from agent_stack_cli.simulation.job_file import read_jobs
from agent_stack_cli.simulation.prices_used import prices


def read(text: str, hours: float | None = None) -> Load:
    return read_jobs(text, name="jobs.csv", hours=hours, queue="linux")


@pytest.mark.parametrize("name", loads.SHAPES)
def test_a_named_load_is_the_same_for_a_seed_and_as_large_as_asked(name: str) -> None:
    one, again = (loads.named(name, seed=4, jobs=300, hours=2, queue="linux") for _ in range(2))
    other = loads.named(name, seed=5, jobs=300, hours=2, queue="linux")
    assert one == again
    assert one.jobs != other.jobs
    assert len(one.jobs) == 300
    assert one.guesses
    assert all(0 <= job.at <= 2 * 3600 and job.seconds > 0 and job.queue == "linux" for job in one.jobs)
    assert all(a.at <= b.at for a, b in pairwise(one.jobs))


def test_loads_have_the_shapes_of_their_names() -> None:
    assert len({job.at for job in loads.named("burst", seed=1, jobs=50, hours=1, queue=None).jobs}) == 1
    fan_out = loads.named("fan-out", seed=1, jobs=None, hours=None, queue=None)
    assert (len(fan_out.jobs), len({job.at for job in fan_out.jobs})) == (5000, 1)
    storm = loads.named("cancel-storm", seed=1, jobs=None, hours=None, queue=None).jobs
    assert 0.7 < sum(job.cancel_at is not None for job in storm) / len(storm) < 0.9
    day = loads.named("morning-ramp", seed=1, jobs=None, hours=None, queue=None).jobs
    of_hour = [sum(job.at // 3600 == hour for job in day) for hour in range(24)]
    assert of_hour[9] > 8 * of_hour[3]
    assert of_hour[12] < of_hour[9]


def test_a_csv_of_jobs_is_read_with_every_column() -> None:
    load = read(
        "at,seconds,queue,agents,priority,pipeline,cancel_after,count\n"
        '08:30,60,gpu,"class=large os=linux",5,app,,\n'
        "10.5,20,,,,,30,2\n"
    )
    assert load.problems == ()
    late = load.jobs[-1]
    assert (late.at, late.queue, late.agents, late.priority, late.pipeline, late.cancel_at) == (
        30_600, "gpu", ("class=large", "os=linux"), 5, "app", None,
    )  # fmt: skip
    assert [(job.at, job.queue, job.cancel_at) for job in load.jobs[:2]] == [(10.5, "linux", 40.5)] * 2


def test_dates_count_from_the_first_midnight() -> None:
    load = read("at,seconds\n2026-11-25T23:00:00Z,5\n2026-11-26T01:00:00+00:00,5\n")
    assert [job.at for job in load.jobs] == [23 * 3600, 25 * 3600]


@pytest.mark.parametrize(
    ("row", "column", "remedy"),
    [
        ("soon,5,,,,,,", "at", "08:30:15"),
        ("-3,5,,,,,,", "at", "08:30:15"),
        ("1764145800,5,,,,,,", "at", "within 7 days"),
        ("1e300,5,,,,,,", "at", "within 7 days"),
        ("0001-01-01T00:00:00+14:00,5,,,,,,", "at", "08:30:15"),
        ("25:00,5,,,,,,", "at", "08:30:15"),
        (",5,,,,,,", "at", "seconds from the start"),
        ("1,,,,,,,", "seconds", "how long its command runs"),
        ("1,nan,,,,,,", "seconds", "from 0 to 86400"),
        ("1,long,,,,,,", "seconds", "a number"),
        ("1,5,,large,,,,", "agents", "class=large"),
        ("1,5,,,1.5,,,", "priority", "a whole number"),
        ("1,5,,,,,-1,", "cancel_after", "from 0 to 604800"),
        ("1,5,,,,,1e300,", "cancel_after", "from 0 to 604800"),
        (f"1,5,,,{'9' * 400},,,", "priority", "a whole number"),
        ("1,5,,,,,,0", "count", "from 1 to 50000"),
        ("1,5,,,,,,many", "count", "a whole number"),
    ],
)
def test_a_bad_row_is_named_with_line_column_and_remedy_and_the_others_are_played(
    row: str, column: str, remedy: str
) -> None:
    load = read(f"{','.join(COLUMNS)}\n1,5,,,,,,\n{row}\n2,6,,,,,,\n")
    assert [job.seconds for job in load.jobs] == [5, 6]
    (problem,) = load.problems
    assert problem.startswith(f"line 3, column {column}: ")
    assert remedy in problem


@pytest.mark.parametrize("far", ["1970-01-01T00:00:00Z", "2199-01-01", "2026-12-03T00:00:00Z"])
def test_a_date_far_from_the_others_makes_no_day_of_years(far: str) -> None:
    dates = ("2026-11-25T08:00:00Z", far, "2026-11-25T09:00:00Z", "2026-11-26T09:00:00Z")
    load = read("at,seconds,count\n" + "".join(f"{at},5,2\n" for at in dates))
    assert [job.at for job in load.jobs] == [8 * 3600] * 2 + [9 * 3600] * 2 + [33 * 3600] * 2
    assert load.hours < 34
    (problem,) = load.problems
    assert problem.startswith("line 3, column at: ")
    assert "within 7 days from 2026-11-25" in problem


def test_a_row_that_is_no_csv_is_named_and_the_next_ones_are_read() -> None:
    load = read(f"at,seconds,pipeline\n1,5,a\n2,5,{'x' * 200_000}\n3,5,b\n")
    assert [job.at for job in load.jobs] == [1, 3]
    assert load.problems[0].startswith("line 3: it is no row of a CSV")


def test_jobs_that_come_after_the_hours_are_left_out_and_counted() -> None:
    load = read("at,seconds\n00:10,5\n02:00,5\n03:00,5\n", hours=1)
    assert [job.at for job in load.jobs] == [600]
    assert load.problems == ("2 jobs come after 1 h; --hours 3 takes them all",)
    assert len(read("at,seconds\n00:10,5\n02:00,5\n03:00,5\n", hours=3).jobs) == 3
    with pytest.raises(CliError, match="no job within the first"):
        read("at,seconds\n00:10,5\n", hours=0.1)


def test_a_column_that_there_is_not_is_said_and_one_that_is_needed_stops() -> None:
    assert "column colour: there is no such column" in read("at,seconds,colour\n1,5,red\n").problems[0]
    with pytest.raises(CliError, match="no column seconds in its first line") as missing:
        read("at,length\n1,5\n")
    assert "at,seconds,queue" in missing.value.next
    with pytest.raises(CliError, match="no job that can be read: line 2, column at"):
        read("at,seconds,colour\nx,5,red\n")
    with pytest.raises(CliError, match="it has no row"):
        read("at,seconds\n")


def test_measured_boots_become_a_distribution_and_a_bad_line_is_named() -> None:
    boots = boot_times.read_seconds("seconds\n20\n# slow\n40\n1x\n30\n1e300\n", "boots.txt")
    assert (boots.quantiles[0], boots.quantiles[20], boots.quantiles[-1]) == (20, 30, 40)
    assert boots.pending[1] <= 0.6 * 20
    assert boots.problems == tuple(
        f"boots.txt, line {line}: '{word}' is no number of seconds above 0, 3600 at most; write one such as 23.5"
        for line, word in ((5, "1x"), (7, "1e300"))
    )
    assert not boots.guesses
    with pytest.raises(CliError, match="holds no boot time"):
        boot_times.read_seconds("seconds\n", "boots.txt")


def test_named_boots_are_guesses_and_a_baked_image_is_faster() -> None:
    baked, stock = (boot_times.named(name) for name in ("baked", "stock"))
    assert baked.guesses
    assert stock.guesses
    assert all(fast < slow for fast, slow in zip(baked.quantiles, stock.quantiles, strict=True))


def test_parameters_come_from_a_file_and_are_checked_as_a_deployment_does(tmp_path: Path) -> None:
    path = tmp_path / "ci.parameters"
    path.write_text("# ours\nMaxInstances=40\nQueues=linux,gpu\n")
    base = deployments.of_file(path)
    assert (base.name, base.queue, base.value("MaxInstances"), base.value("MaxVcpus")) == ("ci", "linux", "40", "0")
    other = deployments.changed(base, ["MaxInstances=80"])
    assert (other.value("MaxInstances"), base.value("MaxInstances")) == ("80", "40")
    for wrong, said in (("MaxInstances=many", "MaxInstances"), ("MaxInstnces=3", "MaxInstances")):
        with pytest.raises(CliError, match=said):
            deployments.changed(base, [wrong])


def test_prices_are_the_operators_then_listed_then_guessed() -> None:
    used = prices(["c7i.large=0.5"])
    vm = {"capacity_type": "on-demand", "model_usd_an_hour": 0.2}
    assert used.of({**vm, "type": "c7i.large"}) == 0.5
    assert used.of({**vm, "type": "m7i.large"}) != 0.2
    assert used.of({**vm, "type": "x2gd.large"}) == 0.2
    assert [source for source, _ in used.said()][0::2] == ["given", "guess"]
    with pytest.raises(CliError, match="no price"):
        prices(["c7i.large"])
