"""Standby VMs in simulated worlds: which classes want them, and what happens to them from outside.

Every draw is from a stream of its own: a seed without standby VMs plays as it always did.
"""

import json
import random
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from agent_stack.adapters.ec2.requests import HOLD_TAG
from tests.simulator.clock import EPOCH
from tests.simulator.cloud.instance import UP
from tests.simulator.simulation.nature import CLASSES, CLASSES_PARAMETER
from tests.simulator.simulation.random_run import STORY_SECONDS, RandomRun, take
from tests.simulator.simulation.simulation import Simulation

STANDBY_EVERY = 3


def with_standby(wanted: Mapping[str, Mapping[str, Any]]) -> str:
    """The worlds' classes, these with standby VMs."""
    document = json.loads(CLASSES)
    for name, standby in wanted.items():
        document["classes"][name]["standby"] = dict(standby)
    return json.dumps(document)


def few_vcpus(seed: int) -> Mapping[str, str]:
    """Settings of a world with standby VMs: in a third of them MaxVcpus leaves room for four VMs."""
    return {"MAX_VCPUS": "8"} if random.Random(f"{seed} vCPUs").random() < 1 / 3 else {}


def few_of_a_class(document: str, seed: int) -> str:
    """The document of such a world: in a third of them a class may have three VMs at most."""
    if random.Random(f"{seed} maximum of a class").random() >= 1 / 3:
        return document
    read = json.loads(document)
    for entry in read["classes"].values():
        entry["max_instances"] = 3
    return json.dumps(read)


def classes_with_standby(chance: random.Random) -> str:
    """Some classes with a few standby VMs each, with or without a window that opens or closes in the story."""
    wanted: dict[str, dict[str, Any]] = {}
    for name in chance.choice([("default",), ("default", "spot"), ("spot",)]):
        wanted[name] = {"hot": chance.choice([1, 2, 3]), "max_age_minutes": chance.choice([10, 12, 240])}
        if chance.random() < 0.4:
            opens = EPOCH + timedelta(minutes=chance.choice([-30, 1, 2]))
            closes = opens + timedelta(minutes=chance.choice([31, 40, 90]))
            days, hot = "mon-sun", chance.choice([0, 2, 5])
            wanted[name]["schedule"] = [{"days": days, "from": f"{opens:%H:%M}", "to": f"{closes:%H:%M}", "hot": hot}]
    return with_standby(wanted)


def meddle(story: RandomRun, chance: random.Random) -> None:
    """Idle VMs are taken away, and the operator changes how many there are to be."""
    simulation = story.simulation
    for _ in range(chance.choice([0, 1, 3])):
        story.at(chance.uniform(10, STORY_SECONDS), "", partial(_take_an_idle_vm, simulation, chance))
    if chance.random() < 0.3:
        document = classes_with_standby(chance)
        story.at(chance.uniform(20, STORY_SECONDS), "classes change", partial(_put, simulation, document))
    if chance.random() < 0.2:
        story.at(chance.uniform(20, STORY_SECONDS), "no class has standby", partial(_put, simulation, CLASSES))


def _take_an_idle_vm(simulation: Simulation, chance: random.Random) -> None:
    bound = {run.binding.instance_id for run in simulation.store.runs.values() if run.binding is not None}
    idle = [
        i for i in simulation.ec2.instances() if i.state in UP and HOLD_TAG in i.tags and i.instance_id not in bound
    ]
    if idle:
        take(simulation, chance.choice(idle))


def _put(simulation: Simulation, document: str) -> None:
    simulation.parameters.values[CLASSES_PARAMETER] = document
