#!/usr/bin/env -S python3 -I -S
"""Stands in for the buildkite-agent: acquires one job, runs its command and ends, with the real agent's requests.

Configured by environment and by a configuration file, as the real one; flags are refused, for they differ between its
versions. Standard library only, because it runs on machines that carry nothing of this repository.

It plays version 4, or version 3 where AGENT_STUB_VERSION=3: each reads its own names of the cancel times and silently
ignores the other's. AGENT_STUB_EXITS=<code> ends it with that code after it connected, without having taken its job.

Inside a job it also answers `oidc request-token` and `redactor add`, with the job's own token.

What it writes is what people read of a real agent: a coloured banner of eight lines first, and the error last. Hooks
and the command run behind a terminal, the agent's second one, so that lines of the job's log end in CR CR LF.

Exit codes: 0 the job ran (with any result), or was not taken after an answer of 401, 404, 409, 423, 429 or 5xx, or
could not be started or finished; 27 the job cannot be acquired (422); 1 configuration, registration, connection, or
the grace is over; 2 SIGQUIT during registration.

Source: the agent's public source and documentation (v3.137, v4.0), and both versions as seen in these tests.
"""

import contextlib
import fnmatch
import gzip
import http.client
import json
import os
import platform
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

OK, MISCONFIGURED, NOT_ACQUIRABLE = 0, 1, 27
TRIES = 10  # of a request that may succeed later
PAUSE_SECONDS = 0.5  # between tries; the real agent starts with seconds, a test has none to spare
TOKEN_TRIES = 5  # of an OIDC token
LOOK_SECONDS = 0.05  # how often a running job is looked at; also how long a signal may go unnoticed
REQUEST_SECONDS = 10.0
AFTER_COMMAND_SECONDS = 0.5  # for output that the command's leftover children still hold open
DISCONNECT_SECONDS = 1.0  # past the grace, for the agent to say goodbye; then it ends itself
METADATA_SECONDS = 24.0  # what tags from a metadata service that does not answer cost
COLOURS = {"ERROR": "31", "WARN": "33"}
BANNER = (
    "",
    r"   ___ _____ _   _ ___",
    r"  / __|_   _| | | | _ )",
    r"  \__ \ | | | |_| | _ \ ",
    r"  |___/ |_|  \___/|___/",
    "  stands in for the buildkite-agent",
    "  https://buildkite.com/agent",
    "",
)


class Ended(Exception):
    """The agent is done, with an exit code and a reason."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class HttpError(Exception):
    """An answer that is no success; status 0 when there was no answer."""

    def __init__(self, status, reason, retry_after=None):
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.retry_after = retry_after

    @property
    def may_pass(self):
        return self.status in (0, 423, 429) or self.status >= 500


class Stop:
    """What signals asked for: SIGTERM lets the job end, a second one and SIGQUIT cancel it."""

    def __init__(self):
        self.draining = False
        self.cancelling = False
        self.registered = False
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, self._terminate)
        signal.signal(signal.SIGQUIT, self._quit)

    def _terminate(self, _number, _frame):
        self.cancelling = self.draining
        self.draining = True

    def _quit(self, _number, _frame):
        self.draining = self.cancelling = True
        if not self.registered:  # the real one's runtime has the signal until then
            sys.stderr.write("SIGQUIT: quit\nPC=0x47f2a1 m=0 sigcode=0\n\ngoroutine 1 [select]:\n")
            sys.stderr.write("".join(f"{name}    0x{number:x}\n" for number, name in enumerate(("rax", "rbx", "rcx"))))
            sys.stderr.flush()
            os._exit(2)
        ender = threading.Timer(cancel_times()[1] + DISCONNECT_SECONDS, self._end)
        ender.daemon = True
        ender.start()

    def _end(self):
        """The grace is over, whatever is still to be uploaded."""
        say("Timed out waiting for agents to exit; exiting immediately with status 1")
        os._exit(1)


class Api:
    """The Agent API under one base URL, with the token of the moment."""

    def __init__(self, endpoint, token):
        self.endpoint = endpoint.rstrip("/")
        self.token = token

    def call(self, method, path, body=None, headers=None):
        """One request; the answer's JSON object. Raises HttpError."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        request.add_header("Authorization", f"Token {self.token}")
        request.add_header("Content-Type", "application/json")
        request.add_header("User-Agent", "buildkite-agent/stub")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise HttpError(error.code, text[:200], error.headers.get("Retry-After")) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise HttpError(0, f"{type(error).__name__}: {error}") from None

    def insist(self, stop, method, path, body=None):
        """As `call`, repeated while the refusal may pass, and, given a Stop, until that is asked for."""
        for left in range(TRIES - 1, -1, -1):
            try:
                return self.call(method, path, body)
            except HttpError as error:
                if left == 0 or not error.may_pass:
                    raise
                say(f"{method} {path}: {error}; trying again")
                stated = error.retry_after or ""
                pause = float(stated) if stated.isdecimal() else PAUSE_SECONDS  # a date is not worth reading
            until = time.monotonic() + pause
            while time.monotonic() < until:
                if stop is not None and stop.draining:
                    raise Ended(OK, "stopped before a job was acquired")
                time.sleep(min(LOOK_SECONDS, pause))
        raise AssertionError


def say(text, level="INFO"):
    at = time.strftime("%Y-%m-%d %H:%M:%S")
    plain = os.environ.get("BUILDKITE_AGENT_NO_COLOR") == "true"  # else in colour, whatever it is written to
    colour = COLOURS.get(level, "38;5;48")
    sys.stdout.write(f"{at} {level:<6} {text}\n" if plain else f"\x1b[{colour}m{at} {level:<6}\x1b[0m {text}\x1b[0m\n")
    sys.stdout.flush()


def show_banner():
    """In colour, whatever it is written to, unless told otherwise."""
    begin, end = ("", "") if os.environ.get("BUILDKITE_AGENT_NO_COLOR") == "true" else ("\x1b[38;5;48m", "\x1b[0m")
    lines = "\n".join(BANNER)
    sys.stderr.write(f"{begin}{lines}{end}\n")
    sys.stderr.flush()


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017  # any Python 3 will do


def setting(name, default=None):
    value = os.environ.get(name, default)
    if not value:
        raise Ended(MISCONFIGURED, f"{name} is not set")
    return value


def cancel_times():
    """Seconds that a cancelled job gets before it is killed, and that it and its end get together."""
    if os.environ.get("AGENT_STUB_VERSION") == "3":
        whole = float(os.environ.get("BUILDKITE_CANCEL_GRACE_PERIOD") or 10)
        job = float(os.environ.get("BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS") or -1)
        job = job if job >= 0 else whole + job  # a negative one counts from the end
        if not 0 <= job < whole:
            raise Ended(MISCONFIGURED, f"signal grace period {job} must be shorter than cancel grace period {whole}")
        return job, whole
    job = duration(os.environ.get("BUILDKITE_CANCEL_SIGNAL_TIMEOUT") or "10s")
    return job, job + duration(os.environ.get("BUILDKITE_CANCEL_CLEANUP_TIMEOUT") or "5s")


def duration(text):
    """Seconds of a duration such as 60s or 1m30s."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise Ended(MISCONFIGURED, f'could not parse "{text}" as duration')
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts)


CONFIGURED = {
    "tags": "BUILDKITE_AGENT_TAGS",
    "name": "BUILDKITE_AGENT_NAME",
    "token": "BUILDKITE_AGENT_TOKEN",
    "endpoint": "BUILDKITE_AGENT_ENDPOINT",
    "build-path": "BUILDKITE_BUILD_PATH",
    "hooks-path": "BUILDKITE_HOOKS_PATH",
    "plugins-path": "BUILDKITE_PLUGINS_PATH",
    "queue": "BUILDKITE_AGENT_QUEUE",
    "tags-from-ec2-meta-data": "BUILDKITE_AGENT_TAGS_FROM_EC2_META_DATA",
    "no-color": "BUILDKITE_AGENT_NO_COLOR",
    "git-clone-flags": "BUILDKITE_GIT_CLONE_FLAGS",
    "shell": "BUILDKITE_SHELL",
}


def read_configuration():
    """Take from the configuration file what the environment does not say."""
    named = os.environ.get("BUILDKITE_AGENT_CONFIG")
    usual = (Path.home() / ".buildkite-agent", Path("/usr/local/etc/buildkite-agent"), Path("/etc/buildkite-agent"))
    paths = [Path(named)] if named else [directory / "buildkite-agent.cfg" for directory in usual]
    path = next((path for path in paths if path.exists()), paths[0])
    if not path.exists():
        if named:
            raise Ended(MISCONFIGURED, f"A configuration file could not be found at: {path}")
        return
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if not equals:
            continue
        variable = CONFIGURED.get(key.strip())
        if variable is None:
            raise Ended(MISCONFIGURED, f'The config file at {path} has an unknown key "{key.strip()}"')
        os.environ.setdefault(variable, value.strip().strip('"'))
    if os.environ.get("BUILDKITE_AGENT_QUEUE") and "queue=" in os.environ.get("BUILDKITE_AGENT_TAGS", ""):
        raise Ended(MISCONFIGURED, "queue must be present in only one of the --tags or the --queue flags")
    if os.environ.get("BUILDKITE_AGENT_TAGS_FROM_EC2_META_DATA") == "true":
        say("Fetching EC2 meta-data...")
        time.sleep(METADATA_SECONDS)
        say("Failed to find EC2 meta-data: deadline exceeded", "ERROR")


JOB = r"""
exec 0<>"$1" # opened by the leader of a session, it becomes the terminal on which programs ask
shift
stub_header() { printf '~~~ %s\n' "$1"; }
stub_hook() {
  [[ -f ${BUILDKITE_HOOKS_PATH:-}/$1 ]] || return 0
  stub_header "Running agent $1 hook"
  printf '\033[90m$\033[0m %s\n' "$BUILDKITE_HOOKS_PATH/$1"
  if [[ -n ${STUB_SHELLOPTS:-} ]]; then
    env SHELLOPTS="$STUB_SHELLOPTS" bash "$BUILDKITE_HOOKS_PATH/$1"
  else
    source "$BUILDKITE_HOOKS_PATH/$1"
  fi
}
# With BUILDKITE_GIT_MIRRORS_PATH by reference to a mirror there, which the agent makes or updates unless it is told to
# skip that; then a repository without a mirror is cloned as ever.
stub_checkout() {
  local mirror=${BUILDKITE_GIT_MIRRORS_PATH:+$BUILDKITE_GIT_MIRRORS_PATH/${BUILDKITE_REPO//[^A-Za-z0-9]/-}}
  if [[ -n $mirror && ${BUILDKITE_GIT_MIRRORS_SKIP_UPDATE:-} == true ]]; then
    printf '# Skipping update and using existing mirror for repository %s at %s.\n' "$BUILDKITE_REPO" "$mirror"
    if [[ ! -e $mirror ]]; then
      printf '# No existing mirror found for repository %s at %s.\n' "$BUILDKITE_REPO" "$mirror"
      mirror=
    fi
  elif [[ -n $mirror ]]; then
    if [[ -e $mirror ]]; then
      git --git-dir "$mirror" fetch -q origin || return
    else
      git clone -q --mirror "$BUILDKITE_REPO" "$mirror" || return
    fi
  fi
  git clone -q ${mirror:+--reference "$mirror"} "$BUILDKITE_REPO" . || return
  [[ -z $mirror ]] || export BUILDKITE_REPO_MIRROR=$mirror
}
stub_end() {
  stub_code=$?
  trap - EXIT
  set +e
  ((stub_code == 0)) || printf '^^^ +++\n\033[31m%s\033[0m\n' "🚨 Error: The command exited with status $stub_code"
  ((stub_code == 0)) || printf '^^^ +++\nuser command error: exit status %s\n' "$stub_code"
  stub_hook pre-exit
  exit $stub_code
}
stub_hook environment
env -0 >"$STUB_SHOWN" && mv "$STUB_SHOWN" "${STUB_SHOWN%.new}"
unset STUB_SHOWN
stub_header 'Preparing working directory'
printf '\033[90m$\033[0m cd %s\n' "$PWD"
if [[ ${BUILDKITE_SKIP_CHECKOUT:-} != true ]]; then stub_checkout || exit 94; fi
stub_hook pre-command
trap stub_end EXIT
stub_header 'Running commands'
printf '\033[90m$\033[0m %s\n' "${BUILDKITE_COMMAND%%$'\n'*}"
if [[ -n ${STUB_SHELLOPTS:-} ]]; then
  env SHELLOPTS="$STUB_SHELLOPTS" ${BUILDKITE_SHELL:-/bin/bash -e -c} "$BUILDKITE_COMMAND"
else
  set -e # as the real one's own /bin/bash -e -c
  eval "$BUILDKITE_COMMAND"
fi
"""
"""What becomes of a job in order: the environment hook, the checkout, the command; all in one shell.

With STUB_SHELLOPTS, which keep a bash from doing anything, hooks and command are processes of their own, as the real
agent's are: such a job turns our hook off, and its command runs where the agent's shell is another one.
"""


REDACTED = (
    *("*_PASSWORD", "*_SECRET", "*_TOKEN", "*_PRIVATE_KEY", "*_SSH_KEY", "*_ACCESS_KEY", "*_SECRET_KEY"),
    *("*_CONNECTION_STRING", "*_API_KEY"),
)
REDACTED_BYTES = 6  # a shorter value is shown


def secrets_of(environment):
    """Values that a job's log does not show, the longest first: those of variables whose names match."""
    told = os.environ.get("BUILDKITE_REDACTED_VARS")
    patterns = told.split(",") if told else REDACTED
    pairs = (pair.partition(b"=")[::2] for pair in environment.split(b"\0"))
    found = {
        value
        for name, value in pairs
        if len(value) >= REDACTED_BYTES and any(fnmatch.fnmatchcase(name.decode(), glob) for glob in patterns)
    }
    return sorted(found, key=len, reverse=True)


def registration_token():
    token = setting("BUILDKITE_AGENT_TOKEN")
    if not token.startswith("file://"):
        return token
    try:
        return Path(token.removeprefix("file://")).read_text().strip()
    except OSError as error:
        raise Ended(MISCONFIGURED, f"the token's file cannot be read: {error}") from None


def register(api, stop):
    """Open the session; its settings."""
    tags = [tag for tag in os.environ.get("BUILDKITE_AGENT_TAGS", "").split(",") if tag]
    body = {
        "name": os.environ.get("BUILDKITE_AGENT_NAME") or platform.node(),
        "hostname": platform.node(),
        "os": sys.platform,
        "arch": platform.machine(),
        "version": "stub",
        "build": "0",
        "pid": os.getpid(),
        "meta_data": tags,
        "features": [],
        "ignore_in_dispatches": True,
        "script_eval_enabled": True,
    }
    try:
        session = api.insist(stop, "POST", "/register", body)
    except HttpError as error:
        raise Ended(MISCONFIGURED, f"failed to register agent: {error}") from None
    if any(session.get(f"{name}_interval", 0) <= 0 for name in ("ping", "job_status", "heartbeat")):
        raise Ended(2, "panic: non-positive interval for NewTicker")
    api.endpoint = session.get("endpoint") or api.endpoint
    api.token = session["access_token"]
    stop.registered = True
    say(f'Successfully registered agent "{session["name"]}" with tags [{", ".join(tags)}]')
    return session


def acquire(api, stop, job_id):
    try:
        return api.insist(stop, "PUT", f"/jobs/{job_id}/acquire")
    except HttpError as error:
        if error.status == 422:
            raise Ended(NOT_ACQUIRABLE, f'failed to acquire job "{job_id}": rejected: {error}') from None
        say(f"Failed to acquire and run job: failed to acquire job: {error}", "ERROR")
        return None


class Log:
    """The job's output, sent as numbered gzip chunks."""

    def __init__(self, api, job):
        self._api = api
        self._path = f"/jobs/{job['id']}/chunks"
        self._size = int(job.get("chunks_max_size_bytes") or 102_400)
        self._interval = float(job.get("chunks_interval_seconds") or 1)
        self._pending = b""
        self._sequence = 0
        self._offset = 0
        self._due = time.monotonic() + self._interval
        self.failed = 0

    def write(self, data):
        self._pending += data

    def send(self, *, everything=False):
        """Send what is due: whole chunks at once, the rest each interval."""
        due = everything or time.monotonic() >= self._due
        while self._pending and (due or len(self._pending) >= self._size):
            data, self._pending = self._pending[: self._size], self._pending[self._size :]
            self._sequence += 1
            self._upload(data)
            self._offset += len(data)
        if due:
            self._due = time.monotonic() + self._interval

    def _upload(self, data):
        path = f"{self._path}?sequence={self._sequence}&offset={self._offset}&size={len(data)}"
        headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
        for _ in range(3):
            try:
                self._api.call("POST", path, gzip.compress(data), headers)
            except HttpError as error:
                say(f"chunk {self._sequence}: {error}")
            else:
                return
        self.failed += 1


class Run:
    """One acquired job, from its start to its finish."""

    def __init__(self, session_api, session, job, stop):
        self._session_api = session_api
        self._api = Api(session_api.endpoint, job["token"])
        self._job = job
        self._path = f"/jobs/{job['id']}"
        self._stop = stop
        self._log = Log(self._api, job)
        self._status_seconds = float(session["job_status_interval"])
        self._heartbeat_seconds = float(session["heartbeat_interval"])
        self._grace = cancel_times()[0]
        self._cancelled_for = None
        self._begins = True  # the next byte begins a line
        self._terminal = -1
        self._shown = None  # a file with the job's environment after its hook
        self._redactor = None
        self._secrets = None

    def run(self):
        try:
            self._api.insist(None, "PUT", f"{self._path}/start", {"started_at": now()})
        except HttpError as error:
            say(f"Failed to acquire and run job: failed to start job: {error}", "ERROR")
            return
        process = self._execute()
        self._watch(process)
        code = process.wait()
        self._log.send(everything=True)
        outcome = {
            "exit_status": str(code if code >= 0 else -1),
            "finished_at": now(),
            "chunks_failed_count": self._log.failed,
        }
        if code < 0:
            outcome["signal"] = signal.Signals(-code).name
        if self._cancelled_for:
            outcome["signal_reason"] = self._cancelled_for
        say(f"Finished job {self._job['id']} with {outcome}")
        try:
            self._api.insist(None, "PUT", f"{self._path}/finish", outcome)
        except HttpError as error:
            say(f"Failed to acquire and run job: failed to finish job: {error}", "ERROR")

    def _execute(self):
        env = {name: value for name, value in os.environ.items() if name != "BUILDKITE_AGENT_TOKEN"}
        env.update(self._job["env"], BUILDKITE_AGENT_ACCESS_TOKEN=self._job["token"])
        parts = (env.get(f"BUILDKITE_{name}", "") for name in ("AGENT_NAME", "ORGANIZATION_SLUG", "PIPELINE_SLUG"))
        checkout = Path(setting("BUILDKITE_BUILD_PATH"), *(part.replace("/", "-") for part in parts if part))
        checkout.mkdir(parents=True, exist_ok=True)
        env["BUILDKITE_BUILD_CHECKOUT_PATH"] = str(checkout)
        self._shown = checkout.parent / f"{self._job['id']}.environment"
        self._redactor = checkout.parent / f"{self._job['id']}.redacted"  # stands for the socket of the job's own API
        self._redactor.write_text("")
        env["STUB_SHOWN"] = f"{self._shown}.new"
        env["STUB_REDACTED"] = str(self._redactor)
        own = str(Path(sys.argv[0]).absolute().parent)
        env.update(BUILDKITE_BIN_PATH=own, PATH=f"{env.get('PATH', os.defpath)}:{own}")
        if "noexec" in env.get("SHELLOPTS", ""):
            env["STUB_SHELLOPTS"] = env.pop("SHELLOPTS")
        self._terminal, slave = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", JOB, "bash", os.ttyname(slave)],
            cwd=checkout,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        return process

    def _watch(self, process):
        """Pass output on, ask for the job's state, and end the command when it is cancelled."""
        source = self._terminal
        begun = time.monotonic()
        status_due, heartbeat_due = begun + self._status_seconds, begun + self._heartbeat_seconds
        kill_at = given_up_at = None
        closed = False  # the command wants to say no more, but may go on
        while given_up_at is None or time.monotonic() < given_up_at:
            closed = closed or self._pass_on(source)
            if closed and process.poll() is not None:
                return
            self._log.send()
            moment = time.monotonic()
            if given_up_at is None and process.poll() is not None:
                given_up_at = moment + AFTER_COMMAND_SECONDS
            if moment >= status_due and self._cancelled_for is None:
                status_due = moment + self._status_seconds
                self._ask()
            if moment >= heartbeat_due:
                heartbeat_due = moment + self._heartbeat_seconds
                heartbeat(self._session_api)
            if self._stop.cancelling and self._cancelled_for is None:
                self._cancelled_for = "agent_stop"
            if self._cancelled_for and kill_at is None:
                say(f"cancelling: {self._cancelled_for}")
                self._log.write(self._marked(b"\x1b[90m# Received cancellation signal, interrupting\x1b[0m\n"))
                kill_at = moment + self._grace
                send_group(process, signal.SIGTERM)
            if kill_at is not None and moment >= kill_at:
                kill_at = float("inf")
                send_group(process, signal.SIGKILL)
            if closed:
                time.sleep(LOOK_SECONDS)

    def _pass_on(self, source):
        """Whatever the command says within a moment, to the log; True once it has closed its output."""
        if not select.select([source], [], [], LOOK_SECONDS)[0]:
            return False
        try:
            data = os.read(source, 65_536)
        except OSError:  # nothing holds the terminal's other side any more
            return True
        self._log.write(self._marked(self._redacted(data)))
        return not data

    def _redacted(self, data):
        """Without the values of variables that are secrets, those that a hook exported included."""
        if self._secrets is None and self._shown.exists():
            self._secrets = secrets_of(self._shown.read_bytes())
            self._shown.unlink()
        told = json.loads(f"[{self._redactor.read_text().rstrip(',')}]")
        added = sorted((text.encode() for text in told if len(text) >= REDACTED_BYTES), key=len, reverse=True)
        for secret in (*added, *(self._secrets or ())):
            data = data.replace(secret, b"[REDACTED]")
        return data

    def _marked(self, data):
        """As it leaves the agent's own terminal, which adds a CR to each line, with the time before each line."""
        mark = f"\x1b_bk;t={int(time.time() * 1000)}\x07".encode()
        lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
        begins, self._begins = self._begins, data.endswith(b"\n")
        marked = b"".join((mark if n or begins else b"") + line for n, line in enumerate(lines))
        return marked.replace(b"\n", b"\r\n")

    def _ask(self):
        try:
            state = self._api.call("GET", self._path).get("state")
        except HttpError as error:
            say(f"the job's state cannot be read: {error}")
            return
        if state in ("canceling", "canceled"):
            self._cancelled_for = "cancel"


def send_group(process, number):
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, number)


def flags_of(arguments, known):
    """The flags that follow a command, each with its value; those that may be given again as lists.

    A flag that is given takes the place of the variable that stands for it.
    """
    given = {}
    while arguments:
        name, equals, value = arguments.pop(0).removeprefix("--").partition("=")
        if name not in known:
            raise Ended(MISCONFIGURED, f"flag provided but not defined: -{name}")
        given.setdefault(name, []).append(value if equals else arguments.pop(0))
    found = {name: given.get(name, [os.environ.get(variable, "")]) for name, variable in known.items()}
    return {
        name: [part for value in values for part in value.split(",") if part] if name in LISTS else values[-1]
        for name, values in found.items()
    }


TOKEN_FLAGS = {
    "audience": "",
    "lifetime": "",
    "job": "BUILDKITE_JOB_ID",
    "subject-claim": "BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM",
    "claim": "BUILDKITE_OIDC_TOKEN_CLAIMS",
    "aws-session-tag": "BUILDKITE_OIDC_TOKEN_AWS_SESSION_TAGS",
}
LISTS = {"claim", "aws-session-tag"}


def request_token(arguments):
    """`oidc request-token`: prints a token of Buildkite's about this job, and hides it in the job's log."""
    flags = flags_of(arguments, TOKEN_FLAGS)
    body = {
        "audience": flags["audience"],
        "lifetime": int(flags["lifetime"] or 0),
        "claims": flags["claim"],
        "aws_session_tags": flags["aws-session-tag"],
        "subject_claim": flags["subject-claim"],
    }
    api = Api(setting("BUILDKITE_AGENT_ENDPOINT"), setting("BUILDKITE_AGENT_ACCESS_TOKEN"))
    for left in range(TOKEN_TRIES - 1, -1, -1):
        try:
            answer = api.call("POST", f"/jobs/{flags['job']}/oidc/tokens", {k: v for k, v in body.items() if v})
            break
        except HttpError as error:
            if left == 0 or not error.may_pass:
                sys.stderr.write(f"Could not obtain OIDC token for audience {flags['audience']}\n")
                raise Ended(MISCONFIGURED, str(error)) from None
            time.sleep(PAUSE_SECONDS)
    hide([answer["token"]])
    sys.stdout.write(answer["token"] + "\n")
    return OK


def redactor_add(arguments):
    """`redactor add`: hides what stands on standard input in the job's log."""
    flags = flags_of(arguments, {"format": ""})
    text = sys.stdin.read()
    hide(json.loads(text).values() if flags["format"] == "json" else [text.strip()])
    return OK


def hide(values):
    path = os.environ.get("STUB_REDACTED")
    if not path:
        raise Ended(MISCONFIGURED, "automatic OIDC token redaction requires the Job API, which is not there")
    with Path(path).open("a") as file:
        file.write("".join(json.dumps(value) + "," for value in values))


COMMANDS = {("oidc", "request-token"): request_token, ("redactor", "add"): redactor_add}


def heartbeat(api):
    try:
        api.call("POST", "/heartbeat", {"sent_at": now()})
    except HttpError as error:
        say(f"heartbeat: {error}")


def main(arguments):
    if command := COMMANDS.get(tuple(arguments[:2])):
        return command(arguments[2:])
    stop = Stop()
    if arguments != ["start"]:
        raise Ended(MISCONFIGURED, f"unknown arguments: {' '.join(arguments)}")
    read_configuration()
    show_banner()
    cancel_times()
    setting("BUILDKITE_BUILD_PATH")
    job_id = setting("BUILDKITE_AGENT_ACQUIRE_JOB")
    api = Api(setting("BUILDKITE_AGENT_ENDPOINT", "https://agent.buildkite.com/v3"), registration_token())
    session = register(api, stop)
    try:
        connect(api, stop)
        if notices_sent := os.environ.get("AGENT_STUB_EXITS"):
            raise Ended(int(notices_sent), "told to end without a job")
        heartbeat(api)
        job = acquire(api, stop, job_id)
        if job is not None:
            Run(api, session, job, stop).run()
        try:
            api.call("GET", "/ping")
        except HttpError as error:
            if error.status == 401:
                raise Ended(MISCONFIGURED, f"failed to ping: {error}") from None
            say(f"Failed to ping: {error}", "WARN")
    finally:
        say("Disconnecting...")
        try:
            api.call("POST", "/disconnect")
            say("Disconnected")
        except HttpError as error:
            say(f"cannot disconnect: {error}", "WARN")
    return OK


def connect(api, stop):
    """Tell Buildkite that the agent is there; each refusal may pass, ten times."""
    for left in range(TRIES - 1, -1, -1):
        try:
            api.insist(stop, "POST", "/connect")
        except HttpError as error:
            if left == 0:
                raise Ended(MISCONFIGURED, f"failed to connect: {error}") from None
            say(f"{error} (Attempt {TRIES - left}/{TRIES})", "WARN")
            time.sleep(PAUSE_SECONDS)
        else:
            return


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Ended as end:
        sys.stdout.flush()
        sys.stderr.write(f"buildkite-agent: {'fatal' if end.code else 'note'}: {end}\n")
        sys.exit(end.code)
