"""What `cost` sums, from the records that the functions leave."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.domain.states import Outcome
from agent_stack_cli.costs import Costs, Sum, as_csv
from agent_stack_cli.prices import usd
from tests.cli.served import Served

pytestmark = pytest.mark.share(2)


def ended(served: Served, number: int, minutes: float, **run: object) -> None:
    """A job whose VM lived that long."""
    began = datetime.now(UTC) - timedelta(minutes=minutes)
    vm = replace(served.launched(), launched_at=began)
    bound = served.bound(served.recorded(number, **run), vm)  # type: ignore[arg-type]  # its own names
    (done,) = served.ledger.update([bound.running(now=datetime.now(UTC), observed_moments={})])
    assert served.ledger.end([done.ended(Outcome.FINISHED, now=datetime.now(UTC))])


def test_the_time_for_which_a_vm_stood_by_is_no_pipeline_s(served: Served) -> None:
    """It was launched three hours before it got its job, and the job took no time."""
    now = datetime.now(UTC)
    vm = replace(served.launched(), launched_at=now - timedelta(hours=3), hold=timedelta(hours=4))
    bound = served.bound(served.recorded(1, pipeline="app"), vm)
    (done,) = served.ledger.update([bound.running(now=datetime.now(UTC), observed_moments={})])
    assert served.ledger.end([done.ended(Outcome.FINISHED, now=datetime.now(UTC) + timedelta(hours=1))])
    found = served.data("cost", "--by", "pipeline", "--price", "m7i.large=1")
    assert {g["group"]: round(g["hours"], 1) for g in found["groups"]} == {"(stood by)": 3.0, "app": 1.0}
    assert (found["total"]["vms"], round(found["total"]["usd"], 1)) == (1, 4.0)


def test_costs_are_hours_times_the_dated_price(served: Served) -> None:
    ended(served, 1, 60, pipeline="app", build=1)
    ended(served, 2, 30, pipeline="app", build=2)
    ended(served, 3, 120, pipeline="web", build=9)
    hour = usd("eu-central-1")["m7i.large_hour"]
    found = served.data("cost", "--by", "pipeline")
    assert [(g["group"], g["jobs"]) for g in found["groups"]] == [("web", 1), ("app", 2)]
    assert [g["usd"] for g in found["groups"]] == pytest.approx([2 * hour, 1.5 * hour], rel=0.01)
    assert found["total"]["usd"] == pytest.approx(3.5 * hour, rel=0.01)
    assert found["unpriced"] == []


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("class", {"default"}),
        ("queue", {"default"}),
        ("build", {"app #1", "app #2"}),
        ("day", {f"{datetime.now(UTC):%Y-%m-%d}"}),
    ],
)
def test_they_are_summed_by_what_is_asked_for(served: Served, by: str, groups: set[str]) -> None:
    ended(served, 1, 60, build=1)
    ended(served, 2, 30, build=2)
    assert {g["group"] for g in served.data("cost", "--by", by)["groups"]} == groups


def test_a_price_of_ones_own_wins_and_a_type_without_one_is_named(served: Served) -> None:
    ended(served, 1, 60)
    assert served.data("cost", "--price", "m7i.large=10")["total"]["usd"] == pytest.approx(10, rel=0.01)
    table = served.lease.table
    for item in list(table.query(next(p for p in (f"history#{n}" for n in range(8)) if list(table.query(p))))):
        table.put({**item, "instance_type": {"S": "x9z.huge"}})
    found = served.data("cost")
    assert (found["unpriced"], found["total"]["usd"]) == (["x9z.huge"], 0)
    assert "Next: add --price x9z.huge=USD_PER_HOUR" in served.ok("cost")
    assert (found["total"]["hours"], found["total"]["unpriced_hours"]) == (pytest.approx(1, rel=0.01),) * 2


@pytest.mark.parametrize(
    ("pipeline", "cell"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1+1", "'\\x09=1+1"),
        (" =1+1", "' =1+1"),
        ("|calc", "'|calc"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ('one, "two"', 'one, "two"'),
        ("one\nline", "one\\x0aline"),
        ("a-b=c", "a-b=c"),
    ],
)
def test_a_spreadsheet_runs_nothing_of_what_a_pipeline_is_called(pipeline: str, cell: str) -> None:
    group = Sum(group=pipeline, jobs=1, vms=1, hours=1, usd=1, unpriced_hours=0)
    summed = Costs(
        stack="ci", by="pipeline", since=datetime.now(UTC), prices_of="", groups=(group,), total=group, unpriced=()
    )
    rows = list(csv.reader(io.StringIO(as_csv(summed))))
    assert (len(rows), rows[1][:2]) == (2, [cell, "1"])


def test_csv_is_read_by_a_spreadsheet(served: Served) -> None:
    ended(served, 1, 60, pipeline='=HYPERLINK("x"), y', build=1)
    rows = list(csv.reader(io.StringIO(served.ok("cost", "--by", "pipeline", "--csv"))))
    assert rows[0] == ["pipeline", "jobs", "vms", "hours", "usd", "unpriced_hours"]
    assert rows[1][:3] == ['\'=HYPERLINK("x"), y', "1", "1"]


@pytest.mark.parametrize("price", ["m7i.large", "m7i.large=nan", "m7i.large=-1", "=1", "m7i.large=1,5"])
def test_what_is_no_price_is_refused(served: Served, price: str) -> None:
    result = served.run("cost", "--price", price)
    assert f"{price!r} is no price" in result.stderr


def test_idling_costs_what_scripts_cost_computed(served: Served) -> None:
    bill = served.data("cost", "--idle")
    assert bill["mode"] == "polling"
    assert 5 < sum(bill["usd_a_month"].values()) < 30
    assert "all" in served.ok("cost", "--idle")


def test_what_costs_cannot_be_summed_by_is_refused(served: Served) -> None:
    assert "Next: choose one of class, queue, pipeline, build, day" in served.run("cost", "--by", "colour").stderr
