"""The cost page: what its figures rest on, and that docs/reference/cost.md is what the command computes."""

import pytest

from agent_stack.ports import Fleet, Lease, Ledger, Mailbox, StacksApi
from agent_stack_cli.prices import PRICES, REGIONS
from infra.baked_program import IMAGE
from infra.template_yaml import loads
from tests.bench.field import LATENCY, PER_REQUEST
from tests.cost import readme
from tests.cost.__main__ import PAGE
from tests.cost.model import MODES, idle_month, images, states_of_a_look
from tests.cost.page import missed, page
from tests.cost.units import Units, billed, weigh
from tests.infra.stacks import deployed


@pytest.mark.share(6)
def test_the_page_is_what_the_command_computes() -> None:
    assert PAGE.read_text() == page(), "run scripts/cost --write"


def test_the_readme_s_table_is_what_the_command_computes() -> None:
    assert readme.PAGE.read_text() == readme.page(), "run scripts/cost --write"


def test_an_idle_month_stays_within_its_limits() -> None:
    assert missed() == []


def test_a_transaction_is_billed_twice_for_each_of_its_items() -> None:
    asked: dict[str, object] = {"TransactItems": [{"Put": {}}, {"ConditionCheck": {}}]}
    assert billed("TransactWriteItems", asked) == Units(writes=4, requests=1)


def test_a_consistent_query_is_billed_though_it_finds_nothing() -> None:
    assert billed("Query", {"ConsistentRead": True}) == Units(reads=1, requests=1)
    assert billed("Query", {}) == Units(reads=0.5, requests=1)


def test_an_operation_without_a_price_is_an_error() -> None:
    with pytest.raises(KeyError):
        billed("Scan", {})


def test_every_question_costs_something() -> None:
    assert [call for call, units in weigh().of_call.items() if units.reads <= 0 and units.writes <= 0] == []


def test_every_call_that_takes_time_or_money_is_one_of_a_port() -> None:
    ports = {"fleet": Fleet, "ledger": Ledger, "lease": Lease, "mailbox": Mailbox, "stacks": StacksApi}
    named = {call for call in (*LATENCY, *PER_REQUEST, *weigh().of_call) if not call.startswith("vm.")}
    assert [call for call in named if not hasattr(ports[call.partition(".")[0]], call.partition(".")[2])] == []


def test_runs_that_are_found_are_read_by_the_page() -> None:
    weights = weigh()
    assert weights.of_answer("ledger.active_runs", 1) == Units()
    assert weights.of_answer("ledger.active_runs", 1_000).reads == pytest.approx(1_000 * weights.run_kib / 4, abs=1)
    assert weights.of_answer("fleet.describe", 1_000) == Units()


@pytest.mark.parametrize("mode", MODES)
def test_schedules_fire_once_a_minute_as_they_are_billed(mode: str) -> None:
    resources = deployed(dict(MODES[mode])).resources.values()
    schedules = [each["Properties"] for each in resources if each["Type"] == "AWS::Scheduler::Schedule"]
    assert {schedule["ScheduleExpression"] for schedule in schedules} == {"rate(1 minute)"}


def test_the_look_for_another_recipe_is_hourly_and_ends_where_there_is_none() -> None:
    resources = loads(IMAGE.read_text())["Resources"]
    assert resources["Deployed"]["Properties"]["ScheduleExpression"] == "rate(1 hour)"
    assert states_of_a_look() == ["Look", "Started", "Done"]
    looks = images(REGIONS[0])["the hourly look for another recipe"]
    assert looks == pytest.approx(730 * 3 * 0.025 / 1_000)


def test_push_polls_another_queue() -> None:
    polling, push = (idle_month(mode, REGIONS[0])["queues, polled while empty"] for mode in MODES)
    assert push == pytest.approx(2 * polling)


def test_every_price_is_confirmed_for_known_regions_only() -> None:
    assert all(set(price.confirmed) <= set(REGIONS) for price in PRICES.values())
