"""Bind: gives each ready run one idle VM, and writes the job's credential into the mailbox of that VM.

Run and mailbox change in one transaction, on the condition that the run has no VM and the VM has no assignment. Only
this condition prevents two runs on one VM, and one run on two VMs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.domain.classes import base_name, is_default_alias
from agent_stack.domain.errors import AgentStackError, BugError
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.standby_pairs import paired
from agent_stack.domain.vms import Assignment, Vm
from agent_stack.ports import Ledger, StacksApi, Telemetry, WakeUps

AGENT_TOKEN = "agent-token"  # noqa: S105  (the kind of a credential, not one)
PLACEHOLDER = "baton"
"""Replaces the credential in the mailbox when the VM reads the agent token from SSM. The VM owns the job once it has
taken this value, exactly as with a real credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """What the assignments of this deployment have in common."""

    endpoint: str
    deployment: str
    credential_kind: str
    deployment_tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Pairs each run with a VM of its class, standby VMs first, and writes each pair."""

    stacks: StacksApi
    ledger: Ledger
    tokens: TokenSupply
    policy: Policy
    identity: AgentIdentity
    telemetry: Telemetry
    pool: StandbyPool
    wake_ups: WakeUps
    permission: LaunchPermission = field(default_factory=LaunchPermission)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `bound`."""
        pairs = self._permitted(self._pairs(cycle))
        if not pairs:
            return cycle
        credentials = self._credentials([run for run, _ in pairs])
        self.tokens.asked(issued=len(credentials), now=cycle.now)
        pairs = self._permitted(pairs)  # Buildkite may have taken seconds, and the operator has paused meanwhile
        assignments = [
            (run.bound(vm, now=cycle.now), self._assignment(run, vm, credentials[run.job_id], cycle))
            for run, vm in pairs
            if run.job_id in credentials
        ]
        written = self._write(assignments)
        bound = written or ()
        for run in bound:
            self.telemetry.info(
                "job_bound",
                job_id=run.job_id,
                instance_id=run.binding.instance_id if run.binding else None,
                attempt=run.attempt,
                standby=run.binding.standby if run.binding else None,
            )
        if written is not None:
            self._settle_standby([(run, vm) for run, vm in pairs if run.job_id in credentials], written, cycle)
        if len(bound) < len(pairs):
            self.telemetry.info("jobs_not_bound", count=len(pairs) - len(bound))
        return replace(cycle, bound=bound)

    def _write(self, assignments: Sequence[tuple[Run, Assignment]]) -> tuple[Run, ...] | None:
        """The runs that were bound; None after a failure: the next cycle reads from the ledger which ones were."""
        try:
            return tuple(self.ledger.bind(assignments))
        except AgentStackError as error:
            self.telemetry.error("runs_not_written", count=len(assignments), error=str(error))
            return None

    def _permitted(self, pairs: Sequence[tuple[Run, Vm]]) -> list[tuple[Run, Vm]]:
        """Those pairs whose queue is not paused now."""
        stopped = self.permission.stopped({run.queue_key for run, _ in pairs}) if pairs else {}
        return [(run, vm) for run, vm in pairs if run.queue_key not in stopped]

    def _pairs(self, cycle: DispatcherCycle) -> list[tuple[Run, Vm]]:
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in cycle.ready:
            by_class[run.class_name].append(run)
        vms = {run.job_id: vm for name, runs in by_class.items() for run, vm in paired(runs, cycle.supply(name)).pairs}
        return [(run, vms[run.job_id]) for run in cycle.ready if run.job_id in vms]

    def _settle_standby(self, pairs: Sequence[tuple[Run, Vm]], bound: Sequence[Run], cycle: DispatcherCycle) -> None:
        """A standby VM that was not bound has a job already, or is closed; it is left alone until the next look.

        EC2 tells nothing of a VM that is up, so the dispatcher wakes the tracker: it notices a dead VM in time.
        """
        standby = {vm.instance_id for _, vm in pairs if vm.hold is not None}
        given = {run.binding.instance_id for run in bound if run.binding is not None} & standby
        if given:
            self.pool.give(given)
            self.telemetry.count(Metric.STANDBY_HITS, len(given))
            if all(run.binding is None for run in cycle.active):  # with such a run a tracker is at work
                self.pool.write_beside("tracker_not_woken", self.wake_ups.wake_tracker)
        if standby - given:
            self.pool.spoil(standby - given)

    def _credentials(self, runs: list[Run]) -> Mapping[JobId, str]:
        if self.identity.credential_kind == AGENT_TOKEN:
            return {run.job_id: PLACEHOLDER for run in runs}
        credentials: dict[JobId, str] = {}
        for queue, job_ids in by_queue((run.queue_key, run.job_id) for run in runs).items():
            answer = self.stacks.issue_tokens(queue, job_ids, self.policy.reservation)
            credentials |= answer.tokens
            for error in answer.errors:
                self.telemetry.error("tokens_not_issued", queue=queue, error=str(error))
            self.telemetry.count(Metric.TOKENS_NOT_ISSUED, len(job_ids) - len(answer.tokens))
            for job_id in sorted(answer.not_issued):
                self.telemetry.info("token_not_issued", job_id=job_id)
        return credentials

    def _assignment(self, run: Run, vm: Vm, credential: str, cycle: DispatcherCycle) -> Assignment:
        if cycle.book is None:
            raise BugError("bind needs the classes; resume reads them")
        vm_class = cycle.book.classes.get(base_name(run.class_name))  # None when the operator has removed the class
        return Assignment(
            instance_arn=vm.arn,
            job_id=run.job_id,
            queue_key=QueueKey("") if is_default_alias(run.queue_key) else run.queue_key,
            endpoint=self.identity.endpoint,
            agent_name=f"{self.identity.deployment}-{vm.instance_id}",
            agent_tags=(
                f"class={base_name(run.class_name)}",
                *self.identity.deployment_tags,
                *(vm_class.agent_tags if vm_class is not None else ()),
            ),
            credential_kind=self.identity.credential_kind,
            credential=credential,
            expires_at=cycle.now + self.policy.max_lifetime,
        )
