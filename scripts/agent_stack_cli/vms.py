"""The VMs of a stack, as EC2 shows them now."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack_cli.stacks import Stack

NOTHING: Mapping[str, StandbyVm] = {}
NOT_TERMINATED = ["pending", "running", "shutting-down", "stopping", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One VM.

    Attributes:
        vm_class: from its tag; empty when it has none.
        private_ip: empty until EC2 has given it one.
    """

    instance_id: str
    state: str
    vm_class: str
    instance_type: str
    zone: str
    capacity_type: str
    launched_at: datetime
    private_ip: str
    reason: str

    @property
    def lives(self) -> bool:
        """Whether it has not terminated."""
        return self.state in NOT_TERMINATED


def living(stack: Stack) -> list[Machine]:
    """All VMs with the stack's tag that have not terminated, oldest first."""
    return _described(stack, [{"Name": "instance-state-name", "Values": NOT_TERMINATED}])


def shown(stack: Stack) -> list[Machine]:
    """All VMs with the stack's tag, those among them that terminated within the last hour."""
    return _described(stack, [])


def by_id(stack: Stack, instance_id: str) -> Machine | None:
    """That VM; None when EC2 does not show it any more, which is about an hour after its end."""
    return next(iter(_described(stack, [{"Name": "instance-id", "Values": [instance_id]}])), None)


def phase(
    machine: Machine, runs: Mapping[str, Run], held: Container[str] = (), standby: Mapping[str, StandbyVm] = NOTHING
) -> str:
    """Where a VM is on its way: the state of its run, `unbound` without one, `ending` when EC2 ends it.

    Args:
        runs: active runs by the id of their VM.
        held: the VMs that stay up because their boot failed; they are `held`.
        standby: the ledger's list of VMs that wait for a job, by id; they are `standby`, and closed ones `ending`.
    """
    if machine.state not in {"pending", "running"}:
        return "ending"
    run = runs.get(machine.instance_id)
    if run is not None:
        return str(run.state)
    if machine.instance_id in held:
        return "held"
    listed = standby.get(machine.instance_id)
    if listed is None:
        return "unbound"
    return "standby" if listed.closing is None else "ending"


def _described(stack: Stack, filters: Sequence[Mapping[str, Any]]) -> list[Machine]:
    pages = stack.session.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [stack.name]}, *filters]  # type: ignore[list-item]  # the stub's own dictionary
    )
    shown = [_machine(instance) for page in pages for r in page["Reservations"] for instance in r["Instances"]]
    return sorted(shown, key=lambda machine: (machine.launched_at, machine.instance_id))


def _machine(instance: Any) -> Machine:  # noqa: ANN401  (EC2's answer)
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return Machine(
        instance_id=instance["InstanceId"],
        state=instance["State"]["Name"],
        vm_class=tags.get(CLASS_TAG, ""),
        instance_type=instance.get("InstanceType", ""),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        capacity_type="spot" if instance.get("InstanceLifecycle") == "spot" else "on-demand",
        launched_at=instance["LaunchTime"].astimezone(UTC),
        private_ip=instance.get("PrivateIpAddress", ""),
        reason=instance.get("StateReason", {}).get("Code", ""),
    )
