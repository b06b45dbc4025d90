"""EC2, as the steps see it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import (
    InstanceId,
)
from agent_stack.domain.launching import LaunchOrder, LaunchOutcome
from agent_stack.domain.states import CapacityType
from agent_stack.domain.vms import Vm


class Fleet(Protocol):
    """EC2: the VMs that carry this deployment's tag."""

    def pools(self, vm_class: VmClass, capacity_type: CapacityType) -> Sequence[str]:
        """Where that class's VMs can come from, as `capacity_type:type:zone`, in the operator's order of types.

        Raises:
            RetryError: the subnets' zones are not known yet.
        """

    def render(self, order: LaunchOrder) -> str:
        """The exact request for that order, as text; what the intent keeps and `launch` sends."""

    def launch(self, request: str) -> LaunchOutcome:
        """Send that request. Sending the same text again launches nothing more.

        Raises:
            UnknownOutcomeError: VMs may exist; replay, or look them up by the intent.
            RetryError: throttled; nothing was launched. Every other refusal is an error of the outcome.
        """

    def describe(self) -> Sequence[Vm]:
        """All VMs with our tag that have not ended. Fresh ones may be missing.

        Raises:
            RetryError: the answer is not whole; it proves nothing.
        """

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        """Those of the given VMs that EC2 shows, read again; terminated ones too, for an hour or so.

        Raises:
            RetryError: the answer is not whole; it proves nothing.
        """

    def impaired(self) -> frozenset[InstanceId]:
        """Running instances that fail EC2's status checks, of the whole account.

        Raises:
            RetryError: the answer is not whole.
        """

    def console_output(self, instance_id: InstanceId) -> str:
        """What the VM wrote to its console, as far as EC2 has it; empty when it has nothing. Untrusted."""

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        """Terminate them. The answer holds the ones whose termination was not accepted, and why."""


class InstanceTypes(Protocol):
    """What EC2 says of instance types."""

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """The vCPUs of one VM of each type; a type that EC2 does not know is left out.

        Raises:
            RetryError: EC2 did not answer; ask again later.
            WaitError: EC2 refuses to tell.
        """
