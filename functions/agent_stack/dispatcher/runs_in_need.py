"""Runs in need: which queues have runs of a class without a VM, beyond the VMs that are there or asked for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsInNeed:
    """The runs of a cycle that have no VM, grouped once, whatever launches are open."""

    active: Iterable[Run]
    in_flight: InFlightLaunches
    _queues: dict[ClassName, list[QueueKey]] = field(default_factory=lambda: defaultdict(list), init=False)

    def __post_init__(self) -> None:
        for run in self.active:
            if run.binding is None and run.failure_reason is None:
                self._queues[run.class_name].append(run.queue_key)

    def queues(self, name: ClassName, idle: Mapping[ClassName, Sequence[Vm]]) -> frozenset[QueueKey]:
        """The queues of a class's runs; none where its idle VMs and those asked for are enough for all of them."""
        runs = self._queues.get(name, [])
        asked = sum(one.count for one in self.in_flight.intents if one.class_name == name and not one.stands_by)
        enough = len(runs) <= len(idle.get(name, ())) + asked
        return frozenset() if enough else frozenset(runs)
