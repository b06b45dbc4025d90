"""Where the network, the store or another process is busy, the boot program waits its turn."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.user_data import VM
from tests.simulator.iam.refusal import Refusal
from tests.vm.harness import VmHarness
from tests.vm.herd import Bucket, failed_boots
from tests.vm.test_private_work import SHIMS, keep, yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

WINDOW = re.search(r"PARAMETER_SECONDS:-(\d+)", (VM / "values.sh").read_text())
SCRIPT = b"#!/bin/sh\necho prepared\n"


def test_a_thousand_boots_with_three_private_parameters_all_read_them() -> None:
    """One call for all of them; the default quota of Parameter Store is 40 calls a second."""
    assert WINDOW is not None
    assert failed_boots(vms=1000, calls_each=1, window=int(WINDOW[1]), store=Bucket(calls_a_second=40)) == 0


def test_a_call_for_each_parameter_and_a_short_window_would_fail_many() -> None:
    assert failed_boots(vms=1000, calls_each=3, window=20, store=Bucket(calls_a_second=40)) > 100


def test_all_parameters_are_read_by_one_call(harness: VmHarness, tmp_path: Path) -> None:
    key = yard_key(tmp_path / "none")
    for name, stored in (("git-credentials", "https://x:y@z"), ("environment", "A=b\n"), ("default/ssh-key", key)):
        keep(harness, f"/private/{name}", stored)
    job_id, token = harness.reserve("true")
    harness.fill("i-1101", job_id, token)
    header = {
        "GIT_CREDENTIALS_PARAMETER": "/private/git-credentials",
        "JOB_ENVIRONMENT_PARAMETER": "/private/environment",
        "GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key",
    }
    vm = harness.boot("i-1101", header=header)
    harness.ended(vm)
    assert sum(step.startswith("ssm:") for step in harness.steps(vm)) == 1
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_store_that_is_busy_is_asked_again(harness: VmHarness) -> None:
    keep(harness, "/private/environment", "A=b\n")
    job_id, token = harness.reserve("echo $A")
    harness.fill("i-1102", job_id, token)
    busy = [Refusal(code="ThrottlingException", message="Rate exceeded", status=400)] * 3
    harness.on_step = lambda _, step: harness.aws.front.refusals.extend(busy) if step.endswith("booting") else None
    vm = harness.boot("i-1102", header={"JOB_ENVIRONMENT_PARAMETER": "/private/environment"})
    harness.ended(vm)
    assert harness.output(job_id) == "b\n"


DNF = """#!/bin/bash
echo "dnf $*" >>"$LOCAL_VM_ROOT/effects.log"
[[ $(grep -c '^dnf ' "$LOCAL_VM_ROOT/effects.log") -gt 1 ]] || { echo "can't create transaction lock" >&2; exit 1; }
"""


def test_on_amazon_linux_a_transaction_of_the_images_own_is_waited_for(harness: VmHarness, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for shim in SHIMS.iterdir():
        if shim.name != "dnf":
            (shims / shim.name).symlink_to(shim)
    job_id, token = harness.reserve("true")
    harness.fill("i-1103", job_id, token)
    path = f"{shims}:{tmp_path / 'i-1103' / 'bin'}:/usr/bin:/bin"
    vm = harness.boot("i-1103", header={"PACKAGES": "git,docker"}, files={"bin/dnf": DNF}, environment={"PATH": path})
    harness.ended(vm)
    assert harness.steps(vm).count("dnf install -q -y docker") == 2
    assert harness.buildkite.job(job_id).state == "finished"


@contextmanager
def _server(answer: Callable[[http.server.BaseHTTPRequestHandler, int], None]) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self, len(asked))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def _whole(request: http.server.BaseHTTPRequestHandler, _number: int) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(SCRIPT)))
    request.end_headers()
    request.wfile.write(SCRIPT)


def _cut_once(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
    if number > 1:
        _whole(request, number)
        return
    request.send_response(200)
    request.send_header("Content-Length", str(len(SCRIPT)))
    request.end_headers()
    request.wfile.write(SCRIPT[:12])
    request.close_connection = True


def _busy_once(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
    if number > 1:
        _whole(request, number)
        return
    request.send_response(503)
    request.end_headers()


def _missing(request: http.server.BaseHTTPRequestHandler, _number: int) -> None:
    request.send_response(404)
    request.end_headers()


@pytest.mark.parametrize("answer", [_cut_once, _busy_once])
def test_a_download_that_is_cut_or_refused_for_now_is_begun_again(
    harness: VmHarness, answer: Callable[[http.server.BaseHTTPRequestHandler, int], None]
) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-1104", job_id, token)
    with _server(answer) as (origin, asked):
        vm = harness.boot("i-1104", header={"BOOTSTRAP_URL": f"{origin}/bootstrap"})
        harness.ended(vm)
    assert asked == ["/bootstrap"] * 2
    assert "prepared" in vm.console()
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_download_that_is_not_there_fails_at_once(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-1105", job_id, token)
    with _server(_missing) as (origin, asked):
        vm = harness.boot("i-1105", header={"BOOTSTRAP_URL": f"{origin}/bootstrap"})
        harness.ended(vm)
    assert asked == ["/bootstrap"]
    assert "cannot download" in harness.mail("i-1105")["detail"]
    assert "404" in harness.mail("i-1105")["detail"]


def test_a_proxy_with_a_password_is_refused_without_saying_it(harness: VmHarness) -> None:
    vm = harness.boot("i-1107", header={"PROXY": "http://user:s3cr3t@127.0.0.1:9"})
    harness.ended(vm)
    assert "parameter HttpProxy holds a user or a password" in vm.console()
    assert "s3cr3t" not in vm.console()


def test_a_proxy_is_used_for_everything_but_the_metadata_service(harness: VmHarness) -> None:
    job_id, token = harness.reserve('echo "$https_proxy $NO_PROXY"')
    harness.fill("i-1106", job_id, token)
    with _server(_whole) as (proxy, asked):
        # An address that no exception covers: were metadata asked through the proxy, it would be.
        metadata = harness.imds.url_of("i-1106").replace("127.0.0.1", "0.0.0.0")
        vm = harness.boot(
            "i-1106",
            header={"PROXY": proxy, "NO_PROXY_FOR": ".internal", "BOOTSTRAP_URL": "http://127.0.0.2/bootstrap"},
            environment={"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata},
        )
        harness.ended(vm)
    assert asked == ["http://127.0.0.2/bootstrap"]
    assert harness.output(job_id) == f"{proxy} 169.254.169.254,fd00:ec2::254,localhost,127.0.0.1,::1,.internal\n"
