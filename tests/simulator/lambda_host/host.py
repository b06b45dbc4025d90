"""One function: as many execution environments as are needed at a time, kept warm between invocations."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.simulator.lambda_host.environment import Completed, ExecutionEnvironment


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
        self._make: Callable[[], ExecutionEnvironment] = lambda: ExecutionEnvironment(
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
        self._closed = False

    def invoke(self, event: Mapping[str, Any]) -> Completed:
        """One invocation."""
        with self._lock:
            if self._closed:
                return Completed(error="the host is closed")
            self._idle = [environment for environment in self._idle if environment.alive]
            environment = self._idle.pop() if self._idle else self._make()
            if environment not in self._all:
                self._all.append(environment)
        completed = environment.invoke(event)
        with self._lock:
            if environment.alive and not self._closed:
                self._idle.append(environment)
        return completed

    def close(self) -> None:
        """End every environment."""
        with self._lock:
            self._closed = True
            environments = tuple(self._all)
        for environment in environments:
            environment.close()
