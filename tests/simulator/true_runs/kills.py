"""What dies at which millisecond of a true run, by the seed alone; and the hand that does it."""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import psutil

from agent_stack.adapters.ec2.requests import INTENT_TAG
from tests.simulator.vm.process import LocalVm
from tests.simulator.world import World


class Victim(StrEnum):
    """What is killed."""

    DISPATCHER = "dispatcher"
    TRACKER = "tracker"
    BOOT_PROGRAM = "boot program"
    HOST = "host"  # the hardware under a VM


VICTIMS = (Victim.DISPATCHER,) * 4 + (Victim.TRACKER,) * 4 + (Victim.BOOT_PROGRAM,) * 3 + (Victim.HOST,)
FIRST, LAST = 1.0, 40.0
"""Seconds. Later than that most runs are nearly over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One death. `choice` is a number from 0 to 1, which chooses among the VMs of that moment."""

    at_seconds: float
    victim: Victim
    choice: float


def kills(seed: int, count: int) -> Sequence[Kill]:
    """The deaths of a run, in order."""
    chance = random.Random(f"{seed} kills")
    found = [
        Kill(at_seconds=round(chance.uniform(FIRST, LAST), 3), victim=chance.choice(VICTIMS), choice=chance.random())
        for _ in range(count)
    ]
    return sorted(found, key=lambda kill: kill.at_seconds)


class Killer:
    """Carries out a plan in a thread of its own."""

    def __init__(self, world: World, plan: Sequence[Kill]) -> None:
        self._world = world
        self._plan = plan
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.done: list[Kill] = []
        """Those that met somebody."""
        self.vms: set[str] = set()
        """The instances that died so, their boot programs' included."""

    def start(self) -> None:
        """Begin to count the seconds."""
        self._thread.start()

    def close(self) -> None:
        """Kill nothing more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        for kill in self._plan:
            if self._closing.wait(max(0.0, began + kill.at_seconds - time.monotonic())):
                return
            if self._carry_out(kill):
                self.done.append(kill)

    def _carry_out(self, kill: Kill) -> bool:
        if kill.victim in (Victim.DISPATCHER, Victim.TRACKER):
            return self._world.hosts[kill.victim.value].kill() > 0
        up = [
            instance.instance_id
            for instance in self._world.ec2.instances()
            if instance.state == "running" and INTENT_TAG in instance.tags
        ]
        if not up:
            return False
        instance_id = up[int(kill.choice * len(up))]
        self.vms.add(instance_id)
        if kill.victim is Victim.HOST:
            self._world.ec2.lose_host(instance_id)
            return True
        with suppress(KeyError):  # EC2 calls it running a moment before it boots
            return _kill_boot_program(self._world.machines.vm(instance_id))
        return False


def _kill_boot_program(vm: LocalVm) -> bool:
    found = False
    for process in vm.processes():
        with suppress(psutil.Error):
            if (process.cmdline() or [""])[-1].endswith("/boot.sh"):
                process.kill()
                found = True
    return found
