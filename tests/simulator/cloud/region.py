"""The instances of one account and region, and what time and power switches do to them."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from tests.simulator.cloud.instance import UP, Instance
from tests.simulator.cloud.network import Network
from tests.simulator.cloud.settings import Settings

BY_USER = "Client.UserInitiatedShutdown"
BY_ITSELF = "Client.InstanceInitiatedShutdown"
BY_SPOT = "Server.SpotInstanceTermination"
BY_HOST = "Server.InternalError"
NOT_BOOTED = "Client.InternalError"
CONSOLE_CHARACTERS = 64 * 1024  # source: GetConsoleOutput


class Machine(Protocol):
    """The computer behind a running instance."""

    def stop(self) -> None:
        """End it, whatever it is doing."""

    def console(self) -> str:
        """What it has written to its console."""


class Machines(Protocol):
    """Where instances run."""

    def boot(self, instance: Instance) -> Machine:
        """Start the instance's computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """An instance entered a state."""

    at: datetime
    instance: Instance


class Region:
    """Keeps instances. Not safe to use from several threads; what its machines do is left in `errands`."""

    def __init__(self, *, settings: Settings, seed: int, machines: Machines | None) -> None:
        self.settings = settings
        self.instances: dict[str, Instance] = {}
        self.network = Network(settings.subnets)
        self.events: deque[StateChange] = deque()
        self.errands: deque[Callable[[], None]] = deque()
        self.hidden_zones: set[str] = set()
        """Zones whose instances are missing from answers, as when a part of EC2 is ill."""
        self._random = random.Random(seed)
        self._machines = machines
        self._running: dict[str, Machine] = {}
        self._consoles: dict[str, Machine] = {}
        self._interrupted: dict[str, datetime] = {}
        self._due: list[tuple[datetime, int, str]] = []
        """What happens when, with the instance's place in the order of launches; some of it is out of date."""
        self._place: dict[str, int] = {}
        self._current: dict[str, Instance] = {}

    def launch(self, *, now: datetime, **attributes: Any) -> Instance:  # noqa: ANN401  (Instance's own)
        """One more instance, pending for a while."""
        shortest, longest = self.settings.pending
        drawn = shortest + self._random.random() * (longest - shortest)
        instance = Instance(
            instance_id=f"i-{self._random.getrandbits(68):017x}",
            launched_at=now,
            running_at=now + self.settings.pending_of.get(attributes["instance_type"], drawn),
            **attributes,
        )
        self.network.free[instance.subnet_id] -= 1
        self._set(instance, now)
        return instance

    def up_in(self, pool: str) -> int:
        """How many instances hold capacity of a pool."""
        return sum(i.state != "terminated" and i.pool == pool for i in self._current.values())

    def current(self, now: datetime) -> list[Instance]:
        """The instances that are not forgotten yet, oldest first: a day has tens of thousands that are."""
        for instance_id in [one for one, instance in self._current.items() if self._forgotten(instance, now)]:
            del self._current[instance_id]
        return list(self._current.values())

    def shut_down(self, instance_id: str, reason: str, now: datetime) -> Instance:
        """Begin to end an instance; nothing changes for one that is going already."""
        instance = self.instances[instance_id]
        if instance.state in {*UP, "stopping", "stopped"}:
            instance = replace(
                instance, state="shutting-down", reason=reason, terminated_at=now + self.settings.shutting_down
            )
            self._set(instance, now)
            machine = self._running.pop(instance_id, None)
            if machine is not None and reason != BY_ITSELF:
                self.errands.append(machine.stop)
        return instance

    def stop(self, instance_id: str, now: datetime) -> None:
        """Stop an instance, as a person does in the console; its disk stays."""
        instance = self.instances[instance_id]
        if instance.state == "running":
            self._set(replace(instance, state="stopped", reason=BY_USER), now)
            machine = self._running.pop(instance_id, None)
            if machine is not None:
                self.errands.append(machine.stop)

    def interrupt(self, instance_id: str, now: datetime) -> datetime:
        """Announce that a spot instance is taken back; when that will be."""
        at = self._interrupted.setdefault(instance_id, now + self.settings.spot_notice)
        heapq.heappush(self._due, (at, self._place[instance_id], instance_id))
        return at

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due; at one moment in the order of the launches."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, instance_id = heapq.heappop(self._due)
            self._age(self.instances[instance_id], due)

    def next_due(self) -> datetime | None:
        """When the next thing happens by itself."""
        while self._due and not self._happens(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _happens(self, due: datetime, _place: int, instance_id: str) -> bool:
        instance = self.instances[instance_id]
        by_itself = {"pending": instance.running_at, "shutting-down": instance.terminated_at}.get(instance.state)
        return due in (by_itself, self._interrupted.get(instance_id))

    def shown(self, instance: Instance, now: datetime) -> bool:
        """Whether answers contain it by now, and still."""
        hidden = instance.zone in self.hidden_zones
        shown = now >= instance.launched_at + self.settings.describe_lag and not hidden
        return shown and not self._forgotten(instance, now)

    def _forgotten(self, instance: Instance, now: datetime) -> bool:
        ended = instance.terminated_at
        return instance.state == "terminated" and ended is not None and now > ended + self.settings.terminated_shown

    def console(self, instance_id: str) -> str:
        """The end of what the instance's computer has said, also after its end."""
        machine = self._consoles.get(instance_id)
        return machine.console()[-CONSOLE_CHARACTERS:] if machine else ""

    def tag(self, instance_id: str, tags: Mapping[str, str]) -> None:
        """Add tags."""
        instance = self.instances[instance_id]
        self._keep(replace(instance, tags={**instance.tags, **tags}))

    def _age(self, instance: Instance, due: datetime) -> None:
        if self._interrupted.get(instance.instance_id, due) <= due and instance.instance_id in self._interrupted:
            del self._interrupted[instance.instance_id]
            instance = self.shut_down(instance.instance_id, BY_SPOT, due)
        if instance.state == "pending" and instance.running_at <= due and self._locked(instance):
            self.shut_down(instance.instance_id, NOT_BOOTED, due)
        elif instance.state == "pending" and instance.running_at <= due:
            self._set(replace(instance, state="running"), due)
            if self._machines is not None:
                self.errands.append(lambda: self._boot(instance.instance_id))
        elif instance.state == "shutting-down" and instance.terminated_at and instance.terminated_at <= due:
            self.network.free[instance.subnet_id] += 1
            self._set(replace(instance, state="terminated"), due)

    def _boot(self, instance_id: str) -> None:
        """Start the computer. Called without the lock: the instance may be going by the time it is up."""
        instance = self.instances[instance_id]
        if self._machines is None or instance.state != "running":
            return
        try:
            machine = self._machines.boot(instance)
        except OSError:
            self.shut_down(instance_id, NOT_BOOTED, instance.running_at)
            return
        self._running[instance_id] = self._consoles[instance_id] = machine
        if self.instances[instance_id].state != "running" and self._running.pop(instance_id, None) is not None:
            machine.stop()

    def _locked(self, instance: Instance) -> bool:
        return instance.image_id in self.settings.locked_images

    def _set(self, instance: Instance, at: datetime) -> None:
        self._keep(instance)
        place = self._place.setdefault(instance.instance_id, len(self._place))
        due = {"pending": instance.running_at, "shutting-down": instance.terminated_at}.get(instance.state)
        if due is not None:
            heapq.heappush(self._due, (due, place, instance.instance_id))
        self.events.append(StateChange(at=at, instance=instance))

    def _keep(self, instance: Instance) -> None:
        self.instances[instance.instance_id] = self._current[instance.instance_id] = instance
