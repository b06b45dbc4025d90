"""Launch bounds: what MaxVcpus and a class's own maximum leave for the launches of one cycle, as it asks for them.

Jobs were admitted within both. Since then a job may have lost a small VM of a class that has large ones, too, and the
operator may have lowered a maximum or named larger types. What is launched is within them all the same: the jobs beyond
wait for a VM to end, and their launch deadline stands still meanwhile.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from agent_stack.dispatcher.class_room import ClassRoom, Left
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId
from agent_stack.domain.moments import has_passed
from agent_stack.domain.quotas import HELD_GAP, prolonged
from agent_stack.domain.runs import Run
from agent_stack.domain.waiting import WaitReason

PROLONGED_EVERY = HELD_GAP / 2
"""A write for each second of waiting would cost more than this is exact."""


@dataclass(slots=True, kw_only=True)
class LaunchBounds:
    """One cycle's count. Nothing is counted before it is needed.

    Attributes:
        taken: standby VMs that runs of this cycle get.
        wanting: the runs that VMs are wanted for.
    """

    vcpu_room: VcpuRoom
    class_room: ClassRoom
    cycle: DispatcherCycle
    taken: frozenset[InstanceId]
    wanting: frozenset[JobId]
    _counted: bool = field(default=False, init=False)
    _vcpus: Left | None = field(default=None, init=False)
    _asked: Counter[ClassName] = field(default_factory=Counter, init=False)
    _vcpus_asked: int = field(default=0, init=False)
    _hopeful: bool = field(default=False, init=False)
    held_back: dict[ClassName, WaitReason] = field(default_factory=dict, init=False)
    """Why VMs of a class were not asked for."""

    @classmethod
    def of(
        cls,
        wanted: Iterable[Iterable[Run]],
        vcpu_room: VcpuRoom,
        class_room: ClassRoom,
        cycle: DispatcherCycle,
        taken: frozenset[InstanceId],
    ) -> "LaunchBounds":
        """Those of a cycle that wants VMs for these runs."""
        wanting = frozenset(run.job_id for runs in wanted for run in runs)
        return cls(vcpu_room=vcpu_room, class_room=class_room, cycle=cycle, taken=taken, wanting=wanting)

    def within(self, name: ClassName, count: int) -> int:
        """How many of so many VMs of that class may start."""
        if not self._counted:
            self._vcpus = self.vcpu_room(self.cycle, taken=self.taken, besides=self.wanting)
            self._counted = True
        if self._vcpus is not None and not self._vcpus.known:
            return 0
        now, later = {}, {}  # later: once all that run have ended; runs that only wait make no room
        if self._vcpus is not None:
            size, left = self.vcpu_room.size(name, self.cycle), self._vcpus.left - self._vcpus_asked
            now[WaitReason.MAX_VCPUS], later[WaitReason.MAX_VCPUS] = left // size, (left + self._vcpus.up) // size
        own = self.class_room(name, self.cycle, taken=self.taken, besides=self.wanting)
        if own is not None:
            left = own.left - self._asked[base_name(name)]
            now[WaitReason.CLASS_MAXIMUM], later[WaitReason.CLASS_MAXIMUM] = left, left + own.up
        if not now:
            return count
        tightest = min(now, key=lambda reason: now[reason])
        allowed = max(0, min(count, now[tightest]))
        if allowed < count:
            self.held_back[name] = tightest
            self._hopeful = self._hopeful or min(later.values()) > allowed
        return allowed

    def ask(self, name: ClassName, count: int) -> None:
        """That many VMs of that class were asked for."""
        self._asked[base_name(name)] += count
        self._vcpus_asked += count * self.vcpu_room.size(name, self.cycle)

    def remembered(self, memory: LaunchMemory) -> LaunchMemory:
        """With this moment, if jobs wait in it for VMs to end. One that no end makes room for waits in vain."""
        held, now = memory.preempting, self.cycle.now
        if not self._hopeful or (held and not has_passed(PROLONGED_EVERY, held[-1][1], now)):
            return memory
        return replace(memory, preempting=prolonged(held, now))
