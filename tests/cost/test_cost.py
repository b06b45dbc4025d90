"""The cost table: what its figures rest on, and that docs/cost.md is what the command computes."""

import pytest

from tests.cost.__main__ import PAGE
from tests.cost.model import Bar, Costs, modes
from tests.cost.page import page
from tests.cost.prices import REGIONS, prices_of
from tests.cost.template import FUNCTIONS, stack
from tests.cost.units import Units, billed, weigh


def test_the_page_is_what_the_command_computes() -> None:
    assert PAGE.read_text() == page(), "run scripts/cost --write"


def test_a_transaction_is_billed_twice_for_each_of_its_items() -> None:
    assert billed("TransactWriteItems", {"TransactItems": [{"Put": {}}, {"ConditionCheck": {}}]}) == Units(writes=4)


def test_a_consistent_query_is_billed_though_it_finds_nothing() -> None:
    assert billed("Query", {"ConsistentRead": True}) == Units(reads=1)
    assert billed("Query", {}) == Units(reads=0.5)


def test_an_operation_without_a_price_is_an_error() -> None:
    with pytest.raises(KeyError):
        billed("Scan", {})


def test_every_question_costs_something() -> None:
    assert [call for call, units in weigh().of_call.items() if units.reads <= 0 and units.writes <= 0] == []


def test_runs_that_are_found_are_read_by_the_page() -> None:
    weights = weigh()
    assert weights.of_answer("ledger.active_runs", 1) == Units()
    assert weights.of_answer("ledger.active_runs", 1_000).reads == pytest.approx(1_000 * weights.run_kib / 4, abs=1)
    assert weights.of_answer("fleet.describe", 1_000) == Units()


def test_push_deploys_another_queue_to_poll() -> None:
    *_, push = modes()
    polling = stack().things["AWS::Lambda::EventSourceMapping"]
    assert push.stack.things["AWS::Lambda::EventSourceMapping"] == polling + 1


@pytest.mark.parametrize("region", REGIONS)
def test_half_the_memory_is_half_the_functions_of_an_idle_month(region: str) -> None:
    costs, (polling, *_) = Costs(prices_of(region)), modes()
    small, large = (costs.idle_month(polling, dict.fromkeys(FUNCTIONS, size)).functions for size in (256, 512))
    assert small == pytest.approx(large / 2, rel=0.02)


def test_a_bar_is_kept_up_to_its_last_cent() -> None:
    assert Bar(name="x", usd=10.0, at_most=10.0).kept
    assert not Bar(name="x", usd=10.01, at_most=10.0).kept


def test_prices_are_of_every_region_or_of_none() -> None:
    first, *others = (prices_of(region) for region in REGIONS)
    assert all(set(other.usd) == set(first.usd) for other in others)
    assert all(page.startswith("https://aws.amazon.com/") for page in first.pages.values())
