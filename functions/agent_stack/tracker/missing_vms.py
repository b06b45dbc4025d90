"""Absences: how often in a row EC2 did not show a run's VM. Counted, told, and never decided by.

The counts are this process's own and end with it: decisions go by EC2's word or by time (`domain.decisions`), which
outlive any process. They pace the questions: a VM that was shown a moment ago has most likely ended, and is asked for
by its id at once; one that EC2 keeps hiding is asked for ever more seldom, so that a thousand fresh VMs that are not
shown yet do not cost five requests a second.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.ports import Telemetry

MAX_LOOKUP_GAP = 32
"""Looks between two questions at the most: half a minute while there is work."""

WARN_AFTER = 8
"""In a row; fewer are EC2's usual delay in showing what is new."""

MAX_LOOKUPS = 2_000
"""Ids asked for in one cycle: ten requests, half of what EC2 grants in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVms:
    """The counts of one process."""

    telemetry: Telemetry
    _counts: dict[InstanceId, int] = field(default_factory=dict, init=False, repr=False)

    def record_missing(self, absent: Sequence[InstanceId]) -> list[InstanceId]:
        """Count one more absence for each of these, none for any other VM; those worth a question now."""
        counts = {instance_id: self._counts.get(instance_id, 0) + 1 for instance_id in absent}
        self._counts.clear()
        self._counts.update(counts)
        for instance_id, count in counts.items():
            if count >= WARN_AFTER and _is_lookup_due(count):
                self.telemetry.warning("vm_absent", instance_id=instance_id, count=count)
        self.telemetry.peak(Metric.VMS_ABSENT, len(counts))
        worth = [instance_id for instance_id, count in counts.items() if _is_lookup_due(count)]
        worth.sort(key=counts.__getitem__)  # whose absence is new has most to tell
        for instance_id in worth[MAX_LOOKUPS:]:
            self._counts[instance_id] -= 1  # its turn is the next cycle
        return worth[:MAX_LOOKUPS]

    def forget(self, shown: Collection[InstanceId]) -> None:
        """EC2 showed these after all."""
        for instance_id in shown:
            self._counts.pop(instance_id, None)


def _is_lookup_due(count: int) -> bool:
    """At 1, 2, 4, 8, 16, 32, and every 32 from there."""
    return count % MAX_LOOKUP_GAP == 0 or count & (count - 1) == 0
