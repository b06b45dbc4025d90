"""Faults that wait for a run to be in a certain state: what chance alone would hardly ever meet.

In worlds of odd seeds only, and by a stream of chance of their own: worlds that found a bug stay what they were.
"""

import random
from datetime import timedelta
from itertools import product

from tests.simulator.buildkite import Operation, Step
from tests.simulator.cloud.instance import UP
from tests.simulator.simulation.coverage import FINISHING, RESERVED, STATES, job_phase
from tests.simulator.simulation.process import WRITES, Fate
from tests.simulator.simulation.random_run import RandomRun, cancel, take
from tests.simulator.simulation.simulation import Simulation

LOOK = timedelta(seconds=0.2)
TAKEN_VM, TAKEN_SPOT, CANCELLED = "a VM is taken", "a spot VM is taken", "a job is cancelled"
UNANSWERED = {f"an answer to the {function}'s record is lost": function for function in ("dispatcher", "tracker")}
REFUSED, TOLD_AGAIN = "EC2 refuses a launch", "EC2's news of a VM come again"
AMBUSHES = tuple(product(STATES, (TAKEN_VM, TAKEN_SPOT, CANCELLED, *UNANSWERED, REFUSED, TOLD_AGAIN)))


def ambushed(seed: int) -> bool:
    """Whether that world is one of these."""
    return seed % 2 == 1


def doomed(seed: int) -> bool:
    """Whether none of its VMs comes up: only then are jobs finished after their last attempt."""
    return ambushed(seed) and _first(seed)[0] in {RESERVED, FINISHING}


def _first(seed: int) -> tuple[str, str]:
    """Each ambush in its turn, so that a few dozen worlds hold them all."""
    return AMBUSHES[seed // 2 % len(AMBUSHES)]


def lie_in_wait(story: RandomRun, seed: int) -> None:
    """Let a VM be taken or a job be cancelled as soon as a run is in a state that is drawn; twice in a world."""
    if not ambushed(seed):
        return
    simulation = story.simulation
    chance = random.Random(f"{seed} ambush")
    if not simulation.hinted:
        simulation.send_hints()
    steps = [Step(env={"SIM_SECONDS": "30"}, agents=["class=spot"])] * 2
    story.at(chance.uniform(0, 30), "spot jobs are pushed", lambda: _push(simulation, steps))
    if doomed(seed):
        lose = lambda: simulation.buildkite.faults.lose_answer(Operation.FINISH_JOB, times=6)  # noqa: E731  (named for its reader)
        story.at(0, "answers to finishes are lost", lose)
    for state, deed in (_first(seed), chance.choice(AMBUSHES)):
        story.at(chance.uniform(0, 60), "", lambda state=state, deed=deed: _wait(simulation, state, deed))  # type: ignore[misc]  # its own two


def _lose_an_answer(simulation: Simulation, function: str) -> None:
    """To the next thing that it writes; a job comes, so that there will be something."""
    others = simulation.judge

    def once(point: str) -> Fate:
        if not (point.startswith(f"{function} ledger.") and point.rpartition(".")[2] in WRITES):
            return others(point)
        simulation.judge = others
        return Fate.ANSWER_LOST

    simulation.judge = once
    _push(simulation, [Step()])


def _push(simulation: Simulation, steps: list[Step]) -> None:
    simulation.buildkite.create_build(steps=steps)


def _wait(simulation: Simulation, state: str, deed: str) -> None:
    if not simulation.faulty:
        return
    for run in tuple(simulation.store.runs.values()):
        if job_phase(run, simulation.store) != state:
            continue
        if deed == CANCELLED:
            cancel(simulation, run.job_id)
            return
        if deed in UNANSWERED:
            _lose_an_answer(simulation, UNANSWERED[deed])
            return
        if deed == REFUSED:
            simulation.ec2.faults.errors_in_answer("VcpuLimitExceeded")
            _push(simulation, [Step()])
            return
        if deed == TOLD_AGAIN and run.binding is not None:
            simulation.tell_again(run.binding.instance_id)
            return
        capacity_types = {"spot"} if deed == TAKEN_SPOT else {"spot", "on-demand"}
        up = {
            i.instance_id: i for i in simulation.ec2.instances() if i.state in UP and i.capacity_type in capacity_types
        }
        if run.binding is not None and run.binding.instance_id in up:
            take(simulation, up[run.binding.instance_id])
            return
    simulation.kernel.after(LOOK, "", lambda: _wait(simulation, state, deed))
