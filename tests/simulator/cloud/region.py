"""The instances of one account and region, and what time and power switches do to them."""

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
        return sum(i.state != "terminated" and i.pool == pool for i in self.instances.values())

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
        return self._interrupted.setdefault(instance_id, now + self.settings.spot_notice)

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due."""
        while (due := self.next_due()) is not None and due <= now:
            for instance in tuple(self.instances.values()):
                self._age(instance, due)

    def next_due(self) -> datetime | None:
        """When the next thing happens by itself."""
        pending = (i.running_at for i in self.instances.values() if i.state == "pending")
        ending = (i.terminated_at for i in self.instances.values() if i.state == "shutting-down" and i.terminated_at)
        return min((*pending, *ending, *self._interrupted.values()), default=None)

    def shown(self, instance: Instance, now: datetime) -> bool:
        """Whether answers contain it by now, and still."""
        ended = instance.terminated_at
        forgotten = instance.state == "terminated" and ended and now > ended + self.settings.terminated_shown
        hidden = instance.zone in self.hidden_zones
        return now >= instance.launched_at + self.settings.describe_lag and not forgotten and not hidden

    def console(self, instance_id: str) -> str:
        """The end of what the instance's computer has said, also after its end."""
        machine = self._consoles.get(instance_id)
        return machine.console()[-CONSOLE_CHARACTERS:] if machine else ""

    def tag(self, instance_id: str, tags: Mapping[str, str]) -> None:
        """Add tags."""
        instance = self.instances[instance_id]
        self.instances[instance_id] = replace(instance, tags={**instance.tags, **tags})

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
        self.instances[instance.instance_id] = instance
        self.events.append(StateChange(at=at, instance=instance))
