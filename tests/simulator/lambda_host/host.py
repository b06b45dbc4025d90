"""One function: as many execution environments as are needed at a time, kept warm between invocations."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.simulator.lambda_host.environment import Completed, ExecutionEnvironment

MOST_AT_ONCE = 4
"""Of one function, as docs/getting-started.md says. Without a bound, a slow machine, on which each invocation waits
for the one before it, gets more processes with every period of the schedule, and so gets slower."""

THROTTLED = "TooManyRequestsException: Rate Exceeded."


class LambdaHost:
    """Invokes a function; a second invocation during the first gets an environment of its own."""

    def __init__(
        self,
        *,
        function: str,
        handler: str,
        environment: Mapping[str, str],
        code_directory: Path,
        timeout_seconds: float,
        memory_mib: int,
        runtime: Path | None = None,
        on_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start nothing yet.

        Args:
            memory_mib, runtime: see `ExecutionEnvironment`.
            environment: all that the function's process is given.
            on_line: called with each line that the function writes.
        """
        self._make: partial[ExecutionEnvironment] = partial(
            ExecutionEnvironment,
            handler=handler,
            function=function,
            environment=environment,
            code_directory=code_directory,
            timeout_seconds=timeout_seconds,
            memory_mib=memory_mib,
            runtime=runtime,
            on_line=on_line,
        )
        self._lock = threading.Lock()
        self._idle: list[ExecutionEnvironment] = []
        self._all: list[ExecutionEnvironment] = []
        self._retired: set[ExecutionEnvironment] = set()
        self._busy = 0
        self._closed = False

    def update(
        self, *, handler: str, environment: Mapping[str, str], code_directory: Path, timeout_seconds: float
    ) -> None:
        """Change code and configuration: invocations that run end with the old ones, later ones get the new ones."""
        with self._lock:
            self._make = partial(
                self._make,
                handler=handler,
                environment=environment,
                code_directory=code_directory,
                timeout_seconds=timeout_seconds,
            )
            idle, self._idle = self._idle, []
            self._retired.update(self._all)
        for each in idle:
            each.close()

    def invoke(self, event: Mapping[str, Any]) -> Completed:
        """One invocation."""
        with self._lock:
            if self._closed:
                return Completed(error="the host is closed")
            if self._busy >= MOST_AT_ONCE:
                return Completed(error=THROTTLED)
            self._busy += 1
            self._idle = [environment for environment in self._idle if environment.alive]
            environment = self._idle.pop() if self._idle else self._make()
            if environment not in self._all:
                self._all.append(environment)
        completed = environment.invoke(event)
        with self._lock:
            self._busy -= 1
            retired = environment in self._retired
            if environment.alive and not retired and not self._closed:
                self._idle.append(environment)
        if retired:
            environment.close()
        return completed

    def kill(self) -> int:
        """Kill all its processes in the middle of whatever they do; how many. The next invocation gets a new one."""
        with self._lock:
            alive = [environment for environment in self._all if environment.alive]
        for environment in alive:
            environment.kill()
        return len(alive)

    def close(self) -> None:
        """End every environment."""
        with self._lock:
            self._closed = True
            environments = tuple(self._all)
        for environment in environments:
            environment.close()
