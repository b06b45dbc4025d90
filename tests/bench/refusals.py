"""What becomes of jobs while EC2 refuses: jobs that ran, CreateFleet requests and virtual seconds, one line a scenario.

The scenarios are played on the virtual clock; tests/scenario/test_quotas.py and test_refusals.py judge the same ones.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent_stack.adapters.ec2.requests import CLASS_TAG
from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Subnet
from tests.simulator.cloud.quotas import Workload
from tests.simulator.cloud.refusals import Refusal
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

IMAGE = "ami-0123456789abcdef0"
ZONES = {f"subnet-{zone}": Subnet(zone=f"eu-central-1{zone}") for zone in "ab"}
SETTINGS = {
    **QUICK,
    "SUBNET_IDS": ",".join(ZONES),
    "MAX_INSTANCES": "20",
    "LAUNCH_DEADLINE_SECONDS": "600",
    "RESERVATION_SECONDS": "300",
    "IDLE_POLL_SECONDS": "2",
}
DEPLOYED_SECONDS = 61.0
"""By then each schedule has fired."""

OVER = {JobState.FINISHED, JobState.CANCELED, JobState.EXPIRED, JobState.TIMED_OUT}


def a_class(*types: str, **fields: object) -> dict[str, object]:
    """One class of a document."""
    return {"instance_types": list(types), "image": IMAGE, "boot_timeout_seconds": 120, **fields}


CLASSES: Mapping[str, Mapping[str, object]] = {
    "default": a_class("m7i.large"),
    "large": a_class("m7i.4xlarge"),
    "gpu": a_class("g5.xlarge"),
    "spot": a_class("c7i.large", market="spot", fallback_to_on_demand=True),
    "spot-only": a_class("c7i.large", market="spot"),
    "mixed": a_class("m7g.large", "m7i.large"),
    "bad": a_class("r7i.large", image="ami-0bad0bad0bad0bad0"),
}


@dataclass(kw_only=True)
class Played:
    """A world in which jobs were pushed and time has passed."""

    simulation: Simulation
    began: datetime
    pushed: dict[str, list[str]] = field(default_factory=dict)

    def push(self, count: int, vm_class: str = "default", seconds: float = 3, priority: int = 0) -> None:
        """Jobs of a class, each of which runs for so long."""
        step = Step(env={"SIM_SECONDS": str(seconds)}, agents=[f"class={vm_class}"], priority=priority)
        build = self.simulation.buildkite.create_build(steps=[step] * count)
        self.pushed.setdefault(vm_class, []).extend(build.job_ids)

    def run(self, seconds: float) -> None:
        """Let time pass, whatever happens."""
        self.simulation.run(seconds)

    @property
    def seconds(self) -> float:
        """Virtual seconds since the world began."""
        return (self.simulation.kernel.now() - self.began).total_seconds()

    def until_over(self, at_most: float, vm_class: str | None = None) -> float:
        """Let time pass until jobs are over; how many seconds that took."""
        began = self.seconds
        while self.left(vm_class) and self.seconds - began < at_most:
            self.run(1)
        return self.seconds - began

    def jobs(self, vm_class: str | None = None) -> Sequence[Any]:
        """The jobs of a class, or all."""
        ids = [one for name, jobs in self.pushed.items() if vm_class in (None, name) for one in jobs]
        return [self.simulation.buildkite.job(one) for one in ids]

    def left(self, vm_class: str | None = None) -> int:
        """Jobs that are not over."""
        return sum(job.state not in OVER for job in self.jobs(vm_class))

    def ran(self, vm_class: str | None = None) -> int:
        """Jobs that an agent ran to exit status 0."""
        return sum(job.exit_status == 0 and job.stack_finish is None for job in self.jobs(vm_class))

    def reasons(self, vm_class: str | None = None) -> list[str]:
        """Why the stack finished jobs."""
        return [job.stack_finish.detail for job in self.jobs(vm_class) if job.stack_finish is not None]

    def told(self, vm_class: str) -> str:
        """What the pages of a class's jobs say."""
        ids = set(self.pushed.get(vm_class, ()))
        return "\n".join(detail for (job_id, detail) in self.simulation.laws.notices_sent if job_id in ids)

    @property
    def fleets(self) -> list[str | None]:
        """Every CreateFleet request, with the code that refused it as a whole."""
        return [call.code for call in self.simulation.ec2.calls() if call.action == "CreateFleet"]

    def line(self, name: str) -> str:
        """Its line of the table."""
        jobs = len(self.jobs())
        return f"| {name} | {self.ran()} of {jobs} | {len(self.reasons())} | {len(self.fleets)} | {self.seconds:.0f} |"


def world(
    *,
    classes: Mapping[str, Mapping[str, object]] = CLASSES,
    settings: Mapping[str, str] = SETTINGS,
    seed: int = 1,
    warm: bool = True,
    refusals: Sequence[Refusal] = (),
    **ec2: Any,  # noqa: ANN401  (EC2's settings)
) -> Played:
    """A stack with these classes that was deployed a while ago; refusals and other workloads begin now.

    Its schedules fire anywhere in their minute. A stack whose first minute has not passed has no dispatcher yet, which
    delays jobs whatever EC2 refuses.
    """
    document = json.dumps({"classes": classes, "default_class": next(iter(classes))})
    nature = Nature(ec2=plain_ec2(**{"subnets": ZONES, **ec2}), warm=warm)
    simulation = Simulation(seed=seed, nature=nature, settings=settings, classes=document)
    simulation.run(DEPLOYED_SECONDS)
    simulation.ec2.quotas.began_at = simulation.kernel.now()
    for refusal in refusals:
        simulation.ec2.faults.refuse(refusal)
    return Played(simulation=simulation, began=simulation.kernel.now())


def of_class(name: str) -> dict[str, str]:
    """The tags of one class's VMs."""
    return {CLASS_TAG: name}


def five_vcpus(answer: str = "part") -> Played:
    """Twenty jobs of a minute in an account with five standard vCPUs."""
    played = world(quotas={"on-demand:standard": 5}, quota_answer=answer)
    played.push(20, seconds=60)
    played.until_over(3_000)
    return played


def another_workload() -> Played:
    """The same, while something else takes and releases the quota."""
    other = Workload(
        bucket="on-demand:standard",
        vcpus=4,
        starts=timedelta(seconds=60),
        lasts=timedelta(seconds=200),
        every=timedelta(seconds=400),
    )
    played = world(quotas={"on-demand:standard": 5}, workloads=(other,))
    played.push(10, seconds=60)
    played.until_over(6_000)
    return played


def a_large_one_beside_small_ones() -> Played:
    """A job of 16 vCPUs beside a stream of small ones, with room for 16."""
    played = world(quotas={"on-demand:standard": 16})
    for _ in range(8):
        played.push(1, seconds=100)
        played.run(12)
    played.push(1, "large", seconds=10)
    for _ in range(80):
        played.push(1, seconds=100)
        played.run(12)
    played.until_over(2_000)
    return played


def no_quota() -> Played:
    """A quota of zero: the deadline runs."""
    played = world(quotas={"on-demand:g-vt": 0})
    played.push(4, "gpu")
    played.until_over(900)
    return played


def gpu_without_quota() -> Played:
    """Jobs of a class without quota come first, and as many as there may be VMs."""
    played = world(quotas={"on-demand:g-vt": 0})
    played.push(20, "gpu", priority=5)
    played.run(30)
    played.push(1)
    played.until_over(300, "default")
    return played


def mixed_architectures() -> Played:
    """The right types are unavailable for 100 s; the others are of another architecture than the image."""
    wrong = Refusal(
        code="InvalidParameterValue", message="The architecture of the instance type is wrong", pool="*:m7g.large:*"
    )
    dry = Refusal(code="InsufficientInstanceCapacity", pool="*:m7i.large:*", lasts=timedelta(seconds=100))
    played = world(refusals=(wrong, dry))
    played.push(3, "mixed")
    played.until_over(600)
    return played


def spot_fails_as_a_whole(code: str, vm_class: str, seconds: float = 600, status: int | None = None) -> Played:
    """Every spot request fails as a whole."""
    refusal = Refusal(code=code, where="request", pool="spot:*:*", lasts=timedelta(seconds=seconds + 10))
    played = world(refusals=(refusal,), settings={**SETTINGS, "LAUNCH_DEADLINE_SECONDS": "1200"})
    played.push(3, vm_class)
    if vm_class == "spot":
        played.until_over(seconds)
    else:
        played.run(seconds)
    return played


def unlisted_codes(zones: str = "*") -> Played:
    """Ten codes that no document lists, for 100 s."""
    refusals = tuple(
        Refusal(
            code=f"Unlisted{number}Failure", pool=f"*:*:eu-central-1{zones}", lasts=timedelta(seconds=100), chance=0.5
        )
        for number in range(9)
    )
    last = Refusal(code="Unlisted9Failure", pool=f"*:*:eu-central-1{zones}", lasts=timedelta(seconds=100))
    played = world(refusals=(*refusals, last))
    played.push(5)
    played.until_over(600)
    return played


def a_bad_class(refusal: Refusal, *, cold: bool = False) -> Played:
    """A class that EC2 refuses, with as many jobs as there may be VMs, before one job of another class."""
    played = world(refusals=(refusal,), warm=not cold)
    played.push(10, "bad", priority=5)
    played.run(70 if cold else 20)
    played.push(1)
    played.until_over(300, "default")
    played.run(400)
    return played


SCENARIOS: Mapping[str, Callable[[], Played]] = {
    "5 standard vCPUs, 20 jobs of 60 s": five_vcpus,
    "the same, and EC2 gives nothing in place of a part": lambda: five_vcpus("nothing"),
    "10 jobs, while another workload takes and releases the quota": another_workload,
    "a job of 16 vCPUs beside a stream of small ones": a_large_one_beside_small_ones,
    "a quota of 0": no_quota,
    "20 GPU jobs without quota, then one of the default class": gpu_without_quota,
    "mixed architectures, the right type unavailable for 100 s": mixed_architectures,
    "every spot request fails (InternalError), fallback": lambda: spot_fails_as_a_whole("InternalError", "spot"),
    "every spot request fails (InternalError), no fallback, 10 min": lambda: spot_fails_as_a_whole(
        "InternalError", "spot-only"
    ),
    "every spot request fails (ServiceUnavailable), no fallback, 10 min": lambda: spot_fails_as_a_whole(
        "ServiceUnavailable", "spot-only"
    ),
    "every spot request fails (InsufficientInstanceCapacity), no fallback, 10 min": lambda: spot_fails_as_a_whole(
        "InsufficientInstanceCapacity", "spot-only"
    ),
    "every spot request fails (MaxFleetCountExceeded), fallback": lambda: spot_fails_as_a_whole(
        "MaxFleetCountExceeded", "spot"
    ),
    "ten unlisted codes in every zone for 100 s": unlisted_codes,
    "ten unlisted codes in one zone for 100 s": lambda: unlisted_codes("a"),
    "a class that IAM refuses": lambda: a_bad_class(
        Refusal(code="UnauthorizedOperation", where="request", tags=of_class("bad"))
    ),
    "a class whose image is gone, cold starts": lambda: a_bad_class(
        Refusal(code="InvalidAMIID.NotFound", tags=of_class("bad")), cold=True
    ),
}


def main() -> int:
    """Print the table."""
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    sys.stdout.write(
        "| scenario | jobs that ran | finished by the stack | CreateFleet | seconds |\n|---|---|---|---|---|\n"
    )
    for name, play in SCENARIOS.items():
        if not wanted or any(word in name for word in wanted):
            sys.stdout.write(play().line(name) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
