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
from tests.simulator.cloud.catalogue import catalogue
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


def sizes_differ(seed: int) -> bool:
    """In half of the worlds with MaxVcpus, VMs of a class have 2, 4 or 8 vCPUs."""
    return bool(few_vcpus(seed)) and random.Random(f"{seed} sizes").random() >= 0.5


def of_many_sizes(document: str, seed: int) -> str:
    """The document of such a world: the first type of a class is the smallest of one, and the largest of the other."""
    if not sizes_differ(seed):
        return document
    return _with_types(document, {"default": ["m7i.large", "m7i.xlarge"], "spot": ["c7i.xlarge", "c7i.large"]})


def name_other_sizes(story: RandomRun, seed: int) -> None:
    """The operator of such a world names larger types, smaller ones, or takes a class out, in the midst of launches.

    Where the account has a quota of six vCPUs the larger ones have four: jobs that no quota ever has room for are given
    up one after the other, for longer than a world is watched.
    """
    if not sizes_differ(seed):
        return
    chance = random.Random(f"{seed} other sizes")
    for _ in range(chance.choice([1, 2])):
        large = "xlarge" if story.simulation.quotas else "2xlarge"
        default, spot = chance.choice([(f"m7i.{large}", f"c7i.{large}"), ("m7i.large", "c7i.large")])
        types = {"default": [default], **({"spot": [spot]} if chance.random() < 0.7 else {})}
        at = chance.uniform(5, STORY_SECONDS)
        story.at(at, "the operator names other types", partial(_name_types, story.simulation, types))


def _name_types(simulation: Simulation, types: Mapping[str, list[str]]) -> None:
    document = _with_types(simulation.parameters.values[CLASSES_PARAMETER], types)
    _put(simulation, document)


def _with_types(document: str, types: Mapping[str, list[str]]) -> str:
    """With these types; a class without any is left out."""
    read = json.loads(document)
    read["classes"] = {
        name: {**read["classes"].get(name, json.loads(CLASSES)["classes"][name]), "instance_types": wanted}
        for name, wanted in types.items()
    }
    return json.dumps(read)


def leaves_room_for_one(simulation: Simulation) -> bool:
    """Whether a VM of some class, as the operator wrote them last, takes all of MaxVcpus. Then jobs run one by one."""
    most = simulation.settings.max_vcpus
    if most is None:
        return False
    classes = json.loads(simulation.parameters.values[CLASSES_PARAMETER])["classes"].values()
    sizes = [catalogue()[kind].vcpus for one in classes for kind in one["instance_types"]]
    return 2 * max(sizes) > most


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
