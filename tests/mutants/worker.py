"""Where trials run: a copy of the repository, and the warm process that forks a child for each."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WARM = Path(__file__).with_name("warm.py")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        status: its exit status; None where it took too long.
        stdout: what it said.
        stderr: what it said beside.
    """

    status: int | None
    stdout: str
    stderr: str


class Worker:
    """One copy and its process, which ends with the process that made it. Used by one thread at a time."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        # Without the repository's path and without the script's: a child finds each module in its copy.
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WARM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=bare
        )

    @property
    def pid(self) -> int:
        """Of the warm process."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, arguments: Sequence[str], seconds: float | None = None) -> Ended:
        """`python -m` with these arguments, in the copy.

        Raises:
            RuntimeError: the warm process is gone.
        """
        stdout, stderr = (self.copy.with_name(f"{self.copy.name}-{stream}") for stream in ("stdout", "stderr"))
        task = {
            "arguments": list(arguments),
            "copy": str(self.copy),
            "seconds": seconds,
            "stdout": str(stdout),
            "stderr": str(stderr),
            "environment": {
                "PYTHONPATH": os.pathsep.join(str(self.copy / part) for part in ("functions", "scripts", ".")),
                "PYTHONPYCACHEPREFIX": f"{self.copy}-bytecode",
            },
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{WARM.name} ended; it was asked for {' '.join(arguments)}")
        return Ended(json.loads(answer)["status"], stdout.read_text(), stderr.read_text())
