"""EC2 instances as local processes, and the metadata service that each of them sees."""

from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.machines import LocalMachines
from tests.simulator.vm.process import AGENT_STUB, MARKER_VARIABLE, LocalVm, leftover_processes

__all__ = ["AGENT_STUB", "MARKER_VARIABLE", "FakeImds", "LocalMachines", "LocalVm", "leftover_processes"]
