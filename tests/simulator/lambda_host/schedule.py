"""A schedule that invokes a function every so often, whether or not the last invocation has ended."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tests.simulator.lambda_host.environment import Completed
from tests.simulator.lambda_host.host import LambdaHost
from tests.simulator.lambda_host.moments import ANYWHERE, moments


class Schedule:
    """Fires once in each period, anywhere in it, until it is closed."""

    def __init__(
        self,
        host: LambdaHost,
        *,
        period_seconds: float,
        seed: str,
        jitter: tuple[float, float] = ANYWHERE,
        on_completed: Callable[[Completed], None] = lambda _: None,
    ) -> None:
        """Begin the first period.

        Args:
            seed: of the moments within the periods; see `moments`, also for `jitter`.
        """
        self._host = host
        self._moments = moments(seed, period_seconds=period_seconds, jitter=jitter)
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
        began = time.monotonic()
        for seconds in self._moments:
            if self._closing.wait(max(0.0, began + seconds - time.monotonic())):
                return
            thread = threading.Thread(target=self._fire, daemon=True)
            self._invocations.append(thread)
            thread.start()

    def _fire(self) -> None:
        self._on_completed(self._host.invoke({"source": "aws.scheduler", "time": datetime.now(UTC).isoformat()}))
