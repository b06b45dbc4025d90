"""Trials of mutants end with whoever started them."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.mutants.worker import Worker

PROGRAM = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"


def _is_up(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_trial_ends_when_its_warm_process_is_killed(tmp_path: Path) -> None:
    """As when somebody kills `scripts/mutate`: a trial went on for minutes, and nobody read what it said."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "sleeper.py").write_text(PROGRAM)
    worker = Worker(copy)
    ended: list[str] = []

    def run() -> None:
        try:
            worker.run(["sleeper"])
        except RuntimeError as error:
            ended.append(str(error))

    asking = threading.Thread(target=run)
    asking.start()
    said = copy / "pid"
    deadline = time.monotonic() + 60
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    trial = int(said.read_text())
    assert _is_up(trial)
    os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _is_up(trial) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = _is_up(trial)
    if left:
        os.kill(trial, signal.SIGKILL)
    asking.join(10)
    worker.close()
    assert not left
    assert ended == ["warm.py ended; it was asked for sleeper"]
