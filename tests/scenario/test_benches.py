"""Each world that `scripts/bench` measures still plays: at a few jobs, on a machine whose CPU costs nothing.

CI plays only the rows that can fail it. The others are figures of a night, which a broken world would be without.
"""

from dataclasses import fields

import httpx
import pytest

from tests.bench import dispatch, track
from tests.bench.calibration import Calibration
from tests.bench.field import Field, Machine
from tests.bench.growth import grow
from tests.bench.side_by_side import ours

FREE = Machine(
    calibration=Calibration(**{field.name: 0.0 for field in fields(Calibration)}),
    cold=0,
    first_use={},
    memory_mib=1_024,
)


def test_a_tracker_looks_at_vms() -> None:
    fleet = track.Fleet(20, FREE)
    first, later = fleet.look(first=True), fleet.look(first=False)
    assert first.live == later.live == 20


def test_the_vms_of_cancelled_jobs_are_ended_within_the_bar() -> None:
    assert track.Fleet(20, FREE, scheduled=True).cancel(5).p99 <= track.WITHIN_SECONDS


def test_a_heavy_cycle_is_one_cycle() -> None:
    assert dispatch.heavy_tick(Field(FREE), scheduled=40, active=20).peak_mib > 0


def test_all_jobs_of_a_size_are_bound() -> None:
    assert [row.complete for row in grow(Field(FREE), [10])] == [True]


@pytest.mark.parametrize("hot", [False, True])
def test_the_last_job_has_its_agent(*, hot: bool) -> None:
    assert ours(Field(FREE), 5, hot=hot).started > 0


def test_what_is_measured_is_the_products_own_client() -> None:
    """A simulated world without costs has a client that does less than httpx's, because nobody measures it."""
    assert type(track.Fleet(1, FREE).simulation.http) is httpx.Client
