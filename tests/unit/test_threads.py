"""The hands beside a cycle, as they are on Lambda."""

import threading
from datetime import timedelta

import pytest

from agent_stack.adapters.system import Threads
from agent_stack.domain.errors import RetryError

SECOND = timedelta(seconds=1)


def test_what_is_submitted_goes_on_beside_and_is_collected_later() -> None:
    workers, gate = Threads(), threading.Event()
    held, free = workers.submit(lambda: gate.wait(5)), workers.submit(lambda: "done")
    workers.wait([free], SECOND)
    assert (free.done(), free.result(), held.done()) == (True, "done", False)
    gate.set()
    workers.wait([held], SECOND)
    assert held.result()


def test_waiting_ends_with_its_time() -> None:
    workers, gate = Threads(), threading.Event()
    held = workers.submit(lambda: gate.wait(5))
    workers.wait([held], timedelta(milliseconds=10))
    assert not held.done()
    gate.set()


def test_a_failure_is_the_collectors() -> None:
    def fail() -> None:
        raise RetryError("not now")

    workers = Threads()
    task = workers.submit(fail)
    workers.wait([task], SECOND)
    with pytest.raises(RetryError):
        task.result()
