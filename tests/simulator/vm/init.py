"""The first process of a local VM: runs its user data, its units and its power-off, as systemd does on EC2.

Every process of the VM descends from this one and, since it is their subreaper, comes back to it when orphaned: so a
power-off finds them all. It halts when told to power off, on SIGTERM, and when its standard input closes, which
happens by itself when whoever started it dies. Exit code 0 means that the VM powered itself off; 3 that it was halted.

Run as `python -m tests.simulator.vm.init DIRECTORY USER_DATA_FILE` with the VM's environment and nothing else.
"""

import ast
import asyncio
import ctypes
import itertools
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.simulator.vm.units import RefusedError, UnitRequest, parse_environment_file, parse_systemd_run

POWERED_OFF, HALTED = 0, 3
AS_BORN = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE]
"""systemd starts units with signals as they are by default, whatever whoever started the tests ignores."""

METADATA_ADDRESS = "169.254.169.254"
DENIED = "denied"
"""Last in the line of a unit that was asked for and refused, because the machine is going down."""

DENIED_METADATA = "denied-metadata"
"""Of a VM: the main processes of units that may not reach the metadata service."""

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True, kw_only=True)
class Unit:
    """A unit that was started; `code` is set when its main process has ended."""

    request: UnitRequest
    pid: int
    invocation: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0


class Init:
    """One machine's process table and service manager."""

    def __init__(self, directory: Path, user_data: Path) -> None:
        self._directory = directory
        self._user_data = user_data
        self._environment = dict(os.environ)
        self._console = directory / "console.log"
        self._units: dict[str, Unit] = {}  # in the order they were started
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._down: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._powering_off = False
        self._invocations = itertools.count(1)

    async def run(self) -> int:
        """Boot, serve until the machine goes down, and leave no process behind."""
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGTERM, self._halt)
        loop.add_reader(sys.stdin.fileno(), self._halt)  # readable only by its end
        server = await asyncio.start_unix_server(self._serve, path=f"\0{os.environ['LOCAL_VM']}")
        self._spawn((str(self._user_data),), self._environment, output=self._console)
        code = await self._down
        server.close()
        loop.remove_signal_handler(signal.SIGCHLD)
        _kill_descendants()
        return code

    # --- requests of the shims ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        program, *arguments = ast.literal_eval((await reader.readline()).decode())
        denied = [DENIED] if program == "systemd-run" and self._powering_off else []
        with (self._directory / "effects.log").open("a") as effects:
            effects.write(" ".join([program, *arguments, *denied]) + "\n")
        try:
            code = await self._perform(program, arguments)
            error = ""
        except RefusedError as refusal:
            code, error = 1, str(refusal)
        writer.write(f"{code} {error}".encode())
        writer.close()

    async def _perform(self, program: str, arguments: list[str]) -> int:
        match program, arguments:
            case "systemd-run", _:
                return await self._systemd_run(parse_systemd_run(arguments))
            case ("systemctl", ["poweroff", *_]) | ("poweroff" | "shutdown" | "halt" | "reboot", _):
                self._power_off()
            case "systemctl", ["is-active", "--quiet", name]:
                unit = self._units.get(name)
                return 0 if unit is not None and not unit.ended.is_set() else 3
            case "systemctl", ["kill", "--kill-who=main", option, name] if option.startswith("--signal="):
                unit = self._units.get(name)
                if unit is None or unit.ended.is_set():
                    raise RefusedError(f"Failed to kill unit {name}.service: Unit {name}.service not loaded.")
                os.kill(unit.pid, signal.Signals[option.removeprefix("--signal=")])
            case "systemctl", ["stop", *names]:
                await self._stop_all(names)
            case "pkill", ["-KILL", "-u", user]:
                processes = self._of_user(user)
                _signal_all(processes, signal.SIGKILL)
                return 0 if processes else 1
            case "pgrep", ["-u", user]:
                return 0 if self._of_user(user) else 1
            case ("systemctl", ["set-time", *_] | ["start", "docker"] | ["daemon-reload"]) | (
                "useradd" | "usermod" | "dnf" | "ip",
                _,
            ):
                pass  # recorded, and that is all: the host keeps its clock, its users, its packages and its routes
            case _:
                raise RefusedError(f"{program} {' '.join(arguments)}: no such thing on a local VM")
        return 0

    async def _systemd_run(self, request: UnitRequest) -> int:
        if request.on_active_seconds is not None:
            if request.name in self._timers:
                raise RefusedError(f"Failed to start transient timer unit: Unit {request.name}.timer already exists.")
            later = asyncio.get_running_loop().call_later(request.on_active_seconds, self._elapse, request)
            self._timers[request.name] = later
            return 0
        unit = self._start(request)
        if not request.wait:
            return 0
        await unit.ended.wait()
        return unit.code if unit.code >= 0 else 255  # what systemd-run answers for a death by signal

    # --- units ---

    def _elapse(self, request: UnitRequest) -> None:
        with suppress(RefusedError):  # nobody is there to be told
            self._start(request)

    def _admit(self, request: UnitRequest) -> None:
        if self._powering_off:
            raise RefusedError(
                f"Failed to start transient unit: Transaction for {request.name}.service/start is destructive "
                "(shutdown.target has 'start' job queued, but 'stop' is included in transaction)."
            )
        previous = self._units.get(request.name)
        if previous is not None and not (previous.ended.is_set() and previous.request.collect):
            raise RefusedError(f"Failed to start transient unit: Unit {request.name}.service already exists.")

    def _start(self, request: UnitRequest) -> Unit:
        self._admit(request)
        invocation = f"{os.environ['LOCAL_VM']}/{next(self._invocations)}"
        environment = {**self._environment, "INVOCATION_ID": invocation}
        for variable, property_name, parent in (
            ("RUNTIME_DIRECTORY", "RuntimeDirectory", "run"),
            ("STATE_DIRECTORY", "StateDirectory", "var/lib"),
            ("CACHE_DIRECTORY", "CacheDirectory", "var/cache"),
        ):
            if name := request.properties.get(property_name):
                path = self._directory / parent / name
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
                environment[variable] = str(path)
        if "User" not in request.properties:
            environment.pop("HOME", None)  # systemd sets it with a user only
        if file := request.properties.get("EnvironmentFile"):
            try:
                environment |= parse_environment_file(Path(file).read_text())
            except OSError as error:
                raise RefusedError(f"Failed to load environment files: {error}") from error
        target = request.properties.get("StandardOutput", "journal")
        appended = target.startswith("append:")
        output = Path(target.removeprefix("append:")) if appended else self._console
        command = request.command
        if limit := request.properties.get("LimitCORE"):  # before it runs: ssh-agent lets nobody set its limits later
            command = ("/bin/sh", "-c", 'ulimit -c "$0" && exec "$@"', str(limit), *command)
        try:
            pid = self._spawn(command, environment, output=output)
        except OSError as error:
            raise RefusedError(f"Job for {request.name}.service failed: {error}") from error
        if METADATA_ADDRESS in request.properties.get("IPAddressDeny", "").split():
            with (self._directory / DENIED_METADATA).open("a") as denied:  # enforced where the service is played
                denied.write(f"{pid}\n")
        unit = Unit(request=request, pid=pid, invocation=invocation)
        self._units[request.name] = unit
        if request.most_seconds is not None:
            asyncio.get_running_loop().call_later(request.most_seconds, self._overrun, unit)
        return unit

    def _overrun(self, unit: Unit) -> None:
        task = asyncio.get_running_loop().create_task(self._stop(unit))
        self._tasks.add(task)

    def _spawn(self, command: tuple[str, ...], environment: dict[str, str], *, output: Path) -> int:
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawnp(
            command[0],
            command,
            environment,
            setsid=True,
            setsigdef=AS_BORN,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(output), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for unit in [unit for unit in self._units.values() if unit.pid == pid and not unit.ended.is_set()]:
                unit.code = os.waitstatus_to_exitcode(status)
                _signal_all(_members(unit), signal.SIGKILL)  # what is left of the unit's control group
                unit.ended.set()
                if unit.request.end_action(unit.code).startswith("poweroff"):
                    self._power_off()

    async def _stop(self, unit: Unit) -> None:
        if unit.ended.is_set():
            return
        main_only = unit.request.spares_children
        targets = [process for process in _members(unit) if process.pid == unit.pid or not main_only]
        _signal_all(targets, unit.request.kill_signal)
        try:
            await asyncio.wait_for(unit.ended.wait(), unit.request.stop_seconds)
        except TimeoutError:
            _signal_all(_members(unit), signal.SIGKILL)

    async def _stop_all(self, names: list[str]) -> None:
        timers = {f"{name}.timer": name for name in self._timers}
        unknown = [name for name in names if name not in self._units and name not in timers]
        for name in names:
            if name in timers:
                self._timers.pop(timers[name]).cancel()
            elif name in self._units:
                await self._stop(self._units[name])
        if unknown:
            raise RefusedError("".join(f"Failed to stop {name}: Unit {name} not loaded.\n" for name in unknown).strip())

    def _of_user(self, user: str) -> list[psutil.Process]:
        """That user's processes: those of its units, for all run as whoever started the VM."""
        units = [unit for unit in self._units.values() if unit.request.properties.get("User") == user]
        found = {process.pid: process for unit in units for process in _members(unit)}
        return [process for process in found.values() if _runs(process)]

    # --- going down ---

    def _power_off(self) -> None:
        if self._powering_off:
            return
        self._powering_off = True
        task = asyncio.get_running_loop().create_task(self._shut_down())
        self._tasks.add(task)

    async def _shut_down(self) -> None:
        for unit in reversed(list(self._units.values())):
            await self._stop(unit)
        if not self._down.done():
            self._down.set_result(POWERED_OFF)

    def _halt(self) -> None:
        if not self._down.done():
            self._down.set_result(HALTED)


def _members(unit: Unit) -> list[psutil.Process]:
    """The unit's processes: its session, and whatever still carries its invocation id."""
    return [process for process in psutil.Process().children(recursive=True) if _belongs(process, unit)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, unit: Unit) -> bool:
    try:
        if process.pid == unit.pid or os.getsid(process.pid) == unit.pid:
            return True
        return process.environ().get("INVOCATION_ID") == unit.invocation
    except (psutil.Error, ProcessLookupError):
        return False  # gone meanwhile


def _signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _kill_descendants() -> None:
    """End every process of the machine; orphans come back to this process one generation at a time."""
    while children := psutil.Process().children(recursive=True):
        _signal_all(children, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


async def main() -> int:
    directory, user_data = Path(sys.argv[1]), Path(sys.argv[2])
    os.chdir(directory)
    return await Init(directory, user_data).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
