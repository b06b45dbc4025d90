"""Two other ways to bring jobs to VMs on EC2, as models under the budgets and latencies of the benchmark.

They are models, not the peers' code: each says what it assumes, from where, and what is a guess. A guess is made in
favour of the peer.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.bench.field import CREATE_FLEET, INVOKE_SECONDS, LATENCY
from tests.bench.standby import BOOT, EC2
from tests.simulator.clock import EPOCH
from tests.simulator.cloud.budgets import Bucket, Budgets
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.settings import Budget

POLLER = (
    "polls each 10 s (ScalerMinPollInterval), 300 s between two scale-outs (ScaleOutCooldownPeriod)",
    "an idle VM ends after 600 s (ScaleInIdlePeriod); all three: defaults of the Elastic CI Stack's template, 2026-11",
    "guess: the group asks EC2 for its VMs 1 to 3 s after its capacity was set, all in one request",
)
LAUNCHER = (
    "a queue holds each job back for 30 s; a function takes ten at a time, one batch after the other",
    "one CreateFleet a batch, a CreateTags and a PutParameter a VM: as github-aws-runners at its defaults, 2026-11",
    "guess: a parameter is written in 0.02 to 0.06 s, 40 a second at most, as GetParameter",
    "guess: a tag takes as long as a read of EC2; a VM ends with its job",
)

POLL_SECONDS, COOLDOWN_SECONDS, IDLE_SECONDS = 10.0, 300.0, 600.0
REACTION = (1.0, 3.0)
QUEUE_SECONDS, BATCH = 30.0, 10
PUT_PARAMETER, PARAMETERS = (0.02, 0.06), Budget(burst=40, refill_per_second=40)
THROTTLED_PAUSE = 0.5
AGENT_SECONDS = 0.5
"""From a VM that is up to its agent's acquisition; the simulated VMs' own."""

BUILDKITE = "Buildkite"
UNCOUNTED = "the group's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What one model does for so many jobs at once.

    Attributes:
        changes: requests that change something at EC2, Auto Scaling or SSM.
        requests: all requests.
        asked: seconds until EC2 has granted the last VM.
        started: seconds until the last job has its agent.
        tail: seconds for which each VM stays up after its job.
    """

    name: str
    jobs: int
    changes: int
    requests: int
    asked: float
    started: float
    tail: float


class Account:
    """The account in which one model works: its clock, what EC2 grants, and what was asked."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.asked: Counter[str] = Counter()
        self._budgets = Budgets(enforced=True)
        self._parameters = Bucket(PARAMETERS)
        self._chance = random.Random(1)
        self._started: list[datetime] = []

    def wait(self, seconds: tuple[float, float] | float) -> None:
        """Lets that time pass."""
        drawn = self._chance.uniform(*seconds) if isinstance(seconds, tuple) else seconds
        self.now += timedelta(seconds=drawn)

    def ask(self, action: str, seconds: tuple[float, float]) -> None:
        """One request, repeated while EC2 refuses it."""
        while True:
            self.asked[action] += 1
            self.wait(seconds)
            try:
                self._budgets.request(action, self.now)
            except Ec2Error:
                self.wait(THROTTLED_PAUSE)
            else:
                return

    def put_parameter(self) -> None:
        """One write of Parameter Store."""
        while True:
            self.asked["PutParameter"] += 1
            self.wait(PUT_PARAMETER)
            if self._parameters.take(1, self.now):
                return
            self.wait(THROTTLED_PAUSE)

    def granted(self, wanted: int) -> int:
        """As many VMs as EC2 grants now, which begin to boot."""
        return self._budgets.instances("CreateFleet", wanted, self.now)

    def boots(self, count: int) -> None:
        """That many VMs, whose agents begin by themselves; `pending` is EC2's part."""
        pending = tuple(part.total_seconds() for part in EC2["pending"])
        for _ in range(count):
            seconds = self._chance.uniform(*pending) + self._chance.uniform(*BOOT) + AGENT_SECONDS
            self._started.append(self.now + timedelta(seconds=seconds))

    def done(self, name: str, jobs: int, *, since: datetime, tail: float) -> Peer:
        """What was counted."""
        reads = sum(count for action, count in self.asked.items() if action.startswith("Describe"))
        requests = sum(self.asked.values()) - self.asked[UNCOUNTED]
        return Peer(
            name=name,
            jobs=jobs,
            changes=requests - reads - self.asked[BUILDKITE],
            requests=requests,
            asked=round((self.now - since).total_seconds(), 1),
            started=round((max(self._started) - since).total_seconds(), 1),
            tail=tail,
        )


def scaling_group(jobs: int, *, after_scale_out: float = COOLDOWN_SECONDS) -> Peer:
    """An Auto Scaling group behind a poller; jobs come in the middle between two polls.

    Args:
        after_scale_out: seconds since it scaled out last.
    """
    account = Account()
    account.wait(POLL_SECONDS / 2)
    while after_scale_out + (account.now - EPOCH).total_seconds() < COOLDOWN_SECONDS:
        account.asked[BUILDKITE] += 1
        account.wait(POLL_SECONDS)
    account.asked[BUILDKITE] += 1
    account.wait(LATENCY["stacks.list_scheduled"])
    account.ask("DescribeAutoScalingGroups", LATENCY["fleet.describe"])
    account.ask("SetDesiredCapacity", LATENCY["fleet.describe"])
    account.wait(REACTION)
    missing = jobs
    while missing:
        account.ask(UNCOUNTED, CREATE_FLEET)
        granted = account.granted(missing)
        account.boots(granted)
        missing -= granted
        account.wait(0.0 if granted else THROTTLED_PAUSE)
    name = "Auto Scaling group" if after_scale_out >= COOLDOWN_SECONDS else "… in its cooldown"
    return account.done(name, jobs, since=EPOCH, tail=IDLE_SECONDS)


def queue_fed(jobs: int) -> Peer:
    """A queue-fed launcher. A VM's agent can start when its parameter is written."""
    account = Account()
    account.wait(QUEUE_SECONDS)
    account.wait(INVOKE_SECONDS)
    for first in range(0, jobs, BATCH):
        missing = min(BATCH, jobs - first)
        while missing:
            account.ask("CreateFleet", CREATE_FLEET)
            granted = account.granted(missing)
            for _ in range(granted):
                account.ask("CreateTags", LATENCY["fleet.describe"])
                account.put_parameter()
                account.boots(1)
            missing -= granted
            account.wait(0.0 if granted else THROTTLED_PAUSE)
    return account.done("queue-fed launcher", jobs, since=EPOCH, tail=0.0)


def peers(sizes: Sequence[int]) -> Sequence[Peer]:
    """Each model at each size."""
    return [
        row
        for jobs in sizes
        for row in (scaling_group(jobs), scaling_group(jobs, after_scale_out=60.0), queue_fed(jobs))
    ]
