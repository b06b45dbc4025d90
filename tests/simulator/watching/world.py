"""A universe whose functions measure as they do in production: gathered over an invocation, written at its end."""

import contextlib
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.measures import NAMESPACE
from agent_stack.ports import Telemetry
from tests.simulator.simulation.invocation import Invocation
from tests.simulator.simulation.simulation import Simulation
from tests.simulator.watching.metrics import MetricStore


class LogLines(io.StringIO):
    """Counts what is logged; keeps nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_written = 0

    def write(self, text: str) -> int:
        self.bytes_written += len(text.encode())
        return len(text)


class WatchedUniverse(Simulation):
    """Keeps what its functions wrote."""

    def __init__(self, **nature: Any) -> None:  # noqa: ANN401  (as a universe's)
        self.metrics = MetricStore()
        self.logs = LogLines()
        self._by_function: dict[str, PowertoolsTelemetry] = {}
        self._silent: set[str] = set()
        super().__init__(**nature)

    def silence(self, function: str) -> None:
        """From now on nothing invokes that function."""
        self._silent.add(function)

    def _invoke(self, function: str, *, scheduled: bool) -> None:
        if function not in self._silent:
            super()._invoke(function, scheduled=scheduled)

    def telemetry_of(self, function: str) -> Telemetry:
        """See `Simulation`."""
        if function not in self._by_function:
            logger = Logger(service=f"{function} of {id(self)}", level="INFO", location=None, stream=self.logs)
            self._by_function[function] = PowertoolsTelemetry(
                logger=logger, namespace=NAMESPACE, deployment=self.settings.deployment
            )
        return self._by_function[function]

    def run(self, seconds: float) -> None:
        """Let time pass. Whether promises are kept is for others to see: looking takes most of the time."""
        end = self.kernel.now() + timedelta(seconds=seconds)
        while (now := self.kernel.now()) < end:
            self.kernel.run_until(min(end, now + timedelta(seconds=0.5)))
            self._advance()

    def rest(self, invocation: Invocation) -> None:
        """An invocation is over, and writes what it measured. Its process serves a later one."""
        if not invocation.wired.process.alive:
            return
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self._by_function[invocation.function].flush()
        for line in out.getvalue().splitlines():
            self.metrics.take(line, self.kernel.now())
        self._warm[invocation.function].append(invocation.wired)

    def written(self) -> Mapping[tuple[str, str, frozenset[tuple[str, str]]], list[tuple[datetime, float]]]:
        """Every metric that has a value."""
        return {key: values for key, values in self.metrics.values.items() if values}
