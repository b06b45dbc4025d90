"""What kind of world it is: its services' manners, its times, and the settings of a stack that is quick about it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent_stack.domain.programs import VmProgram
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.clock import EPOCH
from tests.simulator.cloud import Caller as Ec2Caller
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud import Subnet
from tests.simulator.lambda_host import ANYWHERE
from tests.simulator.memory.rates import WRITES_PER_SECOND
from tests.simulator.simulation.costs import (
    Costs,
)
from tests.simulator.simulation.kernel import MAX_EVENTS
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.process import Fate

EC2_WORDS = {
    "RequestLimitExceeded": "throttled",
    "InternalError": "server error",
    "answer lost": "answer lost",
    "says nothing": "answer lost",
    "launches nothing": "launches nothing",
}
FATE_WORDS = {
    Fate.DIES_BEFORE: " dies",
    Fate.DIES_AFTER: " dies",
    Fate.DIES_AMID: " dies",
    Fate.REFUSED: "'s records are refused",
    Fate.ANSWER_LOST: "'s record: answer lost",
}
CLASSES_PARAMETER = "/classes"
WAKE_UP_SECONDS = (10.0, 10.6)
"""From a wake-up to the tracker's code: the batching window of template.yaml, the queue's and Lambda's own time."""

PERIOD_SECONDS = 60.0  # of the schedules
CLASSES = """
{"classes": {
  "default": {"instance_types": ["m7i.large", "m6i.large"], "image": "ami-0123456789abcdef0",
              "boot_timeout_seconds": 60},
  "spot": {"instance_types": ["c7i.large"], "market": "spot", "image": "ami-0123456789abcdef0",
           "boot_timeout_seconds": 60}
}, "default_class": "default"}
"""
QUICK = {
    "RESERVATION_SECONDS": "120",
    "LAUNCH_DEADLINE_SECONDS": "120",
    "UNASSIGNED_TIMEOUT_SECONDS": "90",
    "MAX_LIFETIME_SECONDS": "900",
    "CANCEL_GRACE_SECONDS": "20",
    "FINISH_GRACE_SECONDS": "10",
    "SWEEP_GRACE_SECONDS": "60",
    "IDLE_POLL_SECONDS": "5",
    "MAX_INSTANCES": "6",
    "UNMATCHED_JOBS": "fail",
}

PROGRAM = VmProgram(text="echo the second stage\n")
"""What a VM would run; virtual ones only have one name for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What kind of world it is."""

    ec2: Ec2Settings
    temper: Temper = field(default_factory=Temper)
    latency: tuple[float, float] = (0.005, 0.2)
    launch_latency: tuple[float, float] = (0.3, 3.0)
    costs: Costs | None = None
    """In place of `latency` where time is what matters."""
    only: tuple[str, ...] = ("dispatcher", "tracker")
    warm: bool = False
    """Whether a process serves later invocations, with what it remembers."""
    watched: bool = True
    """Whether the promises are looked at after each event; thousands of VMs make that slow."""
    judged: bool = True
    """Whether what Buildkite and EC2 tell is held against the promises; with tens of thousands of VMs that is slow."""
    cold_seconds: float = 0.0
    """Before the code of an invocation whose process is new."""
    jitter_seconds: tuple[float, float] = ANYWHERE
    """Where in its minute a schedule fires; drawn anew for each minute."""
    invoke_seconds: tuple[float, float] = (0.0, 0.0)
    """From an invocation's moment to its code: Lambda's own time."""
    buildkite: BuildkiteSettings = field(default_factory=BuildkiteSettings)
    """Which of the answers that the real one may give it gives."""
    writes_per_second: float = WRITES_PER_SECOND
    conflicts: float = 0.0
    """How often a transaction meets another."""
    callers: Mapping[str, Ec2Caller] = field(default_factory=dict)
    """What EC2 lets a function do, by function; one that is not named may do everything."""
    start: datetime = EPOCH
    max_events: int = MAX_EVENTS
    """What goes round in circles has more."""
    spot_notices: bool = True
    """Whether a VM looks for the announcement that EC2 takes it back."""
    asks_for_classes: bool = False
    """Whether a process reads the class document from SSM, and asks EC2 about it; else it is taken as it stands."""


def plain_ec2(**changes: Any) -> Ec2Settings:  # noqa: ANN401  (the settings' own)
    """An EC2 that always has what it is asked for."""
    values: dict[str, Any] = {
        "subnets": {"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")},
        "pending": (timedelta(seconds=3), timedelta(seconds=8)),
        "shutting_down": timedelta(seconds=5),
        **changes,
    }
    return Ec2Settings(**values)


PEACEFUL = Temper()


def without_standby(document: str) -> str:
    """The class document after its operator wants no standby VMs any more; a document without any stays as it is."""
    read = json.loads(document)
    if not any("standby" in entry for entry in read["classes"].values()):
        return document
    for entry in read["classes"].values():
        if "standby" in entry:
            entry["standby"] = {"hot": 0}
    return json.dumps(read)
