"""A deployment with idle VMs, for scenarios."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agent_stack.adapters.ec2.requests import CLASS_TAG, HOLD_TAG
from agent_stack.domain.identifiers import InstanceId
from tests.simulator.buildkite import JobState, Step
from tests.simulator.cloud import Instance
from tests.simulator.cloud.instance import UP
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

IMAGE = "ami-0123456789abcdef0"
SETTINGS = {
    **QUICK,
    "MAX_INSTANCES": "100",
    "IDLE_POLL_SECONDS": "0.5",
    "LAUNCH_DEADLINE_SECONDS": "300",
    "RESERVATION_SECONDS": "480",
}
TIMES = {"pending": (timedelta(seconds=5), timedelta(seconds=5)), "shutting_down": timedelta(seconds=20)}
STEADY: dict[str, Any] = {"launch_latency": (1.0, 1.0), "latency": (0.05, 0.05), "temper": Temper(boot=(2.0, 2.0))}
"""What a start takes does not vary, so that starts can be compared."""

SHAPE = {"instance_types": ["m7i.large"], "image": IMAGE, "boot_timeout_seconds": 60}
OTHER = {**SHAPE, "instance_types": ["c7i.large"]}

READY_SOON = {"boot_timeout_seconds": 30}
"""Of the class whose VMs stand by; with it `SOON` seconds make them ready."""

SOON = 45.0


def document(hot: int = 2, minutes: int = 240, *, shape: Mapping[str, Any] | None = None, **standby: object) -> str:
    """The classes `default`, with standby VMs, and `other`, without.

    Args:
        shape: members of the class `default` that are otherwise.
        standby: further members of its standby VMs.
    """
    default = {**SHAPE, **(shape or {}), "standby": {"hot": hot, "max_age_minutes": minutes, **standby}}
    return json.dumps({"classes": {"default": default, "other": OTHER}, "default_class": "default"})


class World(Simulation):
    """A deployment with idle VMs."""

    def __init__(
        self,
        classes: str | None = None,
        *,
        settings: dict[str, str] | None = None,
        ec2: dict[str, Any] | None = None,
        seconds: float = 130,
        **nature: Any,  # noqa: ANN401  (a nature's own)
    ) -> None:
        super().__init__(
            seed=1,
            nature=Nature(ec2=plain_ec2(**{**TIMES, **(ec2 or {})}), **{**STEADY, **nature}),
            settings={**SETTINGS, **(settings or {})},
            classes=classes or document(),
        )
        self.deliver_wake_ups()
        self.run(seconds)

    def push(self, count: int = 1, *, seconds: int = 20, rules: tuple[str, ...] = ()) -> list[str]:
        """Jobs of that many seconds; their ids."""
        step = Step(env={"SIM_SECONDS": str(seconds)}, agents=list(rules))
        return list(self.buildkite.create_build(steps=[step] * count).job_ids)

    def age(self, instance_id: InstanceId) -> None:
        """Its hold is nearly over, by the ledger's list."""
        listed = self.store.standby.get(instance_id)
        if listed is not None:
            self.store.standby[instance_id] = replace(listed, hold=self.kernel.now() - listed.launched_at)

    def push_one(self) -> None:
        """One short job."""
        self.push(seconds=5)

    def up(self, *, name: str = "default", standby: bool = True) -> list[Instance]:
        """VMs of that class that EC2 shows up, launched to stand by or because of jobs."""
        return [
            one
            for one in self.ec2.instances()
            if one.state in UP and (HOLD_TAG in one.tags) == standby and one.tags.get(CLASS_TAG) == name
        ]

    def idle(self, name: str = "default") -> list[Instance]:
        """Those of them that a job may be bound to."""
        open_ids = {vm.instance_id for vm in self.store.standby.values() if vm.closing is None}
        return [one for one in self.up(name=name) if one.instance_id in open_ids]

    def fleets(self, since: datetime) -> list[tuple[datetime, int, bool]]:
        """CreateFleet calls: when, for how many, and whether they are to stand by."""
        found = []
        for call in self.ec2.calls():
            if call.action == "CreateFleet" and call.at > since:
                request: Any = call.request
                tags = {tag["Key"] for tag in request["TagSpecifications"][0]["Tags"]}
                count = request["TargetCapacitySpecification"]["TotalTargetCapacity"]
                found.append((call.at, count, HOLD_TAG in tags))
        return found

    def said(self, message: str) -> list[dict[str, Any]]:
        """What the functions logged with that message."""
        return [dict(fields) for _, told, fields in self.telemetry.records if told == message]

    def until(self, job_id: str, state: JobState, seconds: float = 60) -> float:
        """How long it takes until the job is in that state."""
        began = self.kernel.now()
        while self.buildkite.job(job_id).state is not state:
            assert (self.kernel.now() - began).total_seconds() < seconds, self.buildkite.job(job_id).state
            self.run(0.25)
        return (self.kernel.now() - began).total_seconds()


def cold_start(**nature: Any) -> float:  # noqa: ANN401  (a world's own)
    """Seconds until a job without a standby VM runs."""
    world = World(document(hot=0), seconds=130, **nature)
    (job,) = world.push(rules=("class=other",))
    return world.until(job, JobState.RUNNING)
