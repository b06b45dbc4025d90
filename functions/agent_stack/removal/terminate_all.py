"""Clear: end every VM of ours, at the stack's removal, and see to it that nobody launches another.

The schedules are gone by then, for they depend on the resource whose removal calls us; an invocation that they began
may still be at work. It lets go of its lease to us, and its fencing number is spent, so what it writes as an intent is
refused. Of what it had asked EC2 for before, the VMs are found by looking until the slowest answer is over.

What is not ended in time goes by itself: a VM without a job at its time-out, any at its lifetime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.states import VmState
from agent_stack.ports import Clock, Deadline, Fleet, Ids, Lease, Telemetry

HELD_FOR = timedelta(hours=1)
"""Longer than CloudFormation takes for the rest, and no shift after us."""

HANDED_OVER_WITHIN = timedelta(seconds=20)
"""A worker's cycle, or the lease of one that died."""

LATE_VMS = timedelta(seconds=15)
"""A CreateFleet that was under way has been answered by then, and EC2 shows what it brought."""

LOOK_AGAIN = timedelta(seconds=2)
LEASE_RETRY = timedelta(milliseconds=200)
"""More often than a shift that waits does, or it would be first each time."""

RESERVE = timedelta(seconds=20)
"""For what is left to do: the keys are withdrawn, and CloudFormation is answered."""


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
        """End them; the answer says what is left. Never raises for what AWS refuses: a removal goes on."""
        problems = () if sum(map(self._take, self.leases)) == len(self.leases) else ("a shift is still at work",)
        try:
            left = self._end_all()
        except AgentStackError as error:
            self.telemetry.error("vms_not_cleared", error=str(error))
            return (*problems, f"VMs may be left: {error}")
        if left:
            self.telemetry.warning("vms_left", count=len(left), instance_ids=",".join(left[:20]))
            return (*problems, f"{len(left)} VMs were not gone in time: {', '.join(left[:20])}")
        self.telemetry.info("vms_cleared")
        return problems

    def _take(self, lease: Lease) -> bool:
        """Whether nobody else works under it any more."""
        holder = self.ids.holder()
        until = self.clock.now() + HANDED_OVER_WITHIN
        knock_at = self.clock.now()
        while True:
            now = self.clock.now()
            try:
                if lease.acquire(holder, now=now, ttl=HELD_FOR) is not None:
                    return True
                if now >= knock_at:  # again and again: the lease may go to another who was waiting before us
                    lease.signal(holder, handover=True)
                    knock_at = now + LOOK_AGAIN
            except AgentStackError as error:
                self.telemetry.warning("lease_not_taken", error=str(error))
            if now >= until or self.deadline.left() <= RESERVE:
                return False
            self.clock.sleep(LEASE_RETRY)

    def _end_all(self) -> list[InstanceId]:
        """The VMs that are not gone when there is no more time; raises if EC2 did not even say by then."""
        quiet_since = self.clock.now()
        while True:
            no_more_time = self.deadline.left() <= RESERVE
            try:
                living = sorted(self.fleet.describe(), key=lambda vm: vm.instance_id)
            except AgentStackError as error:
                if no_more_time:
                    raise
                self.telemetry.warning("vms_unknown", error=str(error))
                self.clock.sleep(LOOK_AGAIN)
                continue
            up = [vm.instance_id for vm in living if vm.state is not VmState.SHUTTING_DOWN]
            refused = self.fleet.terminate(up) if up else {}
            if up:
                self.telemetry.info("vms_terminated", count=len(up) - len(refused))
            for instance_id, refusal in refused.items():
                self.telemetry.warning("vm_not_terminated", instance_id=instance_id, error=str(refusal))
            if not living and self.clock.now() - quiet_since >= LATE_VMS:
                return []
            if no_more_time:
                return [vm.instance_id for vm in living]
            self.clock.sleep(LOOK_AGAIN)
