"""Class room: how many VMs a class's own maximum leaves, counting standby VMs as well as runs.

All names that jobs can choose of a class share its maximum.
"""

from collections.abc import Collection
from dataclasses import dataclass

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a maximum leaves.

    Attributes:
        left: negative when standby VMs and jobs together are too many.
        standby: what standby VMs take of it.
        up: what VMs take of it that run, and so end some time.
        known: whether all that counts is known; otherwise nothing may start.
    """

    left: int
    standby: int
    up: int = 0
    known: bool = True

    @property
    def held_back(self) -> int:
        """What runs must wait for until standby VMs have ended."""
        return max(0, min(-self.left, self.standby))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRoom:
    """Counts runs with and without a VM, standby VMs, also those that are closed, and those that are asked for."""

    pool: StandbyPool
    in_flight: InFlightLaunches

    def __call__(
        self,
        name: ClassName,
        cycle: DispatcherCycle,
        *,
        taken: Collection[InstanceId] = frozenset(),
        besides: Collection[JobId] = frozenset(),
    ) -> Left | None:
        """What is left for a class; None without a maximum.

        Args:
            taken: standby VMs that runs of this cycle get.
            besides: runs that do not count, because what is left is for them.
        """
        base = base_name(name)
        vm_class = None if cycle.book is None else cycle.book.classes.get(base)
        if vm_class is None or vm_class.max_instances is None:
            return None
        runs = {
            run.job_id: run.binding is not None
            for run in (*cycle.active, *cycle.recorded)
            if base_name(run.class_name) == base and run.takes_room and run.job_id not in besides
        }
        listed = sum(vm.class_name == base and vm.instance_id not in taken for vm in self.pool.vms(cycle) or ())
        coming = cycle.standby_unconfirmed.get(base, 0) + cycle.standby_answered.get(base, 0)
        asked = sum(one.count for one in self.in_flight.intents if one.stands_by and one.class_name == base)
        standby = listed + coming + asked
        left = vm_class.max_instances - len(runs) - standby
        return Left(left=left, standby=standby, up=sum(runs.values()) + standby)
