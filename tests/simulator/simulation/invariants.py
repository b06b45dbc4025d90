"""The promises, as code: looked at after every event, and at the end."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG, HOLD_TAG, INTENT_TAG
from agent_stack.domain.ec2_codes import Scope, row_for
from agent_stack.domain.holds import MAX_HELD
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import OVERSTAY
from tests.simulator.buildkite import AGENT_TOKEN, FAILED_UNRUN, Event, JobState, JobStateChanged, NotificationCreated
from tests.simulator.cloud import Instance, StateChange
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.instance import UP

if TYPE_CHECKING:
    from tests.simulator.simulation.simulation import Simulation

SLACK = timedelta(seconds=130)
"""What a promise with a time in it is granted on top: the time between two invocations, and a cycle. A schedule fires
anywhere within its minute, so that up to two minutes lie between them."""

TOLD_AT_MOST = 20
LIVE = frozenset({JobState.ASSIGNED, JobState.ACCEPTED, JobState.RUNNING})
OVER = FAILED_UNRUN | {*(JobState.FINISHED, JobState.CANCELED, JobState.EXPIRED, JobState.TIMED_OUT, JobState.SKIPPED)}


DEFINITE = ("Invalid", "Unauthorized", "AuthFailure", "PendingVerification", "OptInRequired", "Blocked", "Missing")
"""How EC2's codes begin that say that a request can never work as it is, by its error code reference."""

_NO_VM = re.compile(r"No VM of class “([^”]+)” (.*)", re.DOTALL)


class BrokenPromise(AssertionError):
    """An invariant does not hold. Starts with its number."""


@dataclass(slots=True, kw_only=True)
class Invariants:
    """Watches one universe."""

    simulation: "Simulation"
    acquired: Counter[str] = field(default_factory=Counter)
    removed: bool = False
    """The stack is being removed, which ends each of its VMs whatever it does."""
    notices_sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    told_of: Counter[str] = field(default_factory=Counter)
    bound_to: dict[str, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))
    """By job: the VMs that it was bound to, and whether each stood by."""
    paused_since: datetime | None = None
    refused: dict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))
    """By class: EC2's codes for its launches, with the latest moment of each."""
    launched: dict[str, datetime] = field(default_factory=dict)
    """By class: the latest launch that brought a VM."""
    _logged: int = 0

    def on_buildkite(self, event: Event) -> None:
        """What Buildkite tells."""
        match event:
            case JobStateChanged(job_id=job_id, after=JobState.ACCEPTED):
                self.acquired[job_id] += 1
                self._hold(self.acquired[job_id] <= 1, f"I1: job {job_id} was acquired twice")
            case JobStateChanged(job_id=job_id, after=JobState.FINISHED):
                job = self.simulation.buildkite.job(job_id)
                by_both = job.stack_finish is not None and job.agent_id is not None
                self._hold(not by_both, f"I8: job {job_id} was finished by the stack after an agent had it")
                if job.stack_finish is not None:
                    self._finished_by_the_stack(job_id, job.stack_finish.detail)
            case NotificationCreated(job_id=job_id, detail=detail):
                self.notices_sent[job_id, detail] += 1
                self.told_of[job_id] += 1
                self._hold(self.notices_sent[job_id, detail] <= 2, f"I5: job {job_id} was told three times: {detail}")
                self._hold(self.told_of[job_id] <= TOLD_AT_MOST, f"I5: job {job_id} was told too much")
            case _:
                pass

    def on_ec2(self, change: StateChange) -> None:
        """What EC2 tells."""
        instance = change.instance
        if instance.state == "pending" and INTENT_TAG in instance.tags:
            self._launched(instance)
        elif instance.state == "shutting-down" and instance.reason == "Client.UserInitiatedShutdown":
            self._terminated(instance)

    def on_answer(self, action: str, parameters: Mapping[str, Any], answer: Any) -> None:  # noqa: ANN401  (EC2's)
        """What EC2 answers to our functions."""
        if action != "CreateFleet":
            return
        tags = {tag["Key"]: tag["Value"] for tag in parameters["TagSpecifications"][0]["Tags"]}
        name, now = tags[CLASS_TAG], self.simulation.kernel.now()
        if isinstance(answer, Ec2Error):
            self.refused[name][answer.code] = now
            return
        for error in answer["Errors"]:
            self.refused[name][error["ErrorCode"]] = now
        if answer["Instances"]:
            self.launched[name] = now

    def _finished_by_the_stack(self, job_id: str, detail: str) -> None:
        """A reason names only what EC2 said of that job's own class, and only EC2's definite word comes early."""
        found = _NO_VM.match(detail)
        if found is None:
            return
        name, words = found.groups()
        accounts = {code for codes in self.refused.values() for code in codes if _is_of_account(code)}
        others = {code for other, codes in self.refused.items() if other != name for code in codes} - accounts
        strange = {code for code in others - self.refused[name].keys() if f"{code}:" in words or f"{code} “" in words}
        self._hold(not strange, f"I12: job {job_id} of class {name} was finished for what EC2 said of another: {words}")
        run = next((run for run in self.simulation.store.runs.values() if run.job_id == job_id), None)
        if run is None:
            return
        now, policy = self.simulation.kernel.now(), self.simulation.settings.policy
        ahead = max(self.simulation.skew.values(), default=timedelta())  # by a clock that is ahead the deadline is over
        waited = now + ahead - run.state_entered_at >= policy.launch_deadline - timedelta(seconds=10)
        code = words.removeprefix("can be launched: ").partition(":")[0]
        definite = code.startswith(DEFINITE) and code in (self.refused[name].keys() | accounts)
        since = self.refused[name].get(code)
        worked = since is not None and name in self.launched and self.launched[name] > since
        self._hold(
            waited or (definite and not worked), f"I13: job {job_id} was finished early, without EC2's word: {words}"
        )

    def after_each(self) -> None:
        """What must hold at every moment. A world asks some thousand times, so this words nothing that holds."""
        simulation = self.simulation
        now = simulation.kernel.now()
        holders = [vm.job_id for vm in simulation.vms.values() if vm.job_id is not None and vm.alive]
        if len(set(holders)) < len(holders):
            job_id, count = Counter(holders).most_common(1)[0]
            raise BrokenPromise(f"I1: {count} live VMs hold the baton of job {job_id}")
        violations = simulation.buildkite.violations()
        if len(violations) > self._logged:
            self._logged = len(violations)
            latest = violations[-1]
            self._hold("finished at most once" not in latest.rule, f"I8: {latest.detail}")
        store, settings = simulation.store, simulation.settings
        up = [instance for instance in simulation.ec2.instances() if instance.state in UP]
        if simulation.peace_since is not None and now - simulation.peace_since > SLACK:
            self._none_left_behind([one for one in up if one.tags.get(DEPLOYMENT_TAG) == settings.deployment], now)
        if not store.closed.isdisjoint(store.boxes):
            raise BrokenPromise(f"I7: {sorted(store.closed & store.boxes.keys())[:1]} is closed, and has a job")
        if held := [instance for instance in up if self._is_held(instance, now)]:
            self._held(held)
        for run in store.runs.values():
            if run.binding is not None:
                self._bound(run, run.binding.instance_id, standby=run.binding.standby)

    def _none_left_behind(self, up: Sequence[Instance], now: datetime) -> None:
        """What must hold of the stack's VMs once nothing goes wrong any more."""
        settings, store = self.simulation.settings, self.simulation.store
        owned = {run.binding.instance_id for run in store.runs.values() if run.binding is not None}
        for instance in up:
            age = now - instance.launched_at
            claimed = instance.instance_id in owned or instance.tags.get(INTENT_TAG) in store.intents
            claimed = claimed or self._is_held(instance, now - SLACK) or self._stands_by(instance, age)
            if not claimed and age > settings.orphan_grace + SLACK:
                raise BrokenPromise(f"I3: VM {instance.instance_id} belongs to nobody since {age}")
            lived = now - self._lives_since(instance)
            if lived > settings.max_lifetime + SLACK:
                raise BrokenPromise(f"I4: VM {instance.instance_id} is {lived} old")

    def _bound(self, run: Run, instance_id: str, *, standby: bool) -> None:
        """A job has one standby VM at most, besides its attempts."""
        vms = self.bound_to[run.job_id]
        if instance_id in vms:
            return
        vms[instance_id] = standby
        standby_vms = sum(vms.values())
        of_its_own = len(vms) - standby_vms
        bound = of_its_own <= self.simulation.settings.max_launch_attempts and standby_vms <= 1
        self._hold(bound, f"I6: job {run.job_id} was bound to {of_its_own} VMs and {standby_vms} standby VMs")

    def _held(self, held: Sequence[Instance]) -> None:
        """What must hold of VMs that stay up although their boot failed."""
        owned = {run.binding.instance_id for run in self.simulation.store.runs.values() if run.binding is not None}
        self._hold(len(held) <= MAX_HELD, f"I6: {len(held)} VMs are held, at most {MAX_HELD} may be")
        for name, count in Counter(instance.tags[CLASS_TAG].partition("/")[0] for instance in held).items():
            self._hold(count <= 1, f"I6: {count} VMs of class {name} are held")
        for instance in held:
            self._hold(instance.capacity_type != "spot", f"I6: spot VM {instance.instance_id} is held")
            self._hold(instance.instance_id not in owned, f"I2: a run waits for the held VM {instance.instance_id}")
            took = self.simulation.vms[instance.instance_id].job_id
            self._hold(took is None, f"I1: VM {instance.instance_id} is held and took the credential of job {took}")

    def _is_held(self, instance: Instance, moment: datetime) -> bool:
        """Whether the tracker holds it, by what the VM itself was told."""
        vm = self.simulation.vms.get(instance.instance_id)
        return vm is not None and vm.alive and vm.held_until is not None and vm.held_until > moment

    def at_the_end(self) -> None:
        """What must hold once nothing goes wrong any more."""
        # A world without any events must end like every other: for it the same is a matter of I9.
        promise = "I2" if self.simulation.hinted else "I9"
        for problem in self.unsettled():
            raise BrokenPromise(f"{promise}: {problem}")
        kept = repr([box.assignment for box in self.simulation.store.boxes.values()]) + repr(self.simulation.store.runs)
        kept += repr(self.simulation.store.history) + repr(self.simulation.telemetry.records)
        kept += repr([instance.tags for instance in self.simulation.ec2.instances()])
        credentials = repr([box.credential for box in self.simulation.store.boxes.values()])
        self._hold(AGENT_TOKEN not in kept + credentials, "I10: the agent token left the functions' memory")
        written = sum(credential in kept for credential in self.simulation.buildkite.credentials())
        self._hold(not written, f"I10: {written} credentials were written down outside a mailbox")

    def unsettled(self) -> Iterator[str]:
        """What is not over yet."""
        for job in self.simulation.buildkite.jobs():
            if job.state not in OVER:
                yield f"job {job.label} is still {job.state}"
        for run in self.simulation.store.runs.values():
            yield f"run {run.job_id} is still {run.state}"
        for instance in self.simulation.ec2.instances():
            if instance.state != "terminated" and DEPLOYMENT_TAG in instance.tags:
                yield f"VM {instance.instance_id} is still {instance.state}"

    def _launched(self, instance: Instance) -> None:
        simulation = self.simulation
        up = sum(i.state in UP and INTENT_TAG in i.tags for i in simulation.ec2.instances())
        most = simulation.settings.max_instances
        self._hold(up <= most, f"I6: {up} VMs are up, at most {most} may be")
        self._within_bounds(instance)
        paused = self.paused_since is not None and instance.launched_at - self.paused_since > timedelta(seconds=20)
        self._hold(not paused, f"I11: VM {instance.instance_id} was launched while the queue was paused")

    def _within_bounds(self, launched: Instance) -> None:
        """MaxVcpus and the class's own maximum count standby VMs, VMs of runs, and those that runs wait for.

        The one that is launched counts in any case.
        """
        simulation = self.simulation
        most = simulation.settings.max_vcpus
        name = launched.tags[CLASS_TAG].partition("/")[0]
        own: int | None = None
        with suppress(
            ValueError
        ):  # of a document that cannot be read the last good one counts, which is not known here
            document = json.loads(simulation.parameters.values["/classes"])
            own = document["classes"].get(name, {}).get("max_instances")
        if most is None and own is None:
            return
        runs = [run.binding for run in simulation.store.runs.values()]
        owned = {binding.instance_id for binding in runs if binding is not None} | {launched.instance_id}
        counted = [
            one
            for one in simulation.ec2.instances()
            if one.state in UP and INTENT_TAG in one.tags and (one.instance_id in owned or HOLD_TAG in one.tags)
        ]
        counted += self._awaited(launched, {one.instance_id for one in counted})
        vcpus = sum(catalogue()[one.instance_type].vcpus for one in counted)
        self._hold(most is None or vcpus <= most, f"I6: {vcpus} vCPUs are up, at most {most} may be")
        of_class = sum(one.tags[CLASS_TAG].partition("/")[0] == name for one in counted)
        self._hold(own is None or of_class <= own, f"I6: {of_class} VMs of class {name} are up, at most {own} may be")

    def _awaited(self, launched: Instance, counted: Collection[str]) -> Iterator[Instance]:
        """The other VMs that runs wait for, the smallest first: as many of a class as runs of it have none."""
        store = self.simulation.store
        runs = [run for run in store.runs.values() if run.binding is None and run.failure_reason is None]
        waiting = Counter(run.class_name.partition("/")[0] for run in runs)
        waiting[_class_of(launched)] -= HOLD_TAG not in launched.tags
        free = [
            one
            for one in self.simulation.ec2.instances()
            if one.state in UP and one.instance_id not in counted and one.tags.get(INTENT_TAG) in store.intents
        ]
        for one in sorted(free, key=lambda one: catalogue()[one.instance_type].vcpus):
            if waiting[_class_of(one)] > 0:
                waiting[_class_of(one)] -= 1
                yield one

    def _terminated(self, instance: Instance) -> None:
        simulation = self.simulation
        ours = instance.tags.get(DEPLOYMENT_TAG) == simulation.settings.deployment
        self._hold(ours, f"I7: VM {instance.instance_id} without our tag was terminated")
        if self.removed:
            return
        idle = simulation.store.standby.get(InstanceId(instance.instance_id))
        within = simulation.kernel.now() - instance.launched_at < hold_of(instance)
        by_hand = instance.instance_id in simulation.ec2.touched_by_hand
        unasked = idle is not None and idle.closing is None and within and not self._is_owned(instance) and not by_hand
        self._hold(not unasked, f"I7: standby VM {instance.instance_id} was terminated without being closed")
        vm = simulation.vms.get(instance.instance_id)
        if vm is None or vm.job_id is None or not vm.agent_has_job:
            return
        if instance.instance_id in simulation.ec2.touched_by_hand:
            return  # by a person, or after one had stopped it
        young = simulation.kernel.now() - self._lives_since(instance) <= simulation.settings.policy.max_lifetime
        runs = simulation.buildkite.job(vm.job_id).state in LIVE and young
        self._hold(not runs, f"I7: VM {instance.instance_id} was terminated under the agent of job {vm.job_id}")

    def _is_owned(self, instance: Instance) -> bool:
        return any(
            run.binding is not None and run.binding.instance_id == instance.instance_id
            for run in self.simulation.store.runs.values()
        )

    def _stands_by(self, instance: Instance, age: timedelta) -> bool:
        """Whether it belongs to a pool: the ledger lists it, and it does not overstay its hold."""
        listed = InstanceId(instance.instance_id) in self.simulation.store.standby
        grace = self.simulation.settings.policy.orphan_grace
        return listed and age <= hold_of(instance) + OVERSTAY + grace + SLACK

    def _lives_since(self, instance: Instance) -> datetime:
        """A standby VM's lifetime begins at its binding, or else when its hold ends."""
        if HOLD_TAG not in instance.tags:
            return instance.launched_at
        runs = [*self.simulation.store.runs.values(), *reversed(self.simulation.store.history)]
        bound = [run for run in runs if run.binding is not None and run.binding.instance_id == instance.instance_id]
        since = bound[0].vm_since if bound else None
        return since or instance.launched_at + hold_of(instance)

    @staticmethod
    def _hold(holds: bool, promise: str) -> None:  # noqa: FBT001  (an assertion's own shape)
        if not holds:
            raise BrokenPromise(promise)


def _is_of_account(code: str) -> bool:
    """Whether EC2 says it of the whole account, so that every class may be told."""
    return row_for(code, placed=False).scope is Scope.ACCOUNT


def _class_of(instance: Instance) -> str:
    """The operator's name of its class."""
    return instance.tags[CLASS_TAG].partition("/")[0]


def hold_of(instance: Instance) -> timedelta:
    """How long it may stand by, by its tag; nothing for a VM that was launched for a job."""
    return timedelta(seconds=int(instance.tags.get(HOLD_TAG, "0")))
