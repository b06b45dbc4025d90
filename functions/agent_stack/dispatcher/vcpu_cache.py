"""The vCPUs of instance types, asked of EC2 beside the cycle, and only where somebody counts them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import InstanceTypes, Task, Telemetry, Workers

RETRY_AFTER = timedelta(seconds=10)
ASKED_AGAIN_AFTER = timedelta(hours=1)
"""A type that EC2 does not know may be one of tomorrow."""


@dataclass(slots=True, kw_only=True)
class VcpuCache:
    """What one process knows of them. A type's vCPUs never change."""

    instance_types: InstanceTypes
    workers: Workers
    telemetry: Telemetry
    _known: dict[str, int] = field(default_factory=dict, init=False)
    _not_before: dict[str, datetime] = field(default_factory=dict, init=False)
    _task: tuple[tuple[str, ...], Task[Mapping[str, int]]] | None = field(default=None, init=False)

    @property
    def known(self) -> Mapping[str, int]:
        """By type; a type that is not in it is not known."""
        return self._known

    def want(self, instance_types: Iterable[str], now: datetime) -> None:
        """Collect what was asked for, and ask for those of these types that are not known."""
        self._collect(now)
        missing = tuple(
            dict.fromkeys(
                one
                for one in instance_types
                if one and one not in self._known and now >= self._not_before.get(one, now)
            )
        )
        if missing and self._task is None:
            self._task = (missing, self.workers.submit(partial(self.instance_types.vcpus, missing)))
            self._collect(now)

    def _collect(self, now: datetime) -> None:
        if self._task is None or not self._task[1].done():
            return
        asked, task = self._task
        self._task = None
        try:
            found = task.result()
        except AgentStackError as error:
            self.telemetry.warning("vcpus_unknown", count=len(asked), error=str(error))
            self._not_before |= dict.fromkeys(asked, now + RETRY_AFTER)
            return
        self._known.update(found)
        self._not_before |= dict.fromkeys([one for one in asked if one not in found], now + ASKED_AGAIN_AFTER)
