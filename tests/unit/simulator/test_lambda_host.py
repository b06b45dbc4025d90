"""What Lambda does with processes: a deployment lets invocations end, a dead process costs its own invocation only."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulator.lambda_host import MOST_AT_ONCE, THROTTLED, Completed, LambdaHost

HANDLER = """
import time
from pathlib import Path

def handle(event, context):
    Path(event["begun"]).touch()
    time.sleep(event["seconds"])
    return "{version}"
"""
SECONDS = 3.0  # longer than the other processes of a test take to start


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LambdaHost]:
    made = LambdaHost(
        function="f",
        handler="version_code.handle",
        environment={},
        code_directory=a_version(tmp_path, "old"),
        timeout_seconds=20,
        memory_mib=512,
    )
    yield made
    made.close()


def a_version(directory: Path, version: str) -> Path:
    (directory / version).mkdir()
    (directory / version / "version_code.py").write_text(HANDLER.format(version=version))
    return directory / version


def meanwhile(host: LambdaHost, begun: Path) -> tuple[threading.Thread, list[Completed]]:
    """An invocation that has begun and takes its time."""
    ended: list[Completed] = []
    event = {"seconds": SECONDS, "begun": str(begun)}
    thread = threading.Thread(target=lambda: ended.append(host.invoke(event)))
    thread.start()
    while not begun.exists():
        time.sleep(0.01)
    return thread, ended


def test_an_invocation_ends_with_the_code_it_began_with_and_the_next_one_has_the_new_code(
    host: LambdaHost, tmp_path: Path
) -> None:
    thread, ended = meanwhile(host, tmp_path / "begun")
    new = a_version(tmp_path, "new")
    host.update(handler="version_code.handle", environment={}, code_directory=new, timeout_seconds=20)
    thread.join()
    assert [completed.result for completed in ended] == ["old"]
    assert host.invoke({"seconds": 0, "begun": str(tmp_path / "again")}).result == "new"


def test_a_killed_process_ends_its_invocation_and_the_next_one_gets_another(host: LambdaHost, tmp_path: Path) -> None:
    thread, ended = meanwhile(host, tmp_path / "begun")
    assert host.kill() == 1
    thread.join()
    assert ended[0].error == "Runtime.ExitError: the runtime ended"
    assert host.invoke({"seconds": 0, "begun": str(tmp_path / "again")}).result == "old"


def test_no_more_invocations_run_at_once_than_the_stack_takes(host: LambdaHost, tmp_path: Path) -> None:
    running = [meanwhile(host, tmp_path / f"begun {number}")[0] for number in range(MOST_AT_ONCE)]
    assert host.invoke({"seconds": 0, "begun": str(tmp_path / "too many")}).error == THROTTLED
    for thread in running:
        thread.join()
    assert host.invoke({"seconds": 0, "begun": str(tmp_path / "again")}).error is None
