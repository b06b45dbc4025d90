"""A deployment for a day: the product's dispatcher and tracker between a simulated Buildkite and a fake EC2.

What takes time is drawn from the seed and the moment, never from a stream that all draw from in turn. So a cycle that
is skipped changes nothing for those that are not.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any
from zlib import crc32

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.domain.classes import DEFAULT_QUEUE_ALIASES, ClassBook
from agent_stack.ports import ClassSource, Telemetry
from tests.simulator.buildkite import Event, JobState, JobStateChanged, Step
from tests.simulator.cloud import Instance, StateChange
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.cloud.settings import Subnet
from tests.simulator.day.classes import AnyImage, FixedClasses, of_any_image
from tests.simulator.day.request import EVENT_BUS, AskedJob, Request
from tests.simulator.day.rest import LISTS, Rest
from tests.simulator.day.vm import AFTER_THE_NETWORK, DayVm
from tests.simulator.simulation.invariants import OVER
from tests.simulator.simulation.invocation import Wired
from tests.simulator.simulation.machine import SECOND, Temper, VirtualVm
from tests.simulator.simulation.nature import WAKE_UP_SECONDS, Nature
from tests.simulator.simulation.process import WRITES, Fate, Process
from tests.simulator.simulation.simulation import Simulation

PUSH_SECONDS = (0.2, 0.6)
"""From a job's scheduling to the dispatcher's code: EventBridge, the queue, and Lambda's own time; a guess."""

WARM = timedelta(minutes=3)
"""What is played before the day begins, so that the functions run and standby VMs are up."""

SLICE = timedelta(minutes=1)
SHORTEST_NETWORK = 0.5
SHUTTING_DOWN = timedelta(seconds=30)
NO_LIMIT = 10**12

IN_VAIN = timedelta(hours=1)
"""How long waiting jobs are played on after the load when nothing happens: nobody comes to correct a setting."""


class DayWorld(Simulation):
    """One deployment, with its jobs still to come."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.book: ClassBook | None = None
        self.skipped = 0
        self.listed_at: list[datetime] = []
        """When cycles that were skipped would have listed jobs."""
        self.job_ids: dict[str, AskedJob] = {}
        self._changed_at = self._moved_at = request.start - WARM
        self._rest: Rest | None = None
        self._waking = False
        self._booted = 0
        self._open = 0
        self._scheduled = 0
        shortest, longest = request.boots.pending
        ec2 = Ec2Settings(
            subnets={
                name: Subnet(zone=f"{request.settings.region}{'abcdef'[number]}")
                for number, name in enumerate(request.subnets)
            },
            pending=(SECOND * shortest, SECOND * longest),
            shutting_down=SHUTTING_DOWN,
            region=request.settings.region,
        )
        nature = Nature(
            ec2=ec2,
            latency=request.latency,
            launch_latency=request.launch_latency,
            warm=True,
            watched=False,
            judged=False,
            start=request.start - WARM,
            max_events=NO_LIMIT,
            asks_for_classes=True,
        )
        super().__init__(
            seed=request.seed, nature=nature, settings=request.variables, classes=of_any_image(request.classes)
        )
        for queue in request.queues:
            if queue not in {"default", *DEFAULT_QUEUE_ALIASES}:
                self.buildkite.add_queue(queue)
        self.parameters = AnyImage(values=dict(self.parameters.values))
        self.ec2.on_event(self._ec2_changed)
        self.buildkite.on_event(self._buildkite_changed)
        self.send_wake_up = self._wake_tracker
        if request.parameters.get(EVENT_BUS):
            self.send_jobs(PUSH_SECONDS)
        self._plan()

    def play(self) -> Iterator[float]:
        """Let the day pass; yields now and then how many seconds of it have."""
        began, over = self.request.start, self.request.start + SECOND * self.request.seconds
        latest = over + SECOND * self.request.tail_seconds
        while (now := self.kernel.now()) < over or (now < latest and self._waits_for_jobs(max(over, self._moved_at))):
            self.kernel.run_until(min(over, now + SLICE) if now < over else now + SLICE)
            self.buildkite.advance()
            yield max(0.0, (self.kernel.now() - began).total_seconds())

    def _waits_for_jobs(self, since: datetime) -> bool:
        return bool(self.store.runs) or (self._open > 0 and self.kernel.now() - since < IN_VAIN)

    # --- the load ---

    def _plan(self) -> None:
        ordered = sorted(self.request.jobs, key=lambda job: (job.at, job.pipeline))
        for (at, pipeline), jobs in groupby(ordered, key=lambda job: (job.at, job.pipeline)):
            self.kernel.after(WARM + SECOND * at, "", partial(self._push, pipeline, list(jobs)))

    def _push(self, pipeline: str, jobs: Sequence[AskedJob]) -> None:
        steps = [
            Step(
                env={"SIM_SECONDS": str(job.seconds)},
                queue=None if job.queue in DEFAULT_QUEUE_ALIASES else job.queue,  # no queue has such a key
                agents=[rule for rule in job.agents if not rule.startswith("queue=")],
                priority=job.priority,
            )
            for job in jobs
        ]
        build = self.buildkite.create_build(pipeline, steps=steps)
        for job_id, job in zip(build.job_ids, jobs, strict=True):
            self.job_ids[job_id] = job
            if job.cancel_at is not None:
                self.kernel.after(SECOND * max(0.0, job.cancel_at - job.at), "", partial(self._cancel, job_id))

    def _cancel(self, job_id: str) -> None:
        self.buildkite.cancel_job(job_id)

    # --- VMs and events ---

    def boot(self, instance: Instance) -> VirtualVm:
        """An instance runs. See `Machines`."""
        self._booted += 1
        chance = random.Random(f"{self.request.seed} vm {self._booted}")
        seconds = self.request.boots.seconds(chance.random())
        pending = (instance.running_at - instance.launched_at).total_seconds()
        network = max(SHORTEST_NETWORK, seconds - pending - AFTER_THE_NETWORK)
        vm = self.make_vm(instance, DayVm, chance, Temper(boot=(network, network)))
        self.vms[instance.instance_id] = vm
        return vm

    def _ec2_changed(self, change: StateChange) -> None:
        self._changed_at = self.kernel.now()
        due = {"pending": change.instance.running_at, "shutting-down": change.instance.terminated_at}
        if (at := due.get(change.instance.state)) is not None:
            self.kernel.after(at - self.kernel.now(), "", self.ec2.advance)
        if change.instance.state == "terminated":
            self.vms.pop(change.instance.instance_id, None)
        self._wake_tracker()

    def _buildkite_changed(self, event: Event) -> None:
        self._changed_at = self.kernel.now()
        if not isinstance(event, JobStateChanged):
            return
        self._moved_at = self._changed_at
        self._open += (event.before is None) - (event.after in OVER)
        self._scheduled += (event.after is JobState.SCHEDULED) - (event.before is JobState.SCHEDULED)
        if event.after is JobState.CANCELING:
            for vm in list(self.vms.values()):
                if isinstance(vm, DayVm) and vm.job_id == event.job_id:
                    vm.cancelled()

    def _wake_tracker(self) -> None:
        """A message comes into the queue that wakes the tracker; one invocation takes those of a window."""
        if self._waking:
            return
        self._waking = True

        def arrive() -> None:
            self._waking = False
            self._invoke("tracker", scheduled=False)

        self.kernel.after(SECOND * self._drawn("wake-up", *WAKE_UP_SECONDS), "", arrive)

    # --- the functions ---

    def telemetry_of(self, function: str) -> Telemetry:
        """See `Simulation`."""
        return self.telemetry

    def _fate(self, point: str) -> Fate:
        function, _, call = point.partition(" ")
        if call.partition(".")[2] in WRITES:
            self._changed_at = self.kernel.now()
        if function == "dispatcher" and self._rest is not None:
            self._rest.note(call)
        return Fate.GOES_ON

    def _pass_time(self, used: set[str], point: str, size: int) -> None:
        self.kernel.sleep(SECOND * self._drawn(point, *self.request.latency))

    def _before_task(self, used: set[str], point: str) -> timedelta:
        bounds = self.request.launch_latency if point.endswith("fleet.launch") else self.request.latency
        return SECOND * self._drawn(point, *bounds)

    def _drawn(self, what: str, shortest: float, longest: float) -> float:
        moment = f"{self.request.seed} {what} {self.kernel.now().timestamp():.6f}"
        return shortest + (longest - shortest) * crc32(moment.encode()) / 2**32

    def _work(self, function: str, process: Process) -> Wired:
        wired = super()._work(function, process)
        stands_by = self.book is not None and any(one.standby is not None for one in self.book.classes.values())
        if function != "dispatcher" or not self.request.skips or stands_by:
            return wired
        rest = Rest(changed_at=lambda: self._changed_at, is_quiet=lambda: self._scheduled == 0, asks=self._skips)

        def work(now: datetime, fence: int) -> bool:
            before, self._rest = self._rest, rest
            try:
                return rest.cycle(now, fence, wired.work)
            finally:
                self._rest = before

        return replace(wired, work=work)

    def _skips(self, call: str) -> None:
        """The time of a request passes that a skipped cycle would have made."""
        self._pass_time(set(), f"dispatcher {call}", 1)
        self.skipped += 1
        if call == LISTS:
            self.listed_at.append(self.kernel.now())

    def _class_source(self, client: Any, calls: AwsCalls, types: Ec2InstanceTypes, telemetry: Telemetry) -> ClassSource:  # noqa: ANN401  (it looks like EC2's)
        if self.book is None:
            self.book = super()._class_source(client, calls, types, telemetry).book()
        return FixedClasses(self.book)
