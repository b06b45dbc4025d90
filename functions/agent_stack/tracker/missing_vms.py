"""Missing VMs: counts how often in a row EC2 did not show a run's VM. No decision depends on this count.

The counts live in one process. Decisions use EC2's answer or time (`domain.decisions`), which outlive any process. The
counts pace the lookups by id: a VM that EC2 showed in the last cycle has probably ended, so the tracker looks it up at
once. The longer EC2 does not show a VM, the less often the tracker looks it up. So a thousand new VMs that EC2 does not
show yet do not cost five requests a second.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.ports import Telemetry

MAX_LOOKUP_GAP = 32
"""Most cycles between two lookups: about half a minute while there is work."""

WARN_AFTER = 8
"""Absences in a row. Fewer are normal, because EC2 shows new VMs with a delay."""

MAX_LOOKUPS = 2_000
"""Ids looked up in one cycle: ten requests, half of EC2's budget for a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVms:
    """The counts of one process."""

    telemetry: Telemetry
    _counts: dict[InstanceId, int] = field(default_factory=dict, init=False, repr=False)

    def record_missing(self, absent: Sequence[InstanceId]) -> list[InstanceId]:
        """Counts one more absence for each of these VMs, and forgets all others. Returns the VMs to look up now."""
        counts = {instance_id: self._counts.get(instance_id, 0) + 1 for instance_id in absent}
        self._counts.clear()
        self._counts.update(counts)
        for instance_id, count in counts.items():
            if count >= WARN_AFTER and _is_lookup_due(count):
                self.telemetry.info("vm_absent", instance_id=instance_id, count=count)
        self.telemetry.peak(Metric.VMS_ABSENT, len(counts))
        due = [instance_id for instance_id, count in counts.items() if _is_lookup_due(count)]
        due.sort(key=counts.__getitem__)  # a new absence first, because this VM has probably ended
        for instance_id in due[MAX_LOOKUPS:]:
            self._counts[instance_id] -= 1  # so that the next cycle looks it up
        return due[:MAX_LOOKUPS]

    def forget(self, shown: Collection[InstanceId]) -> None:
        """Resets the counts of VMs that EC2 showed."""
        for instance_id in shown:
            self._counts.pop(instance_id, None)


def _is_lookup_due(count: int) -> bool:
    """At 1, 2, 4, 8, 16 and 32, then at every multiple of 32."""
    return count % MAX_LOOKUP_GAP == 0 or count & (count - 1) == 0
