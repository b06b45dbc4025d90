"""A run: our record of one job on its way through a VM. The one thing the ledger keeps.

Runs never change; each step makes the next version with the methods below, and the ledger accepts a version
only on top of its predecessor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from agent_stack.domain.attempts import (
    ATTEMPT_BYTES,
    MAX_ATTEMPTS_STORED,
    Attempt,
    Failure,
    PriorUsage,
    seconds_between,
)
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job, Origin
from agent_stack.domain.states import CapacityType, CredentialHolder, Moment, Outcome, RunState
from agent_stack.domain.texts import crop_bytes
from agent_stack.domain.vms import Vm

_FROM_BEFORE_THE_VM = frozenset({Moment.SCHEDULED, Moment.RUNNABLE, Moment.RECORDED})
MAX_REASON_BYTES = 180  # keeps a run's item well under one kilobyte, whatever EC2 or a pipeline says
NAME_BYTES = 145
"""What queue key, class name and origin may take together in a run's item. The longest names leave no origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The one VM a run is bound to.

    Attributes:
        standby: the VM stood by before it had the job; so it may be much older than the binding.
    """

    instance_id: InstanceId
    arn: InstanceArn
    instance_type: str
    zone: str
    capacity_type: CapacityType
    launched_at: datetime
    standby: bool = False

    @classmethod
    def to(cls, vm: Vm) -> Self:
        """The binding to that VM."""
        return cls(
            instance_id=vm.instance_id,
            arn=vm.arn,
            instance_type=vm.instance_type,
            zone=vm.zone,
            capacity_type=vm.capacity_type,
            launched_at=vm.launched_at,
            standby=vm.hold is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One job's run.

    Attributes:
        version: counts every recorded change; what the ledger compares.
        attempt: bindings so far, over all runs of this job.
        lost_standby: one of these VMs stood by and ended before an agent had the job. The job gets no other such VM,
            and this one is no attempt that MaxLaunchAttempts counts.
        reserved_until: when Buildkite's reservation ends; None before the first.
        reservation_lost: another stack or nobody holds the job now; it must not be started.
        finishing_at: we are about to finish the job, or have, with `failure_reason` as the reason.
        job_over_at: when we first saw the job over while its VM was still up.
        tried: the latest VMs that failed before an agent had the job, oldest first.
        origin: the pipeline and build of the job.
        told: the transitions already told on the build page, of the attempt that it is in.
        told_before: how many were told in earlier attempts and runs of this job.
        timeline: when each moment happened first.
    """

    job_id: JobId
    queue_key: QueueKey
    class_name: ClassName
    state: RunState
    state_entered_at: datetime
    version: int = 1
    attempt: int = 0
    lost_standby: bool = False
    priority: int = 0
    reserved_until: datetime | None = None
    reservation_lost: bool = False
    binding: Binding | None = None
    credential_holder: CredentialHolder = CredentialHolder.MAILBOX
    failure_reason: str | None = None
    finishing_at: datetime | None = None
    job_over_at: datetime | None = None
    outcome: Outcome | None = None
    tried: tuple[Attempt, ...] = ()
    origin: Origin = field(default_factory=Origin)
    notices_sent: frozenset[str] = frozenset()
    notices_sent_before: int = 0
    timeline: Mapping[Moment, datetime] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        class_name: ClassName,
        now: datetime,
        failure_reason: str | None,
        earlier: PriorUsage | None = None,
    ) -> Self:
        """A first record of that job, before anything is asked of anyone."""
        used = earlier or PriorUsage()
        names = len(job.queue_key.encode()) + len(on_demand_name(class_name).encode())
        return cls(
            job_id=job.job_id,
            queue_key=job.queue_key,
            class_name=class_name,
            state=RunState.RESERVED,
            state_entered_at=now,
            attempt=used.attempts,
            lost_standby=used.lost_standby,
            priority=job.priority,
            failure_reason=None if failure_reason is None else crop_bytes(failure_reason, MAX_REASON_BYTES),
            origin=Origin.of(job, room=NAME_BYTES - names),
            notices_sent_before=used.notices_sent,
            timeline={
                Moment.SCHEDULED: job.scheduled_at,
                **({} if job.waits_since == job.scheduled_at else {Moment.RUNNABLE: job.waits_since}),
                Moment.RECORDED: now,
            },
        )

    @property
    def waits_since(self) -> datetime:
        """When the job's wait for a VM began, as far as this run knows."""
        created = self.timeline.get(Moment.SCHEDULED, self.state_entered_at)
        return self.timeline.get(Moment.RUNNABLE, created)

    @property
    def may_stand_by(self) -> bool:
        """Whether it may get a VM that stands by. A job that lost one gets a VM of its own."""
        return not self._has_lost_standby

    @property
    def counted_attempts(self) -> int:
        """Attempts that count for MaxLaunchAttempts, if its VM fails now."""
        return self.attempt - (self._has_lost_standby or self._stands_on_standby)

    @property
    def _stands_on_standby(self) -> bool:
        return self.binding is not None and self.binding.standby

    @property
    def _has_lost_standby(self) -> bool:
        """Earlier versions recorded it with the attempts alone."""
        return self.lost_standby or any(attempt.standby for attempt in self.tried)

    @property
    def vm_since(self) -> datetime | None:
        """When the lifetime of its VM began: a standby VM's begins at the binding; None without a VM."""
        if self.binding is None:
            return None
        bound = self.timeline.get(Moment.BOUND, self.state_entered_at)
        return max(bound, self.binding.launched_at) if self.binding.standby else self.binding.launched_at

    @property
    def takes_room(self) -> bool:
        """Whether it has a VM or is to get one. A job that is being finished has its VM until that is done."""
        return self.failure_reason is None or self.binding is not None

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
            credential_holder=CredentialHolder.MAILBOX,
            moments={Moment.LAUNCHED: vm.launched_at, Moment.BOUND: now},
        )

    def running(self, *, now: datetime, observed_moments: Mapping[Moment, datetime]) -> Self:
        """The VM has the credential and the job moved on: from here it is the agent's.

        Args:
            learnt: what the look that showed it adds to the time line.
        """
        return self._next(
            state=RunState.RUNNING,
            state_entered_at=now,
            credential_holder=CredentialHolder.VM,
            moments=observed_moments,
        )

    def requeued(self, failure: Failure, *, now: datetime, class_name: ClassName | None = None) -> Self:
        """Its VM will never run it; the dispatcher finds it another one.

        The attempt stays counted, unless the VM stood by.

        Args:
            class_name: of which it will be asked for from now on; None for the same.
        """
        fresh: Mapping[Moment, datetime] = {m: at for m, at in self.timeline.items() if m in _FROM_BEFORE_THE_VM}
        later = self._next(
            state=RunState.RESERVED,
            state_entered_at=now,
            binding=None,
            credential_holder=CredentialHolder.MAILBOX,
            job_over_at=None,
            class_name=class_name or self.class_name,
            tried=self.attempts_with(failure, now)[-MAX_ATTEMPTS_STORED:],
            lost_standby=self._has_lost_standby or self._stands_on_standby,
            notices_sent=frozenset(),
            notices_sent_before=self.notices_sent_in_all,
        )
        return replace(later, timeline=fresh)

    @property
    def notices_sent_in_all(self) -> int:
        """How many notices the job's page has had of its runs."""
        return self.notices_sent_before + len(self.notices_sent)

    def attempts_with(self, failure: Failure, now: datetime) -> tuple[Attempt, ...]:
        """What was tried, with the VM that it has now, which failed."""
        if self.binding is None:
            return self.tried
        latest = Attempt(
            instance_id=self.binding.instance_id,
            instance_type=self.binding.instance_type,
            zone=self.binding.zone,
            capacity_type=self.binding.capacity_type,
            kind=failure.kind,
            seconds=seconds_between(self.state_entered_at, now),
            standby=self.binding.standby,
        )
        return (*self.tried, latest)

    def failing(self, reason: str) -> Self:
        """It cannot be run, for that reason; the tracker will finish the job."""
        return self._next(failure_reason=self._stored_reason(reason))

    def finishing(self, reason: str, *, now: datetime) -> Self:
        """Recorded before Buildkite is asked to finish the job, so that it is never asked blindly again."""
        return self._next(failure_reason=self._stored_reason(reason), finishing_at=now)

    def ended(self, outcome: Outcome, *, now: datetime) -> Self:
        """Nothing will happen to it any more."""
        unused = self.state is RunState.BOOTING and self._stands_on_standby  # the job may come back in another run
        return self._next(
            state=RunState.ENDED,
            state_entered_at=now,
            outcome=outcome,
            lost_standby=self._has_lost_standby or unused,
            moments={Moment.ENDED: now},
        )

    def with_facts(
        self,
        *,
        credential_holder: CredentialHolder | None = None,
        notices_sent: frozenset[str] | None = None,
        job_over_at: datetime | None = None,
        reservation_lost: bool | None = None,
        moments: Mapping[Moment, datetime] | None = None,
    ) -> Self:
        """Something was learnt about it that changes no state."""
        return self._next(
            credential_holder=self.credential_holder if credential_holder is None else credential_holder,
            notices_sent=self.notices_sent if notices_sent is None else notices_sent,
            job_over_at=self.job_over_at if job_over_at is None else job_over_at,
            reservation_lost=self.reservation_lost if reservation_lost is None else reservation_lost,
            moments=moments,
        )

    def _stored_reason(self, reason: str) -> str:
        """A reason short enough for the ledger, beside what was tried."""
        return crop_bytes(reason, MAX_REASON_BYTES - ATTEMPT_BYTES * len(self.tried))

    def _next(self, *, moments: Mapping[Moment, datetime] | None = None, **changes: object) -> Self:
        timeline = {**(moments or {}), **self.timeline}  # a moment is when it happened first
        return replace(self, version=self.version + 1, timeline=timeline, **changes)  # type: ignore[arg-type]  # each method above names fields and values of its own
