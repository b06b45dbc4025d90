"""Terminate: end the VMs whose runs need them no more, all in one request."""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import ends_the_vm
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.situations import VmVisibility
from agent_stack.domain.states import RunState, VmState
from agent_stack.ports import Fleet, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

ENDING = frozenset({VmState.SHUTTING_DOWN, VmState.TERMINATED})
"""Nothing is left to ask for. A VM that somebody stopped is not among them: it keeps its disk, and can be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """Asks EC2; what EC2 did not accept is asked again next cycle, and its run waits until then."""

    fleet: Fleet
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `going` with the VMs that are on their way out and `terminations`; drops the verdicts of the others."""
        wanted: dict[InstanceId, Verdict] = {}
        going: set[InstanceId] = set()
        verdicts = dict(cycle.verdicts)
        held_back = 0
        for verdict in cycle.verdicts.values():
            if not ends_the_vm(verdict.decision.action) or verdict.run.binding is None:
                continue
            vm = verdict.situation.vm
            missing = (
                verdict.situation.visibility is VmVisibility.MISSING
            )  # there is nothing to end; the sweep finds what shows up
            if missing or (vm is not None and vm.state in ENDING) or verdict.run.state is RunState.RESERVED:
                going.add(verdict.run.binding.instance_id)
            elif len(wanted) < self.policy.max_terminations_per_cycle:
                wanted[verdict.run.binding.instance_id] = verdict
            else:
                held_back += 1
                del verdicts[verdict.run.job_id]
        if held_back:
            self.telemetry.warning("terminations_held_back", count=held_back, reason="MaxTerminationsPerTick")
        refused = self.fleet.terminate(sorted(wanted)) if wanted else {}
        for instance_id, verdict in wanted.items():
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
        return replace(cycle, verdicts=verdicts, going=frozenset(going), terminations=len(wanted))
