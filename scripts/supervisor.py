"""Runs a script's work so that Ctrl-C ends all of it within a second, with one line, and leaves nothing behind.

`python scripts/supervisor.py NAME COMMAND …`; every script runs itself under this (see scripts/begin). The standard
library only: it runs before the environment is made.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

GIVE_UP_SECONDS = 0.8
SET_CHILD_SUBREAPER = 36  # prctl(2)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Somebody ended the script. Not an Exception: nothing may catch it and go on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(name: str, command: list[str]) -> int:
    """Run it; its exit status, or 128 and the signal's number when a signal ended it."""
    _adopt_orphans()
    # Files that are killed with their owner would stay; here they go with the script.
    scratch = tempfile.mkdtemp(prefix=f"{Path(name).name.strip('.')}-")
    environment = {
        "PYTEST_DEBUG_TEMPROOT": tempfile.gettempdir(),  # a failed test's files are to be looked at afterwards
        **os.environ,
        "TMPDIR": scratch,
    }
    try:
        for number in ENDING:
            signal.signal(number, _end)
        child = subprocess.Popen(  # noqa: S603  (the script itself)
            command,
            env=environment,
            preexec_fn=_deaf,  # noqa: PLW1509  (there are no threads)
        )
        status = child.wait()
    except Ended as ended:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        _kill_all()
        word = "interrupted" if ended.number == signal.SIGINT else f"ended by {signal.Signals(ended.number).name}"
        sys.stderr.write(f"{name}: {word}\n")
        status = 128 + ended.number
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)


def _deaf() -> None:
    """A terminal sends Ctrl-C to all of them; only this process is to hear it, and to say one line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _adopt_orphans() -> None:
    """Where that can be had, whatever loses its parent becomes a child of this process, and can be found."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_all() -> None:
    """Kill every descendant, and those that they start meanwhile, until there is none."""
    retry_until = time.monotonic() + GIVE_UP_SECONDS
    while (left := _descendants()) and time.monotonic() < retry_until:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _descendants() -> list[int]:
    """The ids of all processes under this one, parents first."""
    children = defaultdict(list)
    for process, parent in _processes():
        children[parent].append(process)
    found, look_under = [], [os.getpid()]
    while look_under:
        under = children[look_under.pop()]
        found += under
        look_under += under
    return found


def _processes() -> list[tuple[int, int]]:
    """Every process there is, each with its parent."""
    found = []
    if sys.platform == "linux":
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                with contextlib.suppress(OSError):  # it is gone meanwhile
                    # The name stands in parentheses, and may hold anything.
                    after_name = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    found.append((int(directory.name), int(after_name[1])))
        return found
    listing = subprocess.Popen(["/bin/ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True)
    for line in listing.communicate()[0].splitlines():
        process, parent = map(int, line.split())
        if process != listing.pid:
            found.append((process, parent))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
