"""A schedule that invokes a function every so often, whether or not the last invocation has ended."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from tests.simulator.lambda_host.environment import Completed
from tests.simulator.lambda_host.host import LambdaHost


class Schedule:
    """Fires at once and then at its period, until it is closed."""

    def __init__(
        self, host: LambdaHost, *, period_seconds: float, on_completed: Callable[[Completed], None] = lambda _: None
    ) -> None:
        self._host = host
        self._period_seconds = period_seconds
        self._on_completed = on_completed
        self._closing = threading.Event()
        self._invocations: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Fire no more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            thread = threading.Thread(target=self._fire, daemon=True)
            self._invocations.append(thread)
            thread.start()
            self._closing.wait(self._period_seconds)

    def _fire(self) -> None:
        self._on_completed(self._host.invoke({"source": "aws.scheduler", "time": datetime.now(UTC).isoformat()}))
