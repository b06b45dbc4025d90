"""A world's story from its seed: which jobs come, what people do, and what goes wrong until everything goes well."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.universe.laws import BrokenPromise
from tests.simulator.universe.machine import Temper
from tests.simulator.universe.process import Fate
from tests.simulator.universe.universe import Nature, Universe, plain_ec2

STORY_SECONDS = 150.0
BOUND_SECONDS = 2_000.0
"""How long after the last fault everything must be over: two boots, a reservation, an agent that Buildkite finds
lost after minutes, and the ten minutes for which EC2 may hide a VM."""

PIPELINE_SECONDS = 140.0
"""Long enough for the undisturbed pipeline to be over, so that every death in it is a death of something."""

PIPELINE = (
    Step(key="hello", env={"SIM_SECONDS": "1"}),
    Step(key="tests", env={"SIM_SECONDS": "5"}, priority=5),
    Step(key="failing", env={"SIM_SECONDS": "1", "SIM_EXIT": "3"}),
    Step(key="cancelled-early"),
    Step(key="cancelled-late", env={"SIM_SECONDS": "60"}),
    Step(key="unknown-class", agents=["class=gpu-of-the-future"]),
    Step(key="long", env={"SIM_SECONDS": "20"}),
)
"""The demo's seven jobs, with their times in the environment."""

DRY = {"on-demand:m7i.large:eu-central-1a": 1, "on-demand:m6i.large:eu-central-1a": 0}
"""One zone has next to nothing."""

WRITES = frozenset({"record", "update", "end", "bind", "write_intent", "spend_intent", "close_intent"})
STACKS_FAULTS = (
    Operation.LIST_SCHEDULED_JOBS,
    Operation.RESERVE_JOBS,
    Operation.GET_JOB_STATES,
    Operation.NOTIFY,
    Operation.FINISH_JOB,
    Operation.ISSUE_ACQUISITION_TOKENS,
    Operation.REGISTER_STACK,
    Operation.AGENT_REGISTER,
)
EC2_FAULTS = ("CreateFleet", "DescribeInstances", "TerminateInstances")


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


class Malice:
    """Decides at every call of a port what becomes of the process."""

    def __init__(self, chance: random.Random, *, deaths: float, faults: float) -> None:
        self._chance = chance
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
        elif drawn < 2 * self._deaths + self._faults and port.endswith(("ledger", "mailbox", "lease")):
            writes = method in WRITES and self._chance.random() < 0.5
            fate = Fate.ANSWER_LOST if writes else Fate.REFUSED
        self.injected += fate is not Fate.GOES_ON
        return fate


def play(seed: int) -> Report:
    """One world, from its seed alone."""
    chance = random.Random(seed)
    malice = Malice(chance, deaths=chance.choice([0.0, 0.002, 0.01]), faults=chance.choice([0.0, 0.005, 0.02]))
    ec2 = plain_ec2(
        describe_lag=timedelta(seconds=chance.choice([0, 0, 5, 20])),
        capacity=chance.choice([{}, {}, DRY]),
        pending=(timedelta(seconds=2), timedelta(seconds=chance.choice([5, 20, 70]))),
        quotas=chance.choice([{}, {}, {"on-demand": 3}]),
    )
    temper = Temper(
        fails_booting=chance.choice([0.0, 0.0, 0.3]),
        dies_anywhere=chance.choice([0.0, 0.0, 0.01]),
        hangs=chance.choice([0.0, 0.0, 0.2]),
        loses_timer=chance.choice([0.0, 0.5]),
        boot=(1.0, chance.choice([3.0, 10.0, 40.0])),
    )
    universe = Universe(seed=seed, nature=Nature(ec2=ec2, temper=temper), judge=malice)
    _write(universe, chance)
    return tell(universe, seed=seed, faults=lambda: malice.injected)


def tell(universe: Universe, *, seed: int, faults: Callable[[], int], seconds: float = STORY_SECONDS) -> Report:
    """Let a world happen; its report, with the promise that was broken if one was."""
    broken: str | None = None
    settled = 0.0
    try:
        universe.run(seconds)
        settled = universe.settle(BOUND_SECONDS)
    except (BrokenPromise, RuntimeError) as error:
        broken = str(error)
        universe.kernel.note(f"BROKEN {broken}")
    return Report(
        seed=seed,
        steps=universe.kernel.steps,
        points=len(universe.points),
        faults=faults(),
        crashes=universe.crashes,
        settled_seconds=settled,
        trace=tuple(universe.kernel.trace),
        broken=broken,
    )


def undisturbed(seed: int = 0) -> Universe:
    """The pipeline alone, in a world in which nothing goes wrong."""
    universe = Universe(seed=seed, nature=Nature(ec2=plain_ec2()))
    # Just before the tracker's schedule fires: it goes home when nothing lives, and would otherwise sleep a minute.
    universe.kernel.after(timedelta(seconds=54), "the pipeline is pushed", lambda: push_pipeline(universe))
    return universe


def die_at(point: int, fate: Fate, expected: str, seed: int = 0) -> Report:
    """The same world, but for one death at the call of that number.

    Raises:
        AssertionError: that call is not the one that stands there in the undisturbed world's trace.
    """
    universe = undisturbed(seed)

    def judge(name: str) -> Fate:
        if len(universe.points) - 1 != point:
            return Fate.GOES_ON
        assert name == expected, f"call {point} is {name}, not {expected}"
        return fate

    universe.judge = judge
    return tell(universe, seed=seed, faults=lambda: 1, seconds=PIPELINE_SECONDS)


def push_pipeline(universe: Universe) -> None:
    """The demo's pipeline, and its two cancellations."""
    build = universe.buildkite.create_build(steps=PIPELINE)
    early, late = build.job_id("cancelled-early"), build.job_id("cancelled-late")

    def cancel_early() -> None:
        if early in universe.store.runs and universe.store.runs[early].binding is not None:  # type: ignore[index]  # a JobId is text
            universe.buildkite.cancel_job(early)
        elif universe.faulty:
            universe.kernel.after(timedelta(seconds=0.5), "", cancel_early)

    def cancel_late() -> None:
        if universe.buildkite.job(late).state is JobState.RUNNING:
            universe.buildkite.cancel_job(late)
        elif universe.faulty:
            universe.kernel.after(timedelta(seconds=1), "", cancel_late)

    universe.kernel.after(timedelta(seconds=0.5), "", cancel_early)
    universe.kernel.after(timedelta(seconds=1), "", cancel_late)


def _write(universe: Universe, chance: random.Random) -> None:
    """The story: everything that happens from outside."""
    kernel = universe.kernel

    def at(seconds: float, name: str, action: Callable[[], None]) -> None:
        kernel.after(timedelta(seconds=seconds), name, lambda: action() if universe.faulty else None)

    at(chance.uniform(0, 5), "a build is pushed", lambda: push_pipeline(universe))
    for _ in range(chance.randint(0, 5)):
        step = Step(
            env={"SIM_SECONDS": str(chance.randint(1, 40)), "SIM_EXIT": str(chance.choice([0, 0, 1]))},
            agents=chance.choice([[], [], ["class=spot"], ["class=none"]]),
            priority=chance.randint(-1, 3),
            retry_automatic_limit=chance.choice([0, 0, 1]),
        )
        at(chance.uniform(0, 100), "a job is pushed", partial(_push, universe, step, chance))
    if chance.random() < 0.5:
        universe.send_hints()
    if chance.random() < 0.2:
        endless = Step(env={"SIM_SECONDS": "5000"})
        at(chance.uniform(0, 100), "a job without end is pushed", partial(_push, universe, endless, chance))
    for _ in range(chance.choice([0, 0, 2])):
        at(chance.uniform(10, STORY_SECONDS), "a VM nobody asked for", partial(_stray, universe))
    if chance.random() < 0.3:
        begin = chance.uniform(0, 60)
        at(begin, "the queue is paused", lambda: _pause(universe))
        kernel.after(timedelta(seconds=begin + chance.uniform(20, 80)), "", lambda: _resume(universe))
    for _ in range(chance.choice([0, 4, 12])):
        operation = chance.choice(STACKS_FAULTS)
        fault = chance.choice(["fail", "lose_answer", "lose_request", "cut_answer"])
        script = partial(getattr(universe.buildkite.faults, fault), operation, times=chance.choice([1, 2, 6]))
        at(chance.uniform(0, STORY_SECONDS), f"buildkite {fault} {operation}", script)
    for _ in range(chance.choice([0, 3, 8])):
        action = chance.choice(EC2_FAULTS)
        at(chance.uniform(0, STORY_SECONDS), f"ec2 fails {action}", partial(_ec2_fault, universe, action, chance))
    for _ in range(chance.choice([0, 1, 3])):
        at(chance.uniform(10, STORY_SECONDS), "", lambda: _take_a_vm(universe, chance))


def _push(universe: Universe, step: Step, chance: random.Random) -> None:
    (job_id,) = universe.buildkite.create_build(steps=[step]).job_ids
    if chance.random() < 0.2:
        delay = timedelta(seconds=chance.uniform(0, 40))
        universe.kernel.after(delay, "a job is cancelled", partial(universe.buildkite.cancel_job, job_id))


def _stray(universe: Universe) -> None:
    """A VM that carries our tag and belongs to nothing, as after a restore of the ledger."""
    universe.ec2.launch_orphan(tags={DEPLOYMENT_TAG: universe.settings.deployment}, subnet_id="subnet-a")


def _pause(universe: Universe) -> None:
    universe.buildkite.pause_queue("default")
    universe.laws.paused_since = universe.kernel.now()


def _resume(universe: Universe) -> None:
    universe.buildkite.resume_queue("default")
    universe.laws.paused_since = None


def _ec2_fault(universe: Universe, action: str, chance: random.Random) -> None:
    times = chance.choice([1, 2, 6])
    match chance.choice(["throttle", "lose", "server", "partial"]):
        case "throttle":
            universe.ec2.faults.fail(action, "RequestLimitExceeded", status=503, times=times)
        case "lose":
            universe.ec2.faults.lose_answer(action, times=times)
        case "server":
            universe.ec2.faults.fail(action, "InternalError", status=500, times=times)
        case _:
            universe.ec2.faults.errors_in_answer("InsufficientInstanceCapacity", times=times)


def _take_a_vm(universe: Universe, chance: random.Random) -> None:
    """Hardware fails, or spot capacity is taken back."""
    up = [instance for instance in universe.ec2.instances() if instance.state in {"pending", "running"}]
    if not up:
        return
    victim = chance.choice(up)
    if victim.market == "spot":
        universe.kernel.note(f"{victim.instance_id} spot notice")
        universe.ec2.interrupt_spot(victim.instance_id)
    else:
        universe.kernel.note(f"{victim.instance_id} loses its host")
        universe.ec2.lose_host(victim.instance_id)
