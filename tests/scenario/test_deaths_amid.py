"""A process dies while several transactions of one write are under way: every other change took effect."""

import pytest

from agent_stack.domain.identifiers import JobId
from tests.scenario.standing_by import READY_SOON, SOON, World, document
from tests.simulator.buildkite import JobState
from tests.simulator.simulation.process import Fate

CALLS = (
    *("dispatcher ledger.record", "dispatcher ledger.update", "dispatcher ledger.bind", "dispatcher standby.add"),
    *("dispatcher standby.close", "tracker ledger.update", "tracker ledger.end"),
)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.share(3)
def test_what_took_effect_stays_and_the_rest_is_done_once_by_the_next_process(call: str) -> None:
    most = "5" if call.endswith("close") else "9"  # so few that idle VMs must make room
    world = World(document(hot=4, shape=READY_SOON), settings={"MAX_INSTANCES": most}, seconds=0)
    deaths: list[str] = []

    def judge(point: str) -> Fate:
        if point == call and not deaths:
            deaths.append(point)
            return Fate.DIES_AMID
        return Fate.GOES_ON

    world.judge = judge
    world.run(SOON)
    jobs = world.push(3, seconds=5, rules=("class=other",))
    world.run(10 if call.endswith("close") else 0)
    jobs += world.push(6, seconds=5)
    world.run(60)
    assert deaths, "the call was made"
    world.settle(900)
    assert {(world.buildkite.job(job).state, world.buildkite.job(job).exit_status) for job in jobs} == {
        (JobState.FINISHED, 0)
    }
    vms = [vms for job in jobs if len(vms := world.laws.bound_to[JobId(job)]) > 1]
    assert not vms, "no job was bound to a second VM"
