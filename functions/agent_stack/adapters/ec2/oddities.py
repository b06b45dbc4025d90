"""What EC2's answers say of VMs and cannot be true, though its form is right. Each is said once, and costs one VM."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_stack.adapters.aws import required, required_text
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.vms import Vm
from agent_stack.ports import Telemetry

EC2_BEGAN = datetime(2006, 8, 1, tzinfo=UTC)
CLOCKS_DIFFER = timedelta(days=1)
"""At most: AWS refuses requests of a clock that is minutes wrong."""


def tags_of(shown: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """The tags of an instance. One that is given twice, with different values, says nothing."""
    tags: dict[str, str] = {}
    doubtful: set[str] = set()
    for tag in shown:
        key, value = required_text(tag["Key"]), required(tag.get("Value", ""), str)
        if tags.setdefault(key, value) != value:
            doubtful.add(key)
    return {key: value for key, value in tags.items() if key not in doubtful}


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """Judges such facts, and logs them."""

    telemetry: Telemetry
    _seen_at: dict[str, datetime] = field(default_factory=dict, init=False, repr=False)
    """When this process saw a VM first whose launch time cannot be true."""
    _said: set[str] = field(default_factory=set, init=False, repr=False)

    def launch_time(self, instance_id: str, told: datetime, *, now: datetime) -> datetime:
        """The launch time; of one that cannot be true the time at which this process saw the VM first.

        A VM of 1970 would be ended in the middle of its job, and one of the future would stay for ever.
        """
        if EC2_BEGAN <= told <= now + CLOCKS_DIFFER:
            return told
        self._say(instance_id, f"EC2 says that it was launched at {told.isoformat()}; its age counts from now")
        return self._seen_at.setdefault(instance_id, now)

    def foreign(self, instance_id: str) -> None:
        """EC2 shows a VM without the tag that was asked for. It is another's, and nothing is done with it."""
        self._say(instance_id, "EC2 shows it without this deployment's tag; it is left out")

    def as_asked(self, vms: tuple[Vm, ...], request: Mapping[str, Any], intent_id: IntentId) -> tuple[Vm, ...]:
        """The VMs of a launch, no more than were asked for: nothing says that the others are of this launch.

        They carry its tag if they are, and so orphan cleanup ends them.
        """
        count: int = request["TargetCapacitySpecification"]["TotalTargetCapacity"]
        for vm in vms[count:]:
            self._say(vm.instance_id, f"EC2 names it for launch {intent_id}, which asked for {count} VMs and has them")
        return vms[:count]

    def _say(self, instance_id: str, error: str) -> None:
        if instance_id not in self._said:
            self._said.add(instance_id)
            self.telemetry.warning("vm_facts_odd", instance_id=instance_id, error=error)
