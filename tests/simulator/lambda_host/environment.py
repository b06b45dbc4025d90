"""One execution environment: a process of the runtime client, and the runtime API that it asks for work.

Source: the runtime API of AWS Lambda's developer guide (paths, headers, order of requests).
"""

import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_VERSION = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How one invocation ended. `error` is None when the handler returned."""

    result: Any = None
    error: str | None = None


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
        on_line: Callable[[str], None],
    ) -> None:
        """Start the runtime; it initialises while nobody waits."""
        self._timeout_seconds = timeout_seconds
        self._function = function
        self._work: queue.Queue[_Invocation | None] = queue.Queue()
        self._current: _Invocation | None = None
        self._init_error: str | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=code_directory,
            env={
                **environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
                "AWS_LAMBDA_FUNCTION_NAME": function,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "LAMBDA_TASK_ROOT": str(code_directory),
                "_HANDLER": handler,
                "PYTHONPATH": str(code_directory),
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
            return invocation.answer.get(timeout=self._timeout_seconds)
        except queue.Empty:
            self.close()
            return Completed(error=f"Task timed out after {self._timeout_seconds:.2f} seconds")

    def close(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._work.put(None)
        self._server.shutdown()
        self._server.server_close()

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

    def _complete(self, completed: Completed) -> None:
        invocation, self._current = self._current, None
        if invocation is not None:
            invocation.answer.put(completed)


def _said(body: bytes) -> str:
    error = json.loads(body or b"{}")
    return f"{error.get('errorType', 'Error')}: {error.get('errorMessage', '')}"
