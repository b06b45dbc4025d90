"""EC2 instances as local processes: each runs its user data for real and can harm nothing but itself.

A VM is one session of processes under a first process of its own (`init.py`). It knows what an instance knows, its
user data and its metadata service, writes under its own directory only, and finds programs of its own in front of all
that would act on the machine. Every process carries the variable LOCAL_VM, so whatever is left of one can be found.
"""

import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

HERE = Path(__file__).resolve().parent
AGENT_STUB = HERE / "agent_stub.py"
MARKER_VARIABLE = "LOCAL_VM"
STOCK_SSH = "Include {directory}/ssh_config.d/*.conf\nHost *\n    HashKnownHosts yes\n"
"""ssh's configuration as Ubuntu and Amazon Linux ship it."""

_REPOSITORY = HERE.parents[2]
_HALT_SECONDS = 10.0  # for the first process to end the others; past it they are killed from outside


class BootableInstance(Protocol):
    """What a local VM needs to know of its instance; everything else it asks its metadata service."""

    @property
    def instance_id(self) -> str: ...
    @property
    def user_data(self) -> bytes: ...


def default_world() -> str:
    """The marker of everything that this process starts."""
    return f"agent-stack-{os.getpid()}"


def leftover_processes(marker: str) -> list[psutil.Process]:
    """Every process whose LOCAL_VM starts with `marker`: a world's (see `default_world`) or one VM's."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone meanwhile, or somebody else's
            value = process.environ().get(MARKER_VARIABLE, "")
            if value == marker or value.startswith(f"{marker}/"):
                found.append(process)
    return found


class LocalVm:
    """One running VM. Make it with `start`."""

    def __init__(
        self,
        *,
        marker: str,
        directory: Path,
        process: subprocess.Popen[bytes],
        on_poweroff: Callable[[], None],
        short: Path,
    ) -> None:
        self._short = short
        self.marker = marker
        self.directory = directory
        self._process = process
        self._on_poweroff = on_poweroff
        self._lock = threading.Lock()
        self._stopped = False
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=marker, daemon=True)

    @classmethod
    def start(
        cls,
        *,
        instance: BootableInstance,
        directory: Path,
        imds_url: str,
        environment: Mapping[str, str],
        agent_binary: Path | None,
        on_poweroff: Callable[[], None],
        world: str | None = None,
    ) -> "LocalVm":
        """Boot the instance's user data.

        Args:
            instance: the id and the raw user data.
            directory: the VM's own; everything that it writes is in there. Made if absent.
            imds_url: the base URL of its metadata service.
            environment: endpoint variables such as AWS_ENDPOINT_URL_DYNAMODB, and nothing else that an instance
                would not have.
            agent_binary: the agent that the image carries, or None for an image without one.
            on_poweroff: called once, from another thread, when the VM powers itself off or its first process dies;
                not when `stop` ended it.
            world: the first part of the marker that all its processes carry.
        """
        marker = f"{world or default_world()}/{instance.instance_id}"
        for part in ("bin", "home", "tmp"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "bin" / "python3").symlink_to(Path(sys.executable).resolve())  # for the programs in shims/
        if agent_binary is not None:
            (directory / "bin" / "buildkite-agent").symlink_to(agent_binary.resolve())
        ssh = directory / "etc" / "ssh"
        if not (ssh / "ssh_config").exists():
            ssh.mkdir(parents=True, exist_ok=True)
            (ssh / "ssh_config").write_text(STOCK_SSH.format(directory=ssh))
        # A socket's path may have 107 characters. On an instance all are short; a test's directory alone may be longer.
        short = Path(tempfile.gettempdir(), f"vm-{uuid.uuid4().hex[:12]}")
        short.symlink_to(directory.resolve())
        user_data = directory / "user-data"
        user_data.write_bytes(instance.user_data)
        user_data.chmod(0o700)
        with (directory / "init.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.simulator.vm.init", short, user_data],
                cwd=_REPOSITORY,
                env={
                    "PATH": f"{HERE / 'shims'}:{directory / 'bin'}:{os.defpath}:/usr/sbin:/sbin",
                    "HOME": str(short / "home"),
                    "LOCAL_VM_ROOT": str(directory),
                    "GIT_CONFIG_SYSTEM": str(directory / "etc" / "gitconfig"),
                    "TMPDIR": str(directory / "tmp"),
                    "CONFIGURATION_DIRECTORY": str(directory / "etc" / "buildkite-agent"),
                    "SSH_DIRECTORY": str(directory / "etc" / "ssh"),
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds_url,
                    "BORN": Path("/proc/uptime").read_text().partition(".")[0],  # its kernel is older than the VM
                    **environment,
                    MARKER_VARIABLE: marker,
                },
                stdin=subprocess.PIPE,  # its end is the end of the VM, even when this process is killed
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        vm = cls(marker=marker, directory=directory, process=process, on_poweroff=on_poweroff, short=short)
        vm._watcher.start()
        return vm

    def stop(self) -> None:
        """End the VM and every process of it, for certain; at once if it has ended already."""
        with self._lock:
            self._stopped = True
        self._close_stdin()
        if not self._ended.wait(_HALT_SECONDS):
            self._process.kill()
            self._ended.wait()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the VM has ended and said so, at most `timeout` seconds; whether it has."""
        self._watcher.join(timeout)
        return not self._watcher.is_alive()

    def alive(self) -> bool:
        return not self._ended.is_set()

    def console(self) -> str:
        """What the VM has written to its console so far."""
        return _text(self.directory / "console.log")

    def effects(self) -> list[str]:
        """The command lines that would have acted on the machine, in order: units, power-off, users, clock."""
        return _text(self.directory / "effects.log").splitlines()

    def processes(self) -> list[psutil.Process]:
        return leftover_processes(self.marker)

    def _watch(self) -> None:
        self._process.wait()
        self._close_stdin()
        while left := self.processes():
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        self._short.unlink(missing_ok=True)
        with self._lock:
            tell = not self._stopped
            self._ended.set()
        if tell:
            self._on_poweroff()

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
