"""The vCPUs of instance types, asked of EC2 beside the cycle, and only where somebody counts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.moments import has_passed
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.ports import InstanceTypes, Task, Telemetry, Workers

RETRY_AFTER = timedelta(seconds=10)
ASKED_AGAIN_AFTER = timedelta(hours=1)
"""A type that EC2 does not know may be one of tomorrow."""

ANSWER_TIMEOUT = timedelta(seconds=2)
"""How long a cycle waits for an answer that a job needs. A process asks once for each type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedVcpus:
    """The vCPUs of VMs of several classes. Without figures nothing counts, and nothing is unknown.

    Attributes:
        largest: by class, of its largest type, which EC2 may choose.
        by_type: by instance type.
        why_unknown: by class whose vCPUs are not known, in words for the build page.
        unknown_running: the same for a VM that runs. Until it is counted, nothing more starts.
        unanswered: what EC2 has not said yet of any of them; None when it has answered.
    """

    largest: Mapping[ClassName, int] = field(default_factory=dict)
    by_type: Mapping[str, int] = field(default_factory=dict)
    why_unknown: Mapping[ClassName, str] = field(default_factory=dict)
    unknown_running: str | None = None
    unanswered: str | None = None

    def of(self, name: ClassName) -> int:
        """Of one VM of that class, whichever type it gets."""
        return self.largest.get(name, 0)

    def of_run(self, run: Run) -> int:
        """Of the VM that this run has, by its own type, or will get."""
        bound = self.by_type.get(run.binding.instance_type) if run.binding is not None else None
        return self.of(run.class_name) if bound is None else bound

    def of_standby(self, vm: StandbyVm) -> int:
        """Of a VM that stands by, by its own type, or as EC2 shows it; until it does, of the largest of its class."""
        return self.by_type.get(vm.instance_type) or vm.vcpus or self.of(vm.class_name)

    def unknown(self, name: ClassName) -> str | None:
        """Why a VM of that class cannot be counted; None when it can."""
        return self.unknown_running or self.why_unknown.get(name)


@dataclass(slots=True, kw_only=True)
class VcpuCache:
    """What one process knows of them. A type's vCPUs never change."""

    instance_types: InstanceTypes
    workers: Workers
    telemetry: Telemetry
    _known: dict[str, int] = field(default_factory=dict, init=False)
    _absent: set[str] = field(default_factory=set, init=False)
    _pauses: dict[str, tuple[datetime, timedelta]] = field(default_factory=dict, init=False)
    """When EC2 was asked about a type without success, and how long it is left alone then."""
    _task: tuple[tuple[str, ...], Task[Mapping[str, int]]] | None = field(default=None, init=False)

    @property
    def known(self) -> Mapping[str, int]:
        """By type; a type that is not in it is not known."""
        return self._known

    def want(self, instance_types: Iterable[str], now: datetime) -> None:
        """Collect what was asked for, and ask for those of these types that are not known."""
        self._collect(now)
        missing = tuple(
            dict.fromkeys(one for one in instance_types if one and one not in self._known and self._is_due(one, now))
        )
        if missing and self._task is None:
            self._task = (missing, self.workers.submit(partial(self.instance_types.vcpus, missing)))
            self._collect(now)

    def _is_due(self, instance_type: str, now: datetime) -> bool:
        asked_at, pause = self._pauses.get(instance_type, (None, RETRY_AFTER))
        return has_passed(pause, asked_at, now)

    def counted(
        self, by_class: Mapping[ClassName, Sequence[str]], running: Iterable[str], now: datetime
    ) -> CountedVcpus:
        """The vCPUs of these classes and of the types that run. Waits a moment for an answer that is on its way.

        A type that EC2 does not know counts nothing, because no VM of it can exist.
        """
        up = list(running)
        self.want([*(one for types in by_class.values() for one in types), *up], now)
        if self._task is not None:
            self.workers.wait([self._task[1]], ANSWER_TIMEOUT)
            self._collect(now)
        largest: dict[ClassName, int] = {}
        unknown: dict[ClassName, str] = {}
        for name, types in by_class.items():
            sizes = [self._known[one] for one in types if one in self._known]
            if words := self._open_question(types):
                unknown[name] = words
            elif not sizes:
                unknown[name] = f"EC2 knows no instance type {', '.join(types[:3])}"
            largest[name] = max(sizes, default=0)
        return CountedVcpus(
            largest=largest,
            by_type=dict(self._known),
            why_unknown=unknown,
            unknown_running=self._open_question(up),
            unanswered=self._open_question([*(one for types in by_class.values() for one in types), *up]),
        )

    def _open_question(self, types: Iterable[str]) -> str | None:
        for one in types:
            if one and one not in self._known and one not in self._absent:
                return f"EC2 has not said yet how many vCPUs {one} has (MaxVcpus)"
        return None

    def _collect(self, now: datetime) -> None:
        if self._task is None or not self._task[1].done():
            return
        asked, task = self._task
        self._task = None
        try:
            found = task.result()
        except AgentStackError as error:
            self.telemetry.warning("vcpus_unknown", count=len(asked), error=str(error))
            self._pauses |= dict.fromkeys(asked, (now, RETRY_AFTER))
            return
        self._known.update(found)
        self._absent = {*self._absent, *asked} - found.keys()
        self._pauses |= dict.fromkeys([one for one in asked if one not in found], (now, ASKED_AGAIN_AFTER))
