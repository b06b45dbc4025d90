"""Faults that wait for a run to be in a certain state: what chance alone would hardly ever meet.

In worlds of odd seeds only, and by a stream of chance of their own: worlds that found a bug stay what they were.
"""

import random
from datetime import timedelta
from itertools import product

from tests.simulator.buildkite import Operation, Step
from tests.simulator.cloud.instance import UP
from tests.simulator.universe.coverage import FINISHING, RESERVED, STATES, standing
from tests.simulator.universe.process import WRITES, Fate
from tests.simulator.universe.story import Story, cancel, take
from tests.simulator.universe.universe import Universe

LOOK = timedelta(seconds=0.2)
TAKEN_VM, TAKEN_SPOT, CANCELLED = "a VM is taken", "a spot VM is taken", "a job is cancelled"
UNANSWERED = {f"an answer to the {function}'s record is lost": function for function in ("dispatcher", "tracker")}
AMBUSHES = tuple(product(STATES, (TAKEN_VM, TAKEN_SPOT, CANCELLED, *UNANSWERED)))


def ambushed(seed: int) -> bool:
    """Whether that world is one of these."""
    return seed % 2 == 1


def doomed(seed: int) -> bool:
    """Whether none of its VMs comes up: only then are jobs finished after their last attempt."""
    return ambushed(seed) and _first(seed)[0] in {RESERVED, FINISHING}


def _first(seed: int) -> tuple[str, str]:
    """Each ambush in its turn, so that a few dozen worlds hold them all."""
    return AMBUSHES[seed // 2 % len(AMBUSHES)]


def lie_in_wait(story: Story, seed: int) -> None:
    """Let a VM be taken or a job be cancelled as soon as a run is in a state that is drawn; twice in a world."""
    if not ambushed(seed):
        return
    universe = story.universe
    chance = random.Random(f"{seed} ambush")
    if not universe.hinted:
        universe.send_hints()
    steps = [Step(env={"SIM_SECONDS": "30"}, agents=["class=spot"])] * 2
    story.at(chance.uniform(0, 30), "spot jobs are pushed", lambda: _push(universe, steps))
    if doomed(seed):
        lose = lambda: universe.buildkite.faults.lose_answer(Operation.FINISH_JOB, times=6)  # noqa: E731  (named for its reader)
        story.at(0, "answers to finishes are lost", lose)
    for state, deed in (_first(seed), chance.choice(AMBUSHES)):
        story.at(chance.uniform(0, 60), "", lambda state=state, deed=deed: _wait(universe, state, deed))  # type: ignore[misc]  # its own two


def _lose_an_answer(universe: Universe, function: str) -> None:
    """To the next thing that it writes; a job comes, so that there will be something."""
    others = universe.judge

    def once(point: str) -> Fate:
        if not (point.startswith(f"{function} ledger.") and point.rpartition(".")[2] in WRITES):
            return others(point)
        universe.judge = others
        return Fate.ANSWER_LOST

    universe.judge = once
    _push(universe, [Step()])


def _push(universe: Universe, steps: list[Step]) -> None:
    universe.buildkite.create_build(steps=steps)


def _wait(universe: Universe, state: str, deed: str) -> None:
    if not universe.faulty:
        return
    for run in tuple(universe.store.runs.values()):
        if standing(run, universe.store) != state:
            continue
        if deed == CANCELLED:
            cancel(universe, run.job_id)
            return
        if deed in UNANSWERED:
            _lose_an_answer(universe, UNANSWERED[deed])
            return
        markets = {"spot"} if deed == TAKEN_SPOT else {"spot", "on-demand"}
        up = {i.instance_id: i for i in universe.ec2.instances() if i.state in UP and i.market in markets}
        if run.binding is not None and run.binding.instance_id in up:
            take(universe, up[run.binding.instance_id])
            return
    universe.kernel.after(LOOK, "", lambda: _wait(universe, state, deed))
