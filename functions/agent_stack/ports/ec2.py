"""EC2 port: launches, lists and terminates VMs, as the steps use it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from agent_stack.domain.classes import InstanceRequirements, VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import (
    InstanceId,
)
from agent_stack.domain.launching import LaunchOrder, LaunchOutcome
from agent_stack.domain.states import CapacityType
from agent_stack.domain.vms import Vm


def always() -> bool:
    """A launch that nothing stops."""
    return True


class Fleet(Protocol):
    """EC2: the VMs that carry this deployment's tag."""

    def pools(self, vm_class: VmClass, capacity_type: CapacityType) -> Sequence[str]:
        """Returns the pools of a class, as `capacity_type:type:zone`, in the operator's order of types.

        Raises:
            TransientError: the zones of the subnets are not known yet.
        """

    def shape(self, vm_class: VmClass) -> str:
        """Returns what stands for all that a VM of this class is launched from now: launch template, image, types."""

    def render(self, order: LaunchOrder) -> str:
        """Returns the exact request for this order, as text. The intent stores it and `launch` sends it."""

    def types_of(self, request: str) -> frozenset[str]:
        """Returns the instance types of which this request may bring VMs, whatever its class names by now."""

    def launch(self, request: str, *, permitted: Callable[[], bool] = always) -> LaunchOutcome:
        """Sends this request. Sending the same text again launches no further VM.

        Args:
            permitted: asked before each try; when it says no, nothing more is sent.

        Raises:
            LaunchPausedError: `permitted` said no, and EC2 launched nothing.
            UnknownOutcomeError: VMs may exist; send the request again, or find the VMs by the intent's tag.
            RetryError: throttled; EC2 launched nothing. The outcome holds every other refusal as an error.
        """

    def warm_up(self) -> None:
        """Makes ready what the first launch of a process needs, and changes nothing. Raises nothing."""

    def look_at_subnets(self) -> None:
        """Reads the subnets again where that was a while ago. `describe` does the same. Raises nothing."""

    def describe(self) -> Sequence[Vm]:
        """Returns all VMs with this deployment's tag that have not ended. New VMs may be missing.

        Raises:
            TransientError: the answer is incomplete and proves nothing.
        """

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        """Returns the given VMs that EC2 shows now, for about an hour also terminated ones.

        Raises:
            TransientError: the answer is incomplete and proves nothing.
        """

    def impaired(self) -> frozenset[InstanceId]:
        """Returns the running instances of the whole account that fail EC2's status checks.

        Raises:
            TransientError: the answer is incomplete.
        """

    def console_output(self, instance_id: InstanceId) -> str:
        """Returns the VM's console output, as far as EC2 has it; empty when EC2 has none. Untrusted."""

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        """Terminates VMs. Returns the VMs that EC2 refused to terminate, with the error."""


class InstanceCatalog(Protocol):
    """What EC2 says of instance types and images."""

    def types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        """Instance types with those attributes.

        Raises:
            ConfigurationError: there are none.
        """

    def image_id(self, image: str) -> str:
        """The AMI that an image of a class names now.

        Raises:
            ConfigurationError: its parameter cannot be read.
        """

    def root_device(self, image: str) -> str:
        """The name of that image's root device.

        Raises:
            ConfigurationError: there is no such image.
        """


class InstanceTypes(Protocol):
    """What EC2 says of instance types."""

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """The vCPUs of one VM of each type; a type that EC2 does not know is left out.

        Raises:
            TransientError: EC2 did not answer; ask again later.
            WaitError: EC2 refuses to answer.
        """
