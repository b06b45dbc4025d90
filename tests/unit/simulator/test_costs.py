"""What calls cost in the worlds of the benchmarks: latency of each page, CPU of each request, item and first use."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.simulator.clock import EPOCH
from tests.simulator.lambda_host import PUNCTUAL
from tests.simulator.simulation.costs import (
    ACTIVE_RUNS,
    FULL_CORE_MIB,
    KNOWN,
    NEWS,
    OWN_WRITES,
    TRANSACTIONS,
    Costs,
)
from tests.simulator.simulation.invocation import Wired
from tests.simulator.simulation.nature import Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation
from tests.unit.values import a_run

COSTS = Costs(
    latency={"fleet.describe": (0.4, 0.4), "ledger.bind": (0.02, 0.02)},
    per_request={"ledger.bind": 50},
    cpu={"ledger.bind": 0.001},
    cpu_of_result={"fleet.describe": 0.0001, ACTIVE_RUNS: 0.001, NEWS: 0.001, KNOWN: 0.0},
    memory_mib=FULL_CORE_MIB,
    otherwise=(0.01, 0.01),
    requests_of={ACTIVE_RUNS: 8},
    page_of_answer={"fleet.describe": 1_000, NEWS: 100},
    cpu_of_request=0.0013,
    first_use={"fleet": 0.1},
)
CHANCE = random.Random(0)


@pytest.mark.parametrize(("answered", "pages"), [(0, 0), (1, 0), (1_000, 0), (1_001, 1), (5_000, 4)])
def test_each_further_page_of_an_answer_is_one_more_request(answered: int, pages: int) -> None:
    assert COSTS.further_pages("fleet.describe", answered) == pages
    assert COSTS.waiting("fleet.describe", 1 + pages, CHANCE) == pytest.approx(0.4 * (1 + pages))
    assert COSTS.of_answer("fleet.describe", answered) == pytest.approx(0.0001 * answered + 0.0013 * pages)


def test_each_request_to_aws_takes_cpu_and_none_to_buildkite_does() -> None:
    assert COSTS.of_call("ledger.bind", 60) == pytest.approx(0.060 + 2 * 0.0013)
    assert COSTS.of_call(ACTIVE_RUNS, 1) == pytest.approx(8 * 0.0013)
    assert COSTS.of_call("lease.renew", 1) == pytest.approx(0.0013)
    assert COSTS.of_call("stacks.reserve", 1) == 0
    assert COSTS.of_call("fleet.render", 1) == 0


def test_a_slower_core_and_slower_transactions_are_inputs() -> None:
    slow = replace(COSTS, cpu_factor=2, transaction_factor=3, memory_mib=FULL_CORE_MIB // 2)
    assert slow.seconds(0.1) == pytest.approx(0.4, rel=0.01)
    assert "ledger.bind" in TRANSACTIONS
    assert slow.waiting("ledger.bind", 1, CHANCE) == pytest.approx(0.06)
    assert slow.waiting("fleet.describe", 1, CHANCE) == pytest.approx(0.4)


def world(costs: Costs = COSTS) -> Simulation:
    nature = Nature(ec2=plain_ec2(), only=(), costs=costs, watched=False, jitter_seconds=PUNCTUAL)
    return Simulation(seed=1, nature=nature)


class Noting(Simulation):
    """Knows when code began to run."""

    def __init__(self, *, seed: int, nature: Nature) -> None:
        self.began: list[float] = []
        super().__init__(seed=seed, nature=nature)

    def _begin(self, function: str, wired: Wired, *, scheduled: bool) -> None:
        self.began.append(round((self.kernel.now() - EPOCH).total_seconds(), 1))
        super()._begin(function, wired, scheduled=scheduled)


def took(simulation: Simulation, point: str, size: int = 1, used: set[str] | None = None) -> float:
    before = simulation.kernel.now()
    simulation._pass_time(set() if used is None else used, point, size)
    return (simulation.kernel.now() - before).total_seconds()


def test_the_first_use_of_a_service_in_a_process_takes_longer() -> None:
    simulation, used = world(), set[str]()
    first, second = (took(simulation, "dispatcher fleet.describe", used=used) for _ in range(2))
    assert first - second == pytest.approx(0.1)
    assert second == pytest.approx(0.4 + 0.0013)


def test_what_adapters_would_have_spent_is_counted() -> None:
    simulation = world()
    took(simulation, "dispatcher ledger.bind", 50)
    assert simulation.meter.total == pytest.approx(0.05 + 0.0013)


def test_a_task_beside_the_cycle_takes_its_requests_and_its_answers_cpu() -> None:
    simulation = world()
    process = simulation._process("dispatcher")
    assert process.before_task("dispatcher fleet.describe") == timedelta(seconds=0.4 + 0.0013 + 0.1)
    assert process.after_task("dispatcher fleet.describe", [0] * 2_000) == timedelta(seconds=0.4 + 0.0013 + 0.2)
    assert process.after_task("dispatcher fleet.launch", object()) == timedelta()


def test_a_process_reads_a_run_in_full_once() -> None:
    simulation = world()
    process = simulation._process("dispatcher")
    runs = [a_run(number) for number in range(10)]
    everything = process.after_task(f"dispatcher {ACTIVE_RUNS}", runs)
    nothing = process.after_task(f"dispatcher {ACTIVE_RUNS}", runs)
    one = process.after_task(f"dispatcher {ACTIVE_RUNS}", [*runs, a_run(11)])
    assert (everything, nothing) == (timedelta(seconds=0.010), timedelta())
    assert one == timedelta(seconds=0.01 + 0.001 + 0.0013)  # a further request, and what is in it


@pytest.mark.parametrize("call", sorted(OWN_WRITES))
def test_a_process_does_not_read_what_it_wrote_itself(call: str) -> None:
    process = world()._process("dispatcher")
    runs = [a_run(number) for number in range(10)]
    process.after_task(f"dispatcher {call}", runs)
    assert process.after_task(f"dispatcher {ACTIVE_RUNS}", runs) == timedelta()
    by_another = [run.reserved(now=EPOCH, until=EPOCH) for run in runs]
    assert process.after_task(f"dispatcher {ACTIVE_RUNS}", by_another) > timedelta(seconds=0.01)


def test_changed_runs_are_waited_for_by_the_hundred_and_not_by_the_shard() -> None:
    costs = replace(COSTS, latency={**COSTS.latency, ACTIVE_RUNS: (0.8, 0.8), NEWS: (0.02, 0.02)}, cpu_of_request=0.0)
    process = world(costs)._process("dispatcher")
    process.after_task(f"dispatcher {ACTIVE_RUNS}", [a_run(0)])
    changed = [a_run(number) for number in range(150)]
    took = process.after_task(f"dispatcher {ACTIVE_RUNS}", changed).total_seconds()
    assert took == pytest.approx(2 * 0.02 + 0.15, abs=0.001)


def test_a_cold_start_comes_before_every_new_process_and_no_warm_one() -> None:
    nature = Nature(
        ec2=plain_ec2(), only=("tracker",), costs=COSTS, watched=False, cold_seconds=2.0, jitter_seconds=PUNCTUAL
    )
    simulation = Noting(seed=1, nature=nature)
    simulation.run(130)
    assert simulation.began == [2.0, 60.0, 120.0]


def test_requests_that_are_under_way_at_a_time_are_waited_for_together() -> None:
    together = replace(COSTS, at_once={"ledger.bind": 4})
    assert COSTS.waiting("ledger.bind", 9, CHANCE) == pytest.approx(9 * 0.02)
    assert together.waiting("ledger.bind", 9, CHANCE) == pytest.approx(3 * 0.02)
    assert together.waiting("fleet.describe", 9, CHANCE) == pytest.approx(9 * 0.4)
