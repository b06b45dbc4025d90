"""EC2 instances as local processes, with a metadata service and a stand-in for the agent."""

from tests.simulator.vm.imds import FakeImds, MachineIdentity
from tests.simulator.vm.machines import LocalMachines
from tests.simulator.vm.process import AGENT_STUB, LocalVm, leftover_processes

__all__ = ["AGENT_STUB", "FakeImds", "LocalMachines", "LocalVm", "MachineIdentity", "leftover_processes"]
