"""Standby port: the ledger's list of standby VMs. Only the dispatcher changes it."""

from collections.abc import Sequence
from typing import Protocol

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.standby import StandbyVm


class StandbyVms(Protocol):
    """The standby VMs of one deployment. A VM that is not on the list is not bound to a job any more."""

    def listed(self) -> Sequence[StandbyVm]:
        """Returns all VMs on the list, with the state PENDING: the ledger knows nothing of EC2. Consistent read."""

    def add(self, vms: Sequence[StandbyVm]) -> None:
        """Puts VMs on the list. A VM that is on it already stays as it is.

        Raises:
            AgentStackError: some of them may not be on it. The call may be repeated.
        """

    def close(self, vms: Sequence[StandbyVm]) -> Sequence[StandbyVm]:
        """Closes idle VMs, each for its reason, on the condition of a binding: no job is bound to a closed VM.

        Returns:
            the VMs that this call closed; not those that a job was bound to, and not those that were closed already.
        """

    def remove(self, instance_ids: Sequence[InstanceId]) -> None:
        """Takes VMs off the list, because they have ended or have a job. Unknown ones are no error."""
