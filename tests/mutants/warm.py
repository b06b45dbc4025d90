"""A process that has the libraries loaded and forks a child for each trial: loading them was most of a short trial.

Run as a script, so that nothing of the repository is loaded before a child goes into its copy. Each line of its input
is a task, each line of its output the end of one.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TypedDict

LIBRARIES = (
    "aws_lambda_powertools", "boto3", "botocore.session", "httpx", "hypothesis.strategies", "jsonschema", "moto",
    "moto.dynamodb.models", "moto.dynamodb.responses", "pydantic", "pydantic_settings", "rich.console", "typer", "yaml",
)  # fmt: skip
"""Those that most trials load; one that is not installed costs each trial its own time, and nothing else."""


PR_SET_PDEATHSIG = 1  # prctl(2)


class Task(TypedDict):
    """`python -m` with these arguments in that copy; its output goes to those files. Seconds: None for no bound."""

    arguments: list[str]
    copy: str
    seconds: float | None
    stdout: str
    stderr: str
    environment: dict[str, str]


def end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone: a trial without a reader would burn a core."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def load() -> None:
    """Load pytest with its plugins the way it wants to, then the libraries."""
    import pytest  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as empty:
        configuration = Path(empty, "pytest.ini")
        configuration.write_text("[pytest]\n")
        pytest.main(["-q", "-p", "no:cacheprovider", "-c", str(configuration), empty])
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def serve() -> None:
    """One task after the other, until the input ends."""
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        load()
    for line in sys.stdin:
        task: Task = json.loads(line)
        child = os.fork()
        if child == 0:
            _play(task)
        answers.write(json.dumps({"status": _wait(child, task["seconds"])}) + "\n")


def _wait(child: int, seconds: float | None) -> int | None:
    """The child's exit status, None where it took too long."""
    late = False

    def end(*_: object) -> None:
        nonlocal late
        late = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return None if late else os.waitstatus_to_exitcode(status)


def _play(task: Task) -> None:
    """Be that module's process."""
    status = 1
    try:
        end_with_parent()
        os.setpgid(0, 0)
        module, *arguments = task["arguments"]
        for stream, name in ((0, os.devnull), (1, task["stdout"]), (2, task["stderr"])):
            opened = os.open(name, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, stream)
        os.chdir(task["copy"])
        os.environ.update(task["environment"])
        sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  (the child must end here, whatever came up)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
