"""The computers behind a fake EC2: boots each of its instances as a local VM with a metadata service."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tests.simulator.vm.imds import FakeImds, MachineIdentity
from tests.simulator.vm.process import BootableInstance, LocalVm


class LaunchedInstance(BootableInstance, Protocol):
    """An instance as the fake EC2 describes it."""

    @property
    def instance_type(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def metadata_tags(self) -> Mapping[str, str] | None: ...


class LocalMachines:
    """Boots instances, and can end all that it booted."""

    def __init__(
        self,
        *,
        directory: Path,
        imds: FakeImds,
        environment: Mapping[str, str],
        region: str,
        account_id: str,
        agent_binary: Path | None,
        on_poweroff: Callable[[str], None],
        world: str | None = None,
    ) -> None:
        """Prepare to boot; arguments as for `LocalVm.start`, with `on_poweroff` given the instance id."""
        self._directory = directory
        self._imds = imds
        self._environment = dict(environment)
        self._region = region
        self._account_id = account_id
        self._agent_binary = agent_binary
        self._on_poweroff = on_poweroff
        self._world = world
        self._lock = threading.Lock()
        self._vms: dict[str, LocalVm] = {}

    def boot(self, instance: LaunchedInstance) -> LocalVm:
        """Start the instance's VM; the answer's `stop()` ends it."""
        instance_id = instance.instance_id
        self._imds.add(
            MachineIdentity(
                instance_id=instance_id,
                region=self._region,
                account_id=self._account_id,
                zone=instance.zone,
                instance_type=instance.instance_type,
                tags=instance.metadata_tags,
            ),
            self._directory / instance_id,
        )
        vm = LocalVm.start(
            instance=instance,
            directory=self._directory / instance_id,
            imds_url=self._imds.url_of(instance_id),
            environment=self._environment,
            agent_binary=self._agent_binary,
            on_poweroff=lambda: self._on_poweroff(instance_id),
            world=self._world,
        )
        with self._lock:
            self._vms[instance_id] = vm
        return vm

    def vm(self, instance_id: str) -> LocalVm:
        """The VM of an instance that was booted.

        Raises:
            KeyError: it never was.
        """
        with self._lock:
            return self._vms[instance_id]

    def said(self, instance_id: str) -> str:
        """What its console shows; nothing of one that EC2 calls running and that is not booted yet."""
        with self._lock:
            vm = self._vms.get(instance_id)
        return "" if vm is None else vm.console()

    def close(self) -> None:
        """End every VM and wait for the last word of each."""
        with self._lock:
            vms = list(self._vms.values())
        for vm in vms:
            vm.stop()
        for vm in vms:
            vm.join()
