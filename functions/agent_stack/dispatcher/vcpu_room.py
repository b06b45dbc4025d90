"""vCPU room: how many vCPUs MaxVcpus leaves, counting standby VMs as well as runs. Nobody counts without `MaxVcpus`."""

from collections.abc import Collection
from dataclasses import dataclass

from agent_stack.dispatcher.class_room import Left
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId
from agent_stack.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuRoom:
    """Counts runs with and without a VM, standby VMs, and those that are asked for."""

    vcpus: VcpuCache
    pool: StandbyPool
    in_flight: InFlightLaunches
    policy: Policy

    def __call__(
        self,
        cycle: DispatcherCycle,
        *,
        taken: Collection[InstanceId] = frozenset(),
        besides: Collection[JobId] = frozenset(),
        among: ClassName | None = None,
    ) -> Left | None:
        """What is left; None without a maximum. While EC2 has not said the size of any VM, there is no room.

        Args:
            taken: standby VMs that runs of this cycle get.
            besides: runs that do not count, because what is left is for them.
            among: a class of which VMs are to be launched: their size is asked for, too.
        """
        most = self.policy.max_vcpus
        if most is None or cycle.book is None:
            return None
        live = [run for run in (*cycle.active, *cycle.recorded) if run.takes_room]
        standby = [vm for vm in self.pool.vms(cycle) or () if vm.instance_id not in taken]
        asked = [intent for intent in self.in_flight.intents if intent.stands_by]
        names = {
            *(run.class_name for run in live),
            *(intent.class_name for intent in asked),
            *cycle.standby_unconfirmed,
            *(vm.class_name for vm in standby if not vm.vcpus),
            *(() if among is None else (among,)),
        }
        names |= cycle.standby_answered.keys() | {intent.class_name for intent in cycle.standby_launches}
        types = {name: cycle.types_of(name) for name in names}
        running = [run.binding.instance_type for run in live if run.binding is not None]
        counted = self.vcpus.counted(types, [*running, *(vm.instance_type for vm in standby)], cycle.now)
        if counted.unanswered is not None:
            return Left(left=0, standby=0, known=False)
        of_runs = sum(counted.of_run(run) for run in live if run.job_id not in besides)
        of_standby = sum(counted.of_standby(vm) for vm in standby)
        of_standby += sum(counted.of(intent.class_name) * intent.count for intent in asked)
        for coming in (cycle.standby_unconfirmed, cycle.standby_answered):
            of_standby += sum(counted.of(name) * count for name, count in coming.items())
        up = sum(counted.of_run(run) for run in live if run.binding is not None and run.job_id not in besides)
        return Left(left=most - of_runs - of_standby, standby=of_standby, up=up + of_standby)

    def size(self, name: ClassName, cycle: DispatcherCycle) -> int:
        """The vCPUs of the largest VM that the class may get, once EC2 has said them."""
        vm_class = None if cycle.book is None else cycle.book.find(name)
        types = () if vm_class is None else vm_class.instance_types
        return max((self.vcpus.known.get(one, 1) for one in types), default=1)

    def ever_fits(self, name: ClassName, cycle: DispatcherCycle) -> bool:
        """Whether a VM of that class fits into MaxVcpus once all others have ended."""
        vm_class = None if cycle.book is None else cycle.book.find(name)
        if self.policy.max_vcpus is None or vm_class is None:
            return True
        return self.vcpus.counted({name: vm_class.instance_types}, (), cycle.now).of(name) <= self.policy.max_vcpus
