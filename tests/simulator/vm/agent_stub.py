#!/usr/bin/env python3
"""Stands in for the buildkite-agent: acquires one job by the agent's own requests, runs its command, and ends.

Configured by the agent's environment variables and nothing else. Standard library only: it runs where nothing of this
project is installed. Exit codes are the agent's: 0 when it ran or failed to acquire, 27 when the job cannot be
acquired, 1 for wrong configuration.
"""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

NOT_ACQUIRABLE = 27
CANCEL_GRACE_SECONDS = float(os.environ.get("BUILDKITE_CANCEL_GRACE_PERIOD", "10"))
ACQUIRE_TRIES = 7


class ApiError(Exception):
    """The API said no, or nothing at all (status 0)."""

    def __init__(self, status, message):
        super().__init__(f"{status} {message}")
        self.status = status


class Api:
    """The Agent API under one token."""

    def __init__(self, endpoint, token):
        self.endpoint = endpoint.rstrip("/")
        self.token = token

    def send(self, method, path, body=None, *, raw=None, tries=5):
        """One request, repeated while the service is not to be reached or asks for patience."""
        for attempt in range(tries):
            try:
                return self._once(method, path, body, raw)
            except ApiError as error:
                if error.status not in (0, 423, 429) and error.status < 500:
                    raise
                if attempt == tries - 1:
                    raise
                time.sleep(min(5.0, 0.2 * 2**attempt))
        raise AssertionError

    def _once(self, method, path, body, raw):
        headers = {"Authorization": f"Token {self.token}", "User-Agent": "buildkite-agent/stub"}
        data = raw
        if raw is not None:
            headers |= {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        elif method != "GET":
            data = b""
        request = urllib.request.Request(self.endpoint + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None
        except (urllib.error.URLError, OSError) as error:
            raise ApiError(0, str(error)) from None
        return json.loads(content) if content.strip() else {}


def now():
    return datetime.now(timezone.utc).isoformat()  # noqa: UP017  (older Pythons run it too)


class JobRunner:
    """Runs the job's command and tells the API of it."""

    def __init__(self, api, job, registration):
        self.api = api
        self.job = job
        self.interval = registration["job_status_interval"]
        self.cancelled = threading.Event()
        self.done = threading.Event()
        self.process = None
        self.sequence = 0
        self.offset = 0
        self.failed_chunks = 0
        self.sending = threading.Lock()

    def run(self):
        """Run to the end; the exit status, the signal and its reason."""
        path = f"/jobs/{self.job['id']}"
        self.api.send("PUT", f"{path}/start", {"started_at": now()})
        build_path = os.environ["BUILDKITE_BUILD_PATH"]
        os.makedirs(build_path, exist_ok=True)
        self.process = subprocess.Popen(
            ["bash", "-c", self.job["env"].get("BUILDKITE_COMMAND", "")],
            cwd=build_path,
            env={**os.environ, **self.job["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        self._stream()
        code = self.process.wait()
        self.done.set()
        watcher.join()
        finish = {"exit_status": str(code if code >= 0 else -1), "finished_at": now()}
        if code < 0:
            finish["signal"] = signal.Signals(-code).name
        if self.cancelled.is_set():
            finish["signal_reason"] = "cancel"
        finish["chunks_failed_count"] = self.failed_chunks
        self.api.send("PUT", f"{path}/finish", finish)

    def cancel(self):
        """End the command: politely, then not."""
        if self.cancelled.is_set() or self.process is None:
            return
        self.cancelled.set()
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return
            if self.done.wait(CANCEL_GRACE_SECONDS):
                return

    def _watch(self):
        """Ask for the job's state each status interval."""
        while not self.done.wait(self.interval):
            try:
                state = self.api.send("GET", f"/jobs/{self.job['id']}", tries=1).get("state")
            except ApiError:
                continue
            if state in ("canceling", "canceled", "timing_out"):
                self.cancel()

    def _stream(self):
        """Upload what the command writes, a chunk an interval or when one is full."""
        largest = self.job["chunks_max_size_bytes"]
        buffer = bytearray()
        sent_at = time.monotonic()
        descriptor = self.process.stdout.fileno()
        while data := os.read(descriptor, 65536):
            buffer += data
            while len(buffer) >= largest:
                self._upload(bytes(buffer[:largest]))
                del buffer[:largest]
            if time.monotonic() - sent_at >= self.job["chunks_interval_seconds"]:
                self._upload(bytes(buffer))
                buffer.clear()
                sent_at = time.monotonic()
        self._upload(bytes(buffer))

    def _upload(self, data):
        if not data:
            return
        self.sequence += 1
        query = f"sequence={self.sequence}&offset={self.offset}&size={len(data)}"
        self.offset += len(data)
        try:
            self.api.send("POST", f"/jobs/{self.job['id']}/chunks?{query}", raw=gzip.compress(data))
        except ApiError as error:
            self.failed_chunks += 1
            print(f"chunk {self.sequence} not uploaded: {error}", flush=True)


def main():
    required = ("BUILDKITE_AGENT_TOKEN", "BUILDKITE_AGENT_ACQUIRE_JOB", "BUILDKITE_BUILD_PATH")
    missing = [name for name in required if not os.environ.get(name)]
    if missing or sys.argv[1:2] != ["start"]:
        print(f"fatal: not configured: {' '.join(missing) or 'start expected'}", flush=True)
        return 1
    endpoint = os.environ.get("BUILDKITE_AGENT_ENDPOINT", "https://agent.buildkite.com/v3")
    tags = [tag for tag in os.environ.get("BUILDKITE_AGENT_TAGS", "").split(",") if tag]
    try:
        registration = Api(endpoint, os.environ["BUILDKITE_AGENT_TOKEN"]).send(
            "POST",
            "/register",
            {
                "name": os.environ.get("BUILDKITE_AGENT_NAME") or socket.gethostname(),
                "hostname": socket.gethostname(),
                "os": "linux",
                "arch": "amd64",
                "version": "stub",
                "meta_data": tags,
                "features": [],
                "ignore_in_dispatches": True,
            },
        )
    except ApiError as error:
        print(f"fatal: cannot register: {error}", flush=True)
        return 1
    print(f"registered as {registration['name']}", flush=True)
    session = Api(endpoint, registration["access_token"])
    session.send("POST", "/connect")
    session.send("POST", "/heartbeat", {"sent_at": now()})
    ended = threading.Event()
    runner = None
    stop_asked = 0

    def beat():
        while not ended.wait(registration["heartbeat_interval"]):
            try:
                session.send("POST", "/heartbeat", {"sent_at": now()}, tries=1)
            except ApiError:
                continue

    def on_signal(number, _frame):
        nonlocal stop_asked
        stop_asked += 1
        if runner is not None and (number == signal.SIGQUIT or stop_asked > 1):
            runner.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, on_signal)
    threading.Thread(target=beat, daemon=True).start()
    code = 0
    try:
        job = session.send("PUT", f"/jobs/{os.environ['BUILDKITE_AGENT_ACQUIRE_JOB']}/acquire", tries=ACQUIRE_TRIES)
        print(f"acquired {job['id']}", flush=True)
        runner = JobRunner(Api(endpoint, job["token"]), job, registration)
        runner.run()
        session.send("GET", "/ping")
    except ApiError as error:
        print(f"error: {error}", flush=True)
        code = NOT_ACQUIRABLE if error.status == 422 else 0
    finally:
        ended.set()
        try:
            session.send("POST", "/disconnect", tries=2)
        except ApiError as error:
            print(f"not disconnected: {error}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
