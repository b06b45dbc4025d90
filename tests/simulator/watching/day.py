"""Three hours of a working day: builds come and go, twice in bursts, and things go wrong as they do."""

import random
from datetime import timedelta
from functools import partial

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from tests.simulator.buildkite import Operation, Step
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import Nature, plain_ec2
from tests.simulator.watching.world import WatchedUniverse

HOURS = 3
MINUTE = 60.0
SETTINGS = {
    "RESERVATION_SECONDS": "900",
    "LAUNCH_DEADLINE_SECONDS": "600",
    "UNASSIGNED_TIMEOUT_SECONDS": "300",
    "MAX_LIFETIME_SECONDS": "5400",
    "CANCEL_GRACE_SECONDS": "120",
    "FINISH_GRACE_SECONDS": "60",
    "SWEEP_GRACE_SECONDS": "300",
    "IDLE_POLL_SECONDS": "0.5",  # the default of the template
    "MAX_INSTANCES": "100",
    "UNMATCHED_JOBS": "ignore",
}
CLASSES = """
{"classes": {
  "default": {"instance_types": ["m7i.large", "m6i.large"], "image": "ami-0123456789abcdef0",
              "boot_timeout_seconds": 180},
  "spot": {"instance_types": ["c7i.large", "c6i.large"], "market": "spot", "fallback_to_on_demand": true,
           "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 180},
  "wrong": {"instance_types": ["m7i.large"], "image": "ami-0fedcba9876543210"}
}, "default_class": "default"}
"""


class Day:
    """A world with its day before it."""

    def __init__(self, seed: int) -> None:
        ec2 = plain_ec2(
            pending=(timedelta(seconds=6), timedelta(seconds=16)),
            shutting_down=timedelta(seconds=20),
            unknown_images=frozenset({"ami-0fedcba9876543210"}),
            capacity={"spot:c7i.large:eu-central-1a": 12},
        )
        nature = Nature(
            ec2=ec2,
            temper=Temper(boot=(8.0, 22.0), fails_booting=0.01),
            latency=(0.004, 0.03),
            launch_latency=(1.5, 3.0),
            watched=False,
        )
        self.simulation = WatchedUniverse(seed=seed, nature=nature, settings=SETTINGS, classes=CLASSES)
        self.burst: tuple[str, ...] = ()
        """The jobs of the first burst."""
        self._chance = random.Random(f"{seed} day")
        self._plan()

    def run(self, hours: float = HOURS) -> None:
        """Let it pass."""
        self.simulation.run(hours * 60 * MINUTE)

    def _plan(self) -> None:
        minute = 4.0
        while minute < HOURS * 60:
            minute += self._chance.expovariate(0.9)
            self._at(minute, partial(self._push, 1, (40, 400)))
        self._at(24, self._first_burst)
        self._at(70, partial(self._push, 320, (120, 420)))
        self._at(100, partial(self._push, 25, (60, 200), "class=spot"))
        self._faults()

    def _faults(self) -> None:
        buildkite, ec2 = self.simulation.buildkite, self.simulation.ec2
        self._at(48, partial(ec2.launch_orphan, tags={DEPLOYMENT_TAG: "stack"}, subnet_id="subnet-a"))
        self._at(69.9, partial(ec2.faults.fail, "CreateFleet", "RequestLimitExceeded", status=503, times=6))
        self._at(84, self._lose_hosts)
        self._at(118.1, partial(self._push, 4, (60, 200), "class=wrong"))
        self._at(137, partial(buildkite.faults.fail, Operation.ISSUE_ACQUISITION_TOKENS, times=100))
        self._at(137.1, partial(self._push, 12, (60, 200)))
        self._at(152, partial(buildkite.faults.fail, Operation.LIST_SCHEDULED_JOBS, times=240))

    def _at(self, minute: float, action: object) -> None:
        self.simulation.kernel.after(timedelta(minutes=minute), "", action)  # type: ignore[arg-type]  # nobody reads what it returns

    def _push(self, jobs: int, seconds: tuple[int, int], *rules: str) -> tuple[str, ...]:
        steps = [
            Step(env={"SIM_SECONDS": str(self._chance.randint(*seconds))}, agents=list(rules)) for _ in range(jobs)
        ]
        return tuple(self.simulation.buildkite.create_build(steps=steps).job_ids)

    def _first_burst(self) -> None:
        self.burst = self._push(40, (60, 260))

    def _lose_hosts(self) -> None:
        up = [one for one in self.simulation.ec2.instances() if one.state == "running"]
        for instance in up[:3]:
            self.simulation.ec2.lose_host(instance.instance_id)
