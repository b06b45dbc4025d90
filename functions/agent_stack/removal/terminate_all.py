"""Terminate all: ends every VM of the deployment when CloudFormation deletes the stack, and prevents new launches.

CloudFormation has deleted the schedules before, because they depend on the resource whose deletion calls this code. An
invocation that a schedule started may still run. We take over its lease; the new fencing number makes every later
`write_intent` of the old holder fail. It may have sent a request to EC2 before. So this code lists VMs until the
slowest answer has arrived.

A VM that is not terminated in time ends itself: without a job at its timeout, with a job at its lifetime at the latest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.states import VmState
from agent_stack.ports import Clock, Deadline, Fleet, Ids, Lease, Telemetry

LEASE_DURATION = timedelta(hours=1)
"""Longer than CloudFormation needs for the rest of the removal, so that no invocation takes the lease again."""

HANDOVER_TIMEOUT = timedelta(seconds=20)
"""The lease holder's cycle, or the lease of a dead holder."""

LATE_VM_WINDOW = timedelta(seconds=15)
"""After this time EC2 has answered every CreateFleet request that was under way, and shows its VMs."""

POLL_INTERVAL = timedelta(seconds=2)
LEASE_RETRY = timedelta(milliseconds=200)
"""Shorter than the poll of a waiting invocation, which would otherwise get the lease first each time."""

RESERVE = timedelta(seconds=20)
"""Time kept free to deregister the stack keys and to answer CloudFormation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateAll:
    """Takes both leases, terminates, and waits as long as the invocation allows."""

    fleet: Fleet
    leases: Sequence[Lease]
    clock: Clock
    deadline: Deadline
    ids: Ids
    telemetry: Telemetry

    def __call__(self) -> tuple[str, ...]:
        """Terminates the VMs; returns one text for each problem. An AWS error does not stop the removal."""
        problems = (
            () if sum(map(self._take, self.leases)) == len(self.leases) else ("another invocation still runs cycles",)
        )
        try:
            remaining = self._end_all()
        except AgentStackError as error:
            self.telemetry.error("vms_not_cleared", error=str(error))
            return (*problems, f"VMs may be left: {error}")
        if remaining:
            self.telemetry.warning("vms_left", count=len(remaining), instance_ids=",".join(remaining[:20]))
            return (*problems, f"{len(remaining)} VMs were not gone in time: {', '.join(remaining[:20])}")
        self.telemetry.info("vms_cleared")
        return problems

    def _take(self, lease: Lease) -> bool:
        """Whether this invocation got the lease, so that no other invocation holds it."""
        holder = self.ids.holder()
        until = self.clock.monotonic() + HANDOVER_TIMEOUT
        signal_at = self.clock.monotonic()
        while True:
            now = self.clock.monotonic()
            try:
                if lease.acquire(holder, now=self.clock.now(), ttl=LEASE_DURATION) is not None:
                    return True
                if now >= signal_at:  # repeatedly, because an invocation that waited before us may get the lease first
                    lease.signal(holder, handover=True)
                    signal_at = now + POLL_INTERVAL
            except AgentStackError as error:
                self.telemetry.warning("lease_not_taken", error=str(error))
            if now >= until or self.deadline.left() <= RESERVE:
                return False
            self.clock.sleep(LEASE_RETRY)

    def _end_all(self) -> list[InstanceId]:
        """The VMs that still exist when time runs out. Raises the last error if EC2 does not answer until then."""
        quiet_since = self.clock.monotonic()
        while True:
            no_more_time = self.deadline.left() <= RESERVE
            try:
                living = sorted(self.fleet.describe(), key=lambda vm: vm.instance_id)
            except AgentStackError as error:
                if no_more_time:
                    raise
                self.telemetry.info("vms_unknown", error=str(error))
                self.clock.sleep(POLL_INTERVAL)
                continue
            up = [vm.instance_id for vm in living if vm.state is not VmState.SHUTTING_DOWN]
            refused = self.fleet.terminate(up) if up else {}
            if up:
                self.telemetry.info("vms_terminated", count=len(up) - len(refused))
            for instance_id, refusal in refused.items():
                self.telemetry.warning("vm_not_terminated", instance_id=instance_id, error=str(refusal))
            if not living and self.clock.monotonic() - quiet_since >= LATE_VM_WINDOW:
                return []
            if no_more_time:
                return [vm.instance_id for vm in living]
            self.clock.sleep(POLL_INTERVAL)
