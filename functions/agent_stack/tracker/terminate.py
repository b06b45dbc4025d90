"""Terminate: ends the VMs that their runs no longer need, all in one request. A held VM stays up; its run goes on."""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import ends_the_vm
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.situations import VmVisibility
from agent_stack.domain.states import RunState, VmState
from agent_stack.ports import Fleet, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

ENDING = frozenset({VmState.SHUTTING_DOWN, VmState.TERMINATED})
"""EC2 is ending these VMs already. A stopped VM is not one of them: it keeps its disk, and can be started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """Asks EC2. The next cycle asks again for VMs that EC2 refused to terminate; their runs wait until then."""

    fleet: Fleet
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `going` and `terminations`; drops the verdicts whose VM is not ending yet."""
        to_terminate: dict[InstanceId, Verdict] = {}
        going: set[InstanceId] = set()
        verdicts = dict(cycle.verdicts)
        postponed = 0
        for verdict in cycle.verdicts.values():
            if not ends_the_vm(verdict.decision.action) or verdict.run.binding is None:
                continue
            vm = verdict.situation.vm
            # EC2 shows no VM, so there is none to terminate; orphan cleanup ends it if it appears later.
            missing = verdict.situation.visibility is VmVisibility.MISSING
            if cycle.is_held(verdict.run.binding.instance_id):
                going.add(verdict.run.binding.instance_id)  # for its run it has ended
            elif missing or (vm is not None and vm.state in ENDING) or verdict.run.state is RunState.RESERVED:
                going.add(verdict.run.binding.instance_id)
            elif len(to_terminate) < self.policy.max_terminations_per_cycle:
                to_terminate[verdict.run.binding.instance_id] = verdict
            else:
                postponed += 1
                del verdicts[verdict.run.job_id]
        if postponed:
            self.telemetry.info("terminations_held_back", count=postponed, reason="MaxTerminationsPerTick")
        refused = self.fleet.terminate(sorted(to_terminate)) if to_terminate else {}
        for instance_id, verdict in to_terminate.items():
            if instance_id in refused:
                self.telemetry.warning(
                    "vm_not_terminated",
                    job_id=verdict.run.job_id,
                    instance_id=instance_id,
                    error=str(refused[instance_id]),
                )
                del verdicts[verdict.run.job_id]
                continue
            going.add(instance_id)
            self.telemetry.info(
                "vm_terminated",
                job_id=verdict.run.job_id,
                instance_id=instance_id,
                reason=verdict.decision.reason,
            )
        return replace(cycle, verdicts=verdicts, going=frozenset(going), terminations=len(to_terminate))
