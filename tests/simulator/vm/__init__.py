"""EC2 instances as local processes, with a metadata service, AWS behind their role, and a stand-in for the agent."""

from tests.simulator.vm.agent_log import command_output
from tests.simulator.vm.imds import FakeImds, MachineIdentity
from tests.simulator.vm.machines import LocalMachines
from tests.simulator.vm.process import AGENT_STUB, LocalVm, leftover_processes
from tests.simulator.vm.role import VmFront

__all__ = [
    "AGENT_STUB",
    "FakeImds",
    "LocalMachines",
    "LocalVm",
    "MachineIdentity",
    "VmFront",
    "command_output",
    "leftover_processes",
]
