"""What a command line of systemd-run asks for, read as strictly as systemd reads it.

Options and properties that this list does not know are refused, so a boot program cannot lean on one that nothing
here acts on.
"""

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_IGNORED = frozenset(
    {
        "After",
        "MemoryMax",
        "NoNewPrivileges",
        "OOMPolicy",
        "OOMScoreAdjust",
        "PrivateNetwork",
        "PrivateTmp",
        "ProtectSystem",
        "ReadWritePaths",
        "TasksMax",
        "Type",
        "User",
    }
)
"""The order is the newest first; all run as one user, who sees all files and the network; nobody is short of memory."""

_ACTED_UPON = frozenset(
    {
        "CacheDirectory",
        "EnvironmentFile",
        "FailureAction",
        "IPAddressDeny",
        "KillMode",
        "KillSignal",
        "LimitCORE",
        "RuntimeDirectory",
        "RuntimeMaxSec",
        "StandardError",
        "StandardOutput",
        "StateDirectory",
        "SuccessAction",
        "TimeoutStopSec",
    }
)
_LISTS = frozenset({"IPAddressDeny"})


class RefusedError(Exception):
    """systemd would refuse this: the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRequest:
    """One transient unit."""

    name: str
    command: tuple[str, ...]
    properties: dict[str, str] = field(default_factory=dict)
    on_active_seconds: float | None = None
    wait: bool = False
    collect: bool = False

    @property
    def kill_signal(self) -> signal.Signals:
        return signal.Signals[self.properties.get("KillSignal", "SIGTERM")]

    @property
    def stop_seconds(self) -> float:
        return float(self.properties.get("TimeoutStopSec", "90"))

    @property
    def most_seconds(self) -> float | None:
        """After which the unit is stopped (RuntimeMaxSec); None for never."""
        stated = self.properties.get("RuntimeMaxSec")
        return None if stated is None else float(stated)

    @property
    def spares_children(self) -> bool:
        """Whether a stop signals the main process only (KillMode=mixed)."""
        return self.properties.get("KillMode") == "mixed"

    def end_action(self, code: int) -> str:
        return self.properties.get("SuccessAction" if code == 0 else "FailureAction", "none")


def parse_systemd_run(arguments: Sequence[str]) -> UnitRequest:
    """Read systemd-run's arguments.

    Raises:
        RefusedError: an option or property is unknown, or there is nothing to run.
    """
    words = iter(arguments)
    properties: dict[str, str] = {}
    values: dict[str, str] = {}
    flags: set[str] = set()
    command: tuple[str, ...] = ()
    for word in words:
        option, equals, given = word.partition("=")
        match option:
            case "-p" | "--property":
                name, _, value = (given if equals else _next(words, option)).partition("=")
                if name not in _IGNORED | _ACTED_UPON:
                    raise RefusedError(f"Unknown assignment: {name}={value}")
                before = properties.get(name) if name in _LISTS else None
                properties[name] = f"{before} {value}" if before else value
            case "-u" | "--unit":
                values["name"] = given if equals else _next(words, option)
            case "--on-active":
                values["on_active"] = given
            case "-q" | "--quiet" | "--wait" | "--collect" | "--timer-property":
                flags.add(option)
            case _ if option.startswith("-"):
                raise RefusedError(f"systemd-run: unrecognized option '{word}'")
            case _:
                command = (word, *words)
    if not command or "name" not in values:
        raise RefusedError("systemd-run: a unit name and a command line are required")
    on_active = values.get("on_active")
    return UnitRequest(
        name=values["name"].removesuffix(".service"),
        command=command,
        properties=properties,
        on_active_seconds=float(on_active.removesuffix("s")) if on_active else None,
        wait="--wait" in flags,
        collect="--collect" in flags,
    )


def _next(words: Iterator[str], option: str) -> str:
    try:
        return next(words)
    except StopIteration:
        raise RefusedError(f"systemd-run: option '{option}' requires an argument") from None


_ESCAPED = re.compile(r'\\(["\\`$])')
_ASSIGNMENT = re.compile(
    r"""[ \t]*([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^"'\n\r]*))[ \t]*[\r\n]+""", re.DOTALL
)


def parse_environment_file(text: str) -> dict[str, str]:
    """Read such a file as systemd does: quotes, and what backslashes mean in them or without, included.

    Source: systemd.exec(5), EnvironmentFile=.

    Raises:
        RefusedError: something stands in it that is no assignment; systemd passes over it with a warning.
    """
    found: dict[str, str] = {}
    rest = "".join(line for line in _lines(text) if not line.lstrip().startswith(("#", ";")) and line.strip())
    while rest.strip():
        assignment = _ASSIGNMENT.match(rest)
        if assignment is None:
            raise RefusedError(f"no assignment: {rest.partition(chr(10))[0]}")
        name, double, single, bare = assignment.groups()
        if double is not None:
            found[name] = _ESCAPED.sub(r"\1", double)
        else:
            found[name] = single if single is not None else re.sub(r"\\(.)", r"\1", bare.strip())
        rest = rest[assignment.end() :]
    return found


def _lines(text: str) -> list[str]:
    """Whole assignments: a quoted value may go over several lines."""
    whole: list[str] = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if whole and len(re.findall(r'(?<!\\)(?:\\\\)*"', whole[-1])) % 2:
            whole[-1] += line
        else:
            whole.append(line if line.endswith("\n") else f"{line}\n")
    return whole
