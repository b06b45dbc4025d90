"""News that invoke a function in batches, as a queue with a batching window does; never one invocation each."""

import threading
from collections.abc import Callable

from tests.simulator.lambda_host.environment import Completed
from tests.simulator.lambda_host.host import LambdaHost


class Wakes:
    """Collects messages for a moment and hands them over together, at most one batch at a time."""

    def __init__(
        self, host: LambdaHost, *, window_seconds: float, on_completed: Callable[[Completed], None] = lambda _: None
    ) -> None:
        self._host = host
        self._window_seconds = window_seconds
        self._on_completed = on_completed
        self._lock = threading.Lock()
        self._messages: list[str] = []
        self._arrived = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, message: str) -> None:
        """One message."""
        with self._lock:
            self._messages.append(message)
        self._arrived.set()

    def close(self) -> None:
        """Hand over no more."""
        self._closing.set()
        self._arrived.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._arrived.wait()
            self._closing.wait(self._window_seconds)
            self._arrived.clear()
            with self._lock:
                batch, self._messages = self._messages, []
            if batch and not self._closing.is_set():
                records = [{"eventSource": "aws:sqs", "body": message} for message in batch]
                self._on_completed(self._host.invoke({"Records": records}))
