"""What an operator puts into a simulation. One bad row never stops the others."""

from itertools import pairwise
from pathlib import Path

import pytest

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation import boot_times, deployments, loads
from agent_stack_cli.simulation.asked import Load
from agent_stack_cli.simulation.job_file import COLUMNS, read_jobs
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
        ("25:00,5,,,,,,", "at", "08:30:15"),
        (",5,,,,,,", "at", "seconds from the start"),
        ("1,,,,,,,", "seconds", "how long its command runs"),
        ("1,nan,,,,,,", "seconds", "from 0 to 86400"),
        ("1,long,,,,,,", "seconds", "a number"),
        ("1,5,,large,,,,", "agents", "class=large"),
        ("1,5,,,1.5,,,", "priority", "a whole number"),
        ("1,5,,,,,-1,", "cancel_after", "from 0 on"),
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


def test_a_column_that_there_is_not_is_said_and_one_that_is_needed_stops() -> None:
    assert "column colour: there is no such column" in read("at,seconds,colour\n1,5,red\n").problems[0]
    with pytest.raises(CliError, match="no column seconds in its first line") as missing:
        read("at,length\n1,5\n")
    assert "at,seconds,queue" in missing.value.next
    with pytest.raises(CliError, match="no job that can be read: line 2, column at"):
        read("at,seconds\nx,5\n")
    with pytest.raises(CliError, match="it has no row"):
        read("at,seconds\n")


def test_measured_boots_become_a_distribution_and_a_bad_line_is_named() -> None:
    boots = boot_times.read_seconds("seconds\n20\n# slow\n40\n1x\n30\n", "boots.txt")
    assert (boots.quantiles[0], boots.quantiles[20], boots.quantiles[-1]) == (20, 30, 40)
    assert boots.pending[1] <= 0.6 * 20
    assert boots.problems == ("boots.txt, line 5: '1x' is no number above 0; write seconds, such as 23.5",)
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
