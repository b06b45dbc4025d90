"""A world's story from its seed: which jobs come, what people do, and what goes wrong until everything goes well."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.buildkite import Step
from tests.simulator.lambda_host import ANYWHERE, PUNCTUAL, moments
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.simulation.fault_injection import doomed, lie_in_wait
from tests.simulator.simulation.invariants import BrokenPromise
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import CLASSES, PERIOD_SECONDS, QUICK, Nature, plain_ec2
from tests.simulator.simulation.process import WRITES, Fate
from tests.simulator.simulation.random_run import STORY_SECONDS, push_pipeline, refusals, slow_down, write
from tests.simulator.simulation.simulation import Simulation
from tests.simulator.simulation.standby import (
    STANDBY_EVERY,
    classes_with_standby,
    few_of_a_class,
    few_vcpus,
    leaves_room_for_one,
    meddle,
    name_other_sizes,
    of_many_sizes,
    with_standby,
)

BOUND_SECONDS = 2_000.0
"""How long after the last fault everything must be over: two boots, a reservation, an agent that Buildkite finds
lost after minutes, and the ten minutes for which EC2 may hide a VM."""

LONE_SECONDS = 1_080.0
"""How much longer where jobs run one by one: one that hangs has its VM for a lifetime, and Buildkite finds its agent
lost three minutes later."""

PIPELINE_SECONDS = 160.0
"""Long enough for the undisturbed pipeline to be over, so that every death in it is a death of something."""

HARSH_SHARE = 0.25

NO_CAPACITY = {"on-demand:m7i.large:eu-central-1a": 1, "on-demand:m6i.large:eu-central-1a": 0}
"""One zone has next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one world was like."""

    seed: int
    steps: int
    points: int
    faults: int
    crashes: int
    settled_seconds: float
    trace: tuple[str, ...]
    broken: str | None = None
    parts: tuple[str, ...] = ()
    """What the story is made of, and can do without."""
    hits: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Which fault hit runs in which state, and how often."""


class Malice:
    """Decides at every call of a port what becomes of the process."""

    def __init__(
        self, chance: random.Random, *, deaths: float, faults: float, without: frozenset[str] = frozenset()
    ) -> None:
        self._chance = chance
        self._without = without
        self._deaths = deaths
        self._faults = faults
        self.injected = 0

    def __call__(self, point: str) -> Fate:
        """One call's fate."""
        drawn = self._chance.random()
        port, _, method = point.rpartition(".")
        fate = Fate.GOES_ON
        if drawn < self._deaths:
            fate = Fate.DIES_BEFORE
        elif drawn < 2 * self._deaths:
            fate = Fate.DIES_AFTER
        elif drawn < 2 * self._deaths + self._faults and port.endswith(("ledger", "mailbox", "lease", "standby")):
            writes = method in WRITES and self._chance.random() < 0.5
            fate = Fate.ANSWER_LOST if writes else Fate.REFUSED
        if fate is Fate.GOES_ON:
            return fate
        self.injected += 1
        return Fate.GOES_ON if f"f{self.injected}" in self._without else fate


def holds(seed: int) -> bool:
    """Whether VMs whose boot failed stay up in that world: in one of four."""
    return random.Random(f"{seed} holds").random() < 0.25  # a stream of its own, so that it moves no other draw


def manners(seed: int) -> BuildkiteSettings:
    """Which answers Buildkite gives in a world: in a quarter of them the ones that are hardest for a client."""
    harsh = random.Random(f"{seed} manners of Buildkite").random() < HARSH_SHARE  # a stream of its own
    return BuildkiteSettings.harsh() if harsh else BuildkiteSettings()


def play(
    seed: int,
    without: frozenset[str] = frozenset(),
    *,
    prompt: bool = False,
    buildkite: BuildkiteSettings | None = None,
    standby: bool | None = None,
) -> Report:
    """One world, from its seed alone.

    Args:
        standby: whether its classes have standby VMs; None: in a third of the seeds.
        prompt: schedules fire at the beginning of their minute, and no answer of Buildkite's is slow or harsh.
        buildkite: which of the answers that the real one may give it gives; None for those that the seed chooses.
        without: parts to leave out, as `Report.parts` names them: `s3` is the third event of the story, `f2` the
            second fault at a port.
    """
    chance = random.Random(seed)
    deaths, faults = chance.choice([0.0, 0.002, 0.01]), chance.choice([0.0, 0.005, 0.02])
    malice = Malice(chance, deaths=deaths, faults=faults, without=without)
    ec2 = plain_ec2(
        refusals=refusals(random.Random(f"{seed} what EC2 refuses")),  # a stream of its own
        describe_lag=timedelta(seconds=chance.choice([0, 0, 5, 20])),
        capacity=chance.choice([{}, {}, NO_CAPACITY]),
        pending=(timedelta(seconds=2), timedelta(seconds=chance.choice([5, 20, 70]))),
        quotas=chance.choice([{}, {}, {"on-demand:standard": 6}]),
    )
    temper = Temper(
        fails_booting=(failing := chance.choice([0.0, 0.0, 0.3])),
        fails_starting=failing / 2,
        dies_anywhere=chance.choice([0.0, 0.0, 0.01]),
        hangs=chance.choice([0.0, 0.0, 0.2]),
        loses_timer=chance.choice([0.0, 0.5]),
        boot=(1.0, chance.choice([3.0, 10.0, 40.0])),
    )
    records = random.Random(f"{seed} nature of the records")  # a stream of its own, so that it moves no other draw
    writes_per_second, conflicts = records.choice([WRITES_PER_SECOND, 4.0]), records.choice([0.0, 0.1])
    temper = replace(temper, fails_booting=1.0) if doomed(seed) else temper
    settings: Mapping[str, str] = QUICK
    if holds(seed):
        temper = replace(temper, fails_booting=max(0.5, temper.fails_booting), outstays=0.5)
        settings = {**QUICK, "HOLD_ON_FAILURE_MINUTES": "3"}
    hot = seed % STANDBY_EVERY == 0 if standby is None else standby
    if hot:
        settings = {**settings, **few_vcpus(seed)}
    nature = Nature(
        ec2=ec2,
        spot_notices=hot,  # in the others a VM sees none, so that each plays as it always did
        temper=replace(temper, loses_credential=records.choice([0.0, 0.0, 0.3])),
        writes_per_second=writes_per_second,
        conflicts=conflicts,
        warm=seed % 2 == 1,
        jitter_seconds=PUNCTUAL if prompt else ANYWHERE,
        buildkite=buildkite or (BuildkiteSettings() if prompt else manners(seed)),
    )
    document = CLASSES
    if hot:
        document = few_of_a_class(classes_with_standby(random.Random(f"{seed} standby")), seed)  # streams of their own
        document = of_many_sizes(document, seed)
    simulation = Simulation(seed=seed, nature=nature, judge=malice, settings=settings, classes=document)
    story = write(simulation, chance, without)
    lie_in_wait(story, seed)
    if hot:
        meddle(story, random.Random(f"{seed} standby's story"))
        name_other_sizes(story, seed)
    if not prompt:
        slow_down(story, seed)
    report = tell(simulation, seed=seed, faults=lambda: malice.injected)
    parts = (*(f"s{n}" for n in range(1, story.events + 1)), *(f"f{n}" for n in range(1, report.faults + 1)))
    return replace(report, parts=tuple(part for part in parts if part not in without))


def tell(simulation: Simulation, *, seed: int, faults: Callable[[], int], seconds: float = STORY_SECONDS) -> Report:
    """Let a world happen; its report, with the promise that was broken if one was."""
    broken: str | None = None
    settled = 0.0
    try:
        simulation.run(seconds)
        alone = leaves_room_for_one(simulation)
        settled = simulation.settle(BOUND_SECONDS + (LONE_SECONDS if alone else 0.0))
    except (BrokenPromise, RuntimeError) as error:
        broken = str(error)
        simulation.kernel.note(f"BROKEN {broken}")
    return Report(
        seed=seed,
        steps=simulation.kernel.steps,
        points=len(simulation.points),
        faults=faults(),
        crashes=simulation.crashes,
        settled_seconds=settled,
        trace=tuple(simulation.kernel.trace),
        broken=broken,
        hits=dict(simulation.coverage.hits),
    )


class Story(StrEnum):
    """What happens in a world in which nothing goes wrong but what is said."""

    PIPELINE = "the pipeline"
    STANDBY = "the pipeline with standby VMs, and so few VMs may be up that some are preempted"
    HOLD = "a job whose VMs fail to boot, and one of them is held"


HOLD_SETTINGS = {**QUICK, "HOLD_ON_FAILURE_MINUTES": "1"}


def undisturbed(seed: int = 0, story: Story = Story.PIPELINE) -> Simulation:
    """That story alone."""
    nature = Nature(ec2=plain_ec2())
    if story is Story.HOLD:
        nature = Nature(ec2=plain_ec2(), temper=Temper(fails_booting=1.0))
        simulation = Simulation(seed=seed, nature=nature, settings=HOLD_SETTINGS)
    elif story is Story.STANDBY:
        classes = with_standby({"default": {"hot": 2}, "spot": {"hot": 2}})
        settings = {**QUICK, "MAX_INSTANCES": "5"}
        simulation = Simulation(seed=seed, nature=nature, classes=classes, settings=settings)
    else:
        simulation = Simulation(seed=seed, nature=nature, classes=CLASSES, settings=QUICK)

    def push() -> None:
        if story is Story.HOLD:
            simulation.buildkite.create_build(steps=[Step()])
        else:
            push_pipeline(simulation)

    # Just before the tracker's schedule fires: it goes home when nothing lives, and would otherwise sleep a minute.
    fires = moments(f"{seed} tracker", period_seconds=PERIOD_SECONDS)
    soon = next(moment for moment in fires if moment > PERIOD_SECONDS) - 6
    simulation.kernel.after(timedelta(seconds=soon), f"{story} begins", push)
    return simulation


def die_at(point: int, fate: Fate, expected: str, seed: int = 0, story: Story = Story.PIPELINE) -> Report:
    """The same world, but for one death at the call of that number.

    Raises:
        AssertionError: that call is not the one that stands there in the undisturbed world's trace.
    """
    simulation = undisturbed(seed, story)

    def judge(name: str) -> Fate:
        if len(simulation.points) - 1 != point:
            return Fate.GOES_ON
        assert name == expected, f"call {point} is {name}, not {expected}"
        return fate

    simulation.judge = judge
    return tell(simulation, seed=seed, faults=lambda: 1, seconds=PIPELINE_SECONDS)
