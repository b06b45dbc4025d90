"""One execution environment: a process of the runtime client, and the runtime API that it asks for work.

Source: the runtime API of AWS Lambda's developer guide (paths, headers, order of requests).
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_VERSION = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How one invocation ended. `error` is None when the handler returned.

    Attributes:
        init_seconds: from the start of its process until it asked for work; None but for the first of a process.
        peak_mib: the most that its process has had in memory so far; None where the machine does not tell.
    """

    result: Any = None
    error: str | None = None
    init_seconds: float | None = None
    peak_mib: float | None = None


@dataclass(slots=True, kw_only=True)
class _Invocation:
    request_id: str
    event: Mapping[str, Any]
    deadline_ms: int
    answer: "queue.Queue[Completed]"


class ExecutionEnvironment:
    """Serves one invocation at a time; once it failed to answer in time it is gone."""

    def __init__(
        self,
        *,
        handler: str,
        function: str,
        environment: Mapping[str, str],
        code_directory: Path,
        timeout_seconds: float,
        memory_mib: int,
        runtime: Path | None,
        on_line: Callable[[str], None],
    ) -> None:
        """Start the runtime; it initialises while nobody waits.

        Args:
            memory_mib: an invocation that has left the process larger than that fails, and the process goes.
            runtime: the directory of the runtime client, where `code_directory` holds everything else and nothing
                that is installed beside it may be found; None to use what is installed.
        """
        self._timeout_seconds = timeout_seconds
        self._memory_mib = memory_mib
        self._function = function
        self._init_seconds: float | None = None
        self._initialised = False
        self._started = time.monotonic()
        self._work: queue.Queue[_Invocation | None] = queue.Queue()
        self._current: _Invocation | None = None
        self._init_error: str | None = None
        self._server = _RuntimeServer(("127.0.0.1", 0), self._handler_class())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._process = subprocess.Popen(
            [sys.executable, *(["-S"] if runtime else []), "-m", "awslambdaric", handler],
            cwd=code_directory,
            env={
                **environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": function,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mib),
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "LAMBDA_TASK_ROOT": str(code_directory),
                "_HANDLER": handler,
                "PYTHONPATH": os.pathsep.join(str(path) for path in (code_directory, runtime) if path),
                # Not where the artefact is tried: that has its bytecode beside it.
                **({"PYTHONPYCACHEPREFIX": sys.pycache_prefix} if sys.pycache_prefix and not runtime else {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._reader.start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def alive(self) -> bool:
        """Whether it can serve."""
        return self._process.poll() is None

    def invoke(self, event: Mapping[str, Any]) -> Completed:
        """One invocation, ended at the function's time-out."""
        invocation = _Invocation(
            request_id=str(uuid.uuid4()),
            event=event,
            deadline_ms=int((time.time() + self._timeout_seconds) * 1000),
            answer=queue.Queue(),
        )
        self._current = invocation
        if not self.alive:
            return Completed(error=self._init_error or "Runtime.ExitError: the runtime ended before the invocation")
        self._work.put(invocation)
        try:
            completed = invocation.answer.get(timeout=self._timeout_seconds)
        except queue.Empty:
            self.close()
            return Completed(error=f"Task timed out after {self._timeout_seconds:.2f} seconds")
        return self._reported(completed)

    def kill(self) -> None:
        """End its process at once, as when the machine under it fails."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._work.put(None)
        self._server.shutdown()
        self._server.server_close()

    def _reported(self, completed: Completed) -> Completed:
        """With what Lambda's own report of an invocation says, held to the function's memory.

        Lambda ends a sandbox the moment it needs more. Limits on a process's address space would count what is only
        reserved, so here the kernel's high-water mark of what was resident decides, after the invocation.
        """
        init_seconds, self._init_seconds = self._init_seconds, None
        peak = _peak_mib(self._process.pid)
        report = replace(completed, init_seconds=init_seconds, peak_mib=peak)
        if peak is None or peak <= self._memory_mib:
            return report
        self.close()
        return replace(report, error=f"Runtime.OutOfMemory: {peak:.0f} MiB of {self._memory_mib} MiB")

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                on_line(line.rstrip("\n"))

    def _watch(self) -> None:
        """A runtime that dies under an invocation ends it."""
        self._process.wait()
        if self._current is not None:
            self._current.answer.put(Completed(error=self._init_error or "Runtime.ExitError: the runtime ended"))

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        environment = self

        class RuntimeApi(BaseHTTPRequestHandler):
            """What the runtime client asks."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                environment._asked_for_work()
                invocation = environment._work.get()
                if invocation is None:
                    self.close_connection = True  # whoever asked is gone
                    return
                arn = f"arn:aws:lambda:local:000000000000:function:{environment._function}"
                self._answer(
                    200,
                    json.dumps(invocation.event).encode(),
                    {
                        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                        "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                        "Lambda-Runtime-Invoked-Function-Arn": arn,
                        "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
                    },
                )

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._answer(202, b"")
                kind = self.path.removeprefix(_VERSION)
                if kind.endswith("/response"):
                    environment._complete(Completed(result=json.loads(body or b"null")))
                elif kind == "/init/error":
                    environment._init_error = _said(body)
                elif kind.endswith("/error"):
                    environment._complete(Completed(error=_said(body)))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
                pass

            def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return RuntimeApi

    def _asked_for_work(self) -> None:
        """The runtime client's first question ends the initialisation."""
        if not self._initialised:
            self._initialised = True
            self._init_seconds = time.monotonic() - self._started

    def _complete(self, completed: Completed) -> None:
        invocation, self._current = self._current, None
        if invocation is not None:
            invocation.answer.put(completed)


class _RuntimeServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A runtime that was killed closes its connection; `_watch` tells of that."""


def _peak_mib(pid: int) -> float | None:
    """The high-water mark of a process's resident memory, where Linux tells it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) / 1024


def _said(body: bytes) -> str:
    error = json.loads(body or b"{}")
    return f"{error.get('errorType', 'Error')}: {error.get('errorMessage', '')}"
