"""What the simulated tables take: a partition a thousand write units a second, a new table four thousand in all."""

from datetime import timedelta

from tests.simulator.clock import VirtualClock
from tests.simulator.memory.rates import UNITS_OF_A_TRANSACTION, Rates


def taken(rates: Rates, partitions: int) -> int:
    """Write units taken of many writes at one moment."""
    return UNITS_OF_A_TRANSACTION * sum(rates.take((f"run#{number % partitions}",)) for number in range(5_000))


def test_a_partition_takes_a_thousand_units_a_second() -> None:
    assert taken(Rates(now=VirtualClock().now), 1) == 1_000


def test_a_new_table_takes_four_thousand_units_a_second_whatever_its_partitions_could() -> None:
    clock = VirtualClock()
    rates = Rates(now=clock.now)
    assert taken(rates, 8) == 4_000
    assert rates.take(("mailbox#i-1",))  # of another table
    clock.sleep(timedelta(milliseconds=500))
    assert taken(rates, 8) == 2_000
