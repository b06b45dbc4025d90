"""What is to be played: a deployment, its classes, the jobs, and how long VMs take."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from agent_stack.settings import Settings
from infra.examples import environment
from infra.user_data import TEMPLATE

ZONES = 3
"""A region has three zones or more; each has one subnet here."""

EVENT_BUS = "BuildkiteEventBusName"


def default_classes() -> str:
    """The class document that template.yaml gives a stack without one of its own. Read without the rest: it is long."""
    found = re.search(
        r"^  DefaultClasses:\n.*?^      Value: \|\n(.*?)^\n", TEMPLATE.read_text(), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError("template.yaml has no default classes")
    return found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedJob:
    """One job of the load.

    Attributes:
        at: seconds from the start until it is scheduled.
        seconds: how long its command runs.
        agents: its agent query rules, such as `class=large`.
        cancel_at: seconds from the start until a user cancels it; None for never.
    """

    at: float
    seconds: float
    queue: str | None = None
    agents: tuple[str, ...] = ()
    priority: int | None = None
    pipeline: str = "pipeline"
    cancel_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boots:
    """How long VMs take from their launch to their agent.

    Attributes:
        pending: shortest and longest seconds from the launch to `running`.
        quantiles: seconds from the launch to the agent, evenly spaced from the shortest to the longest.
    """

    pending: tuple[float, float]
    quantiles: tuple[float, ...]

    def seconds(self, fraction: float) -> float:
        """The boot at that place of the distribution, straight between two quantiles."""
        place = fraction * (len(self.quantiles) - 1)
        lower = min(int(place), len(self.quantiles) - 1)
        upper = min(lower + 1, len(self.quantiles) - 1)
        low, high = self.quantiles[lower], self.quantiles[upper]
        return low + (high - low) * (place - lower)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One day.

    Attributes:
        parameters: of the template, by name; those that are missing have their defaults.
        classes: the class document.
        classes_source: where it stands, as the operator calls it.
        tail_seconds: how long jobs may run on after the last ones have come.
        skips: whether idle cycles are skipped, see `rest`.
    """

    parameters: Mapping[str, str]
    classes: str
    jobs: tuple[AskedJob, ...]
    boots: Boots
    start: datetime
    seconds: float
    tail_seconds: float
    seed: int
    skips: bool = True
    classes_source: str = "the class document"
    latency: tuple[float, float] = (0.01, 0.06)
    launch_latency: tuple[float, float] = (1.5, 3.0)
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", Settings.from_environment(self.variables))

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The request as it came."""
        names = ("at", "seconds", "queue", "agents", "priority", "pipeline", "cancel_at")
        jobs = tuple(
            AskedJob(**{**dict(zip(names, row, strict=True)), "agents": tuple(row[3] or ())}) for row in data["jobs"]
        )
        boots = Boots(pending=tuple(data["boots"]["pending"]), quantiles=tuple(data["boots"]["quantiles"]))
        others = {
            name: data[name]
            for name in ("parameters", "classes", "seconds", "tail_seconds", "seed", "skips", "classes_source")
            if name in data
        }
        others["classes"] = others["classes"] or default_classes()
        return cls(jobs=jobs, boots=boots, start=datetime.fromisoformat(data["start"]), **others)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment that template.yaml gives the functions with these parameters."""
        given = dict(environment())
        for setting in Settings.model_fields.values():
            variable = str(setting.alias)
            parameter = "".join(part.capitalize() for part in variable.split("_"))
            if self.parameters.get(parameter):
                given[variable] = self.parameters[parameter]
        given["SUBNET_IDS"] = ",".join(self.subnets)
        given["WOKEN_BY_JOBS"] = "true" if self.parameters.get(EVENT_BUS) else "false"
        return given

    @property
    def subnets(self) -> Sequence[str]:
        """One for each zone."""
        return [f"subnet-{'abcdef'[number]}" for number in range(ZONES)]

    @property
    def queues(self) -> Sequence[str]:
        """The queues of the stack. A queue that no stack serves is added for the jobs that name it."""
        served = [queue.key for queue in self.settings.queues]
        return list(dict.fromkeys([*served, *(job.queue for job in self.jobs if job.queue)]))
