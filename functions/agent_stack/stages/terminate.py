"""Terminate: end the VMs whose runs need them no more, all in one request."""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import Action
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.situations import Sight
from agent_stack.domain.states import GOING, RunState
from agent_stack.ports import Fleet, Telemetry
from agent_stack.stages.ticks import TrackerTick, Verdict

ENDS_THE_VM = frozenset({Action.TERMINATE, Action.HAND_BACK, Action.FINISH, Action.END})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """Asks EC2; what EC2 did not accept is asked again next tick, and its run waits until then."""

    fleet: Fleet
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Fills `going` with the VMs that are on their way out, and drops the verdicts of the others."""
        wanted: dict[InstanceId, Verdict] = {}
        going: set[InstanceId] = set()
        verdicts = dict(tick.verdicts)
        for verdict in tick.verdicts.values():
            if verdict.decision.action not in ENDS_THE_VM or verdict.run.binding is None:
                continue
            vm = verdict.situation.vm
            missing = verdict.situation.sight is Sight.MISSING  # there is nothing to end; the sweep finds what shows up
            if missing or (vm is not None and vm.state in GOING) or verdict.run.state is RunState.RESERVED:
                going.add(verdict.run.binding.instance_id)
            elif len(wanted) < self.policy.max_terminations_per_tick:
                wanted[verdict.run.binding.instance_id] = verdict
            else:
                del verdicts[verdict.run.job_id]
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
        return replace(tick, verdicts=verdicts, going=frozenset(going))
