"""The promises, as code: looked at after every event, and at the end."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG, INTENT_TAG
from tests.simulator.buildkite import AGENT_TOKEN, Event, JobState, JobStateChanged, NotificationCreated
from tests.simulator.cloud import Instance, StateChange
from tests.simulator.cloud.instance import UP

if TYPE_CHECKING:
    from tests.simulator.universe.universe import Universe

SLACK = timedelta(seconds=90)
"""What a promise with a time in it is granted on top: the minute between invocations, and a tick."""

TOLD_AT_MOST = 20
LIVE = frozenset({JobState.ASSIGNED, JobState.ACCEPTED, JobState.RUNNING})
OVER = frozenset({JobState.FINISHED, JobState.CANCELED, JobState.EXPIRED, JobState.TIMED_OUT})


class BrokenPromise(AssertionError):
    """An invariant does not hold. Starts with its number."""


@dataclass(slots=True, kw_only=True)
class Laws:
    """Watches one universe."""

    universe: "Universe"
    acquired: Counter[str] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    told_of: Counter[str] = field(default_factory=Counter)
    paused_since: datetime | None = None
    _logged: int = 0

    def on_buildkite(self, event: Event) -> None:
        """What Buildkite tells."""
        match event:
            case JobStateChanged(job_id=job_id, after=JobState.ACCEPTED):
                self.acquired[job_id] += 1
                self._hold(self.acquired[job_id] <= 1, f"I1: job {job_id} was acquired twice")
            case JobStateChanged(job_id=job_id, after=JobState.FINISHED):
                job = self.universe.buildkite.job(job_id)
                by_both = job.stack_finish is not None and job.agent_id is not None
                self._hold(not by_both, f"I8: job {job_id} was finished by the stack after an agent had it")
            case NotificationCreated(job_id=job_id, detail=detail):
                self.told[job_id, detail] += 1
                self.told_of[job_id] += 1
                self._hold(self.told[job_id, detail] <= 2, f"I5: job {job_id} was told three times: {detail}")
                self._hold(self.told_of[job_id] <= TOLD_AT_MOST, f"I5: job {job_id} was told too much")
            case _:
                pass

    def on_ec2(self, change: StateChange) -> None:
        """What EC2 tells."""
        instance = change.instance
        ours = DEPLOYMENT_TAG in instance.tags
        there = bool(self.universe.programs.published())
        self._hold(there or not ours, f"I2: {instance.instance_id} was launched before its boot program was there")
        if instance.state == "pending" and INTENT_TAG in instance.tags:
            self._launched(instance)
        elif instance.state == "shutting-down" and instance.reason == "Client.UserInitiatedShutdown":
            self._terminated(instance)

    def after_each(self) -> None:
        """What must hold at every moment."""
        universe = self.universe
        now = universe.kernel.now()
        holders = Counter(vm.job_id for vm in universe.vms.values() if vm.alive and vm.job_id is not None)
        for job_id, count in holders.items():
            self._hold(count <= 1, f"I1: {count} live VMs hold the baton of job {job_id}")
        violations = universe.buildkite.violations()
        if len(violations) > self._logged:
            self._logged = len(violations)
            latest = violations[-1]
            self._hold("finished at most once" not in latest.rule, f"I8: {latest.detail}")
        owned = {run.binding.instance_id for run in universe.store.runs.values() if run.binding is not None}
        intended = set(universe.store.intents)
        policy = universe.settings.policy
        peace = universe.peace_since is not None and now - universe.peace_since > SLACK
        for instance in universe.ec2.instances():
            if instance.state not in UP or instance.tags.get(DEPLOYMENT_TAG) != universe.settings.deployment:
                continue
            age = now - instance.launched_at
            claimed = instance.instance_id in owned or instance.tags.get(INTENT_TAG) in intended
            self._hold(
                claimed or age <= policy.sweep_grace + SLACK or not peace,
                f"I3: VM {instance.instance_id} belongs to nobody since {age}",
            )
            old = age > policy.max_lifetime + SLACK and peace
            self._hold(not old, f"I4: VM {instance.instance_id} is {age} old")
        for run in universe.store.runs.values():
            bound = run.attempt <= policy.max_launch_attempts
            self._hold(bound, f"I6: job {run.job_id} was bound {run.attempt} times")

    def at_the_end(self) -> None:
        """What must hold once nothing goes wrong any more."""
        # A world without any events must end like every other: for it the same is a matter of I9.
        promise = "I2" if self.universe.hinted else "I9"
        for problem in self.unsettled():
            raise BrokenPromise(f"{promise}: {problem}")
        kept = repr([box.letter for box in self.universe.store.boxes.values()]) + repr(self.universe.store.runs)
        kept += repr(self.universe.store.history) + repr(self.universe.telemetry.records)
        kept += repr([instance.tags for instance in self.universe.ec2.instances()])
        credentials = repr([box.credential for box in self.universe.store.boxes.values()])
        self._hold(AGENT_TOKEN not in kept + credentials, "I10: the agent token left the functions' memory")
        self._hold("bkjat_" not in kept, "I10: a job token was written down outside a mailbox")

    def unsettled(self) -> Iterator[str]:
        """What is not over yet."""
        for job in self.universe.buildkite.jobs():
            if job.state not in OVER:
                yield f"job {job.label} is still {job.state}"
        for run in self.universe.store.runs.values():
            yield f"run {run.job_id} is still {run.state}"
        for instance in self.universe.ec2.instances():
            if instance.state != "terminated" and DEPLOYMENT_TAG in instance.tags:
                yield f"VM {instance.instance_id} is still {instance.state}"

    def _launched(self, instance: Instance) -> None:
        universe = self.universe
        up = sum(i.state in UP and INTENT_TAG in i.tags for i in universe.ec2.instances())
        most = universe.settings.policy.max_instances
        self._hold(up <= most, f"I6: {up} VMs are up, at most {most} may be")
        paused = self.paused_since is not None and instance.launched_at - self.paused_since > timedelta(seconds=20)
        self._hold(not paused, f"I11: VM {instance.instance_id} was launched while the queue was paused")

    def _terminated(self, instance: Instance) -> None:
        universe = self.universe
        ours = instance.tags.get(DEPLOYMENT_TAG) == universe.settings.deployment
        self._hold(ours, f"I7: VM {instance.instance_id} without our tag was terminated")
        vm = universe.vms.get(instance.instance_id)
        if vm is None or vm.job_id is None or not vm.agent_has_job:
            return
        if instance.instance_id in universe.ec2.touched_by_hand:
            return  # by a person, or after one had stopped it
        young = universe.kernel.now() - instance.launched_at <= universe.settings.policy.max_lifetime
        runs = universe.buildkite.job(vm.job_id).state in LIVE and young
        self._hold(not runs, f"I7: VM {instance.instance_id} was terminated under the agent of job {vm.job_id}")

    @staticmethod
    def _hold(holds: bool, promise: str) -> None:  # noqa: FBT001  (an assertion's own shape)
        if not holds:
            raise BrokenPromise(promise)
