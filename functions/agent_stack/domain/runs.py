"""A run: our record of one job on its way through a VM. The one thing the ledger keeps.

Runs never change; each step makes the next version with the methods below, and the ledger accepts a version
only on top of its predecessor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.states import Baton, Market, Moment, Outcome, RunState
from agent_stack.domain.vms import Vm

_FROM_BEFORE_THE_VM = frozenset({Moment.SCHEDULED, Moment.RECORDED})
MAX_REASON_BYTES = 200  # keeps a run's item well under one kilobyte, whatever EC2 or a pipeline says


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The one VM a run is bound to."""

    instance_id: InstanceId
    arn: InstanceArn
    instance_type: str
    zone: str
    market: Market
    launched_at: datetime

    @classmethod
    def to(cls, vm: Vm) -> Self:
        """The binding to that VM."""
        return cls(
            instance_id=vm.instance_id,
            arn=vm.arn,
            instance_type=vm.instance_type,
            zone=vm.zone,
            market=vm.market,
            launched_at=vm.launched_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One job's run.

    Attributes:
        version: counts every recorded change; what the ledger compares.
        attempt: bindings so far, over all runs of this job.
        reserved_until: when Buildkite's reservation ends; None before the first.
        reservation_lost: another stack or nobody holds the job now; it must not be started.
        finishing_at: we are about to finish the job, or have, with `give_up` as the reason.
        job_over_at: when we first saw the job over while its VM was still up.
        told: the transitions already told on the build page.
        timeline: when each moment happened first.
    """

    job_id: JobId
    queue_key: QueueKey
    class_name: ClassName
    state: RunState
    state_entered_at: datetime
    version: int = 1
    attempt: int = 0
    priority: int = 0
    reserved_until: datetime | None = None
    reservation_lost: bool = False
    binding: Binding | None = None
    baton: Baton = Baton.IN_BOX
    give_up: str | None = None
    finishing_at: datetime | None = None
    job_over_at: datetime | None = None
    outcome: Outcome | None = None
    told: frozenset[str] = frozenset()
    timeline: Mapping[Moment, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job, *, class_name: ClassName, attempt: int, now: datetime, give_up: str | None) -> Self:
        """A first record of that job, before anything is asked of anyone."""
        return cls(
            job_id=job.job_id,
            queue_key=job.queue_key,
            class_name=class_name,
            state=RunState.RESERVED,
            state_entered_at=now,
            attempt=attempt,
            priority=job.priority,
            give_up=cropped(give_up),
            timeline={Moment.SCHEDULED: job.scheduled_at, Moment.RECORDED: now},
        )

    def reserved(self, *, now: datetime, until: datetime) -> Self:
        """The reservation was granted or extended."""
        return self._next(reserved_until=until, reservation_lost=False, moments={Moment.RESERVED: now})

    def bound(self, vm: Vm, *, now: datetime) -> Self:
        """The run has its VM; the VM's mailbox is filled in the same transaction."""
        return self._next(
            state=RunState.BOOTING,
            state_entered_at=now,
            attempt=self.attempt + 1,
            binding=Binding.to(vm),
            baton=Baton.IN_BOX,
            moments={Moment.LAUNCHED: vm.launched_at, Moment.BOUND: now},
        )

    def running(self, *, now: datetime) -> Self:
        """Buildkite shows an agent and the VM has the credential: from here the job is the agent's."""
        return self._next(
            state=RunState.RUNNING,
            state_entered_at=now,
            baton=Baton.VM,
            moments={Moment.AGENT_STARTED: now, Moment.JOB_RUNNING: now},
        )

    def handed_back(self, *, now: datetime) -> Self:
        """Its VM will never run it; the dispatcher finds it another one. The attempt stays counted."""
        fresh: Mapping[Moment, datetime] = {m: at for m, at in self.timeline.items() if m in _FROM_BEFORE_THE_VM}
        later = self._next(
            state=RunState.RESERVED,
            state_entered_at=now,
            binding=None,
            baton=Baton.IN_BOX,
            job_over_at=None,
            told=frozenset(),
        )
        return replace(later, timeline=fresh)

    def giving_up(self, reason: str) -> Self:
        """It cannot be run, for that reason; the tracker will finish the job."""
        return self._next(give_up=cropped(reason))

    def finishing(self, reason: str, *, now: datetime) -> Self:
        """Recorded before Buildkite is asked to finish the job, so that it is never asked blindly again."""
        return self._next(give_up=cropped(reason), finishing_at=now)

    def ended(self, outcome: Outcome, *, now: datetime) -> Self:
        """Nothing will happen to it any more."""
        return self._next(state=RunState.ENDED, state_entered_at=now, outcome=outcome, moments={Moment.ENDED: now})

    def noted(
        self,
        *,
        baton: Baton | None = None,
        told: frozenset[str] | None = None,
        job_over_at: datetime | None = None,
        reservation_lost: bool | None = None,
        moments: Mapping[Moment, datetime] | None = None,
    ) -> Self:
        """Something was learnt about it that changes no state."""
        return self._next(
            baton=self.baton if baton is None else baton,
            told=self.told if told is None else told,
            job_over_at=self.job_over_at if job_over_at is None else job_over_at,
            reservation_lost=self.reservation_lost if reservation_lost is None else reservation_lost,
            moments=moments,
        )

    def _next(self, *, moments: Mapping[Moment, datetime] | None = None, **changes: object) -> Self:
        timeline = {**(moments or {}), **self.timeline}  # a moment is when it happened first
        return replace(self, version=self.version + 1, timeline=timeline, **changes)  # type: ignore[arg-type]  # each method above names fields and values of its own


def cropped(reason: str | None) -> str | None:
    """A reason short enough for the ledger; None stays None."""
    if reason is None or len(reason.encode()) <= MAX_REASON_BYTES:
        return reason
    return reason.encode()[: MAX_REASON_BYTES - 3].decode(errors="ignore") + "…"
