"""A job's token is fresh for as long as the job runs, and not a second longer; credentials never end under it."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from werkzeug import Request, Response

from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import Operation
from tests.simulator.clock import VirtualClock
from tests.simulator.loopback import LoopbackServer
from tests.vm.harness import wait_for
from tests.vm.job_stack import REGION
from tests.vm.job_yard import JobYard
from tests.vm.running_job import RunningJob

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

VIRTUAL_TIMEOUT = """#!/bin/bash
# timeout, whose waiting for a process's end is virtual: the test lets the seconds pass.
[[ $2 == tail ]] || exec /usr/bin/timeout "$@"
exit "$(curl -s "$CLOCK?seconds=$1")"
"""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def later(account: AwsServer, tmp_path: Path, clock: VirtualClock) -> Iterator[JobYard]:
    """A yard on a virtual clock."""
    made = JobYard(account, tmp_path, now=clock.now)
    yield made
    made.close()


def play(
    yard: JobYard, clock: VirtualClock, job: RunningJob, *, hours: float, each_minute: Callable[[int], None]
) -> None:
    """Let the job's program renew the token for that long, in virtual time."""
    ends = clock.now() + timedelta(hours=hours)
    (yard.place / "bin" / "timeout").write_text(VIRTUAL_TIMEOUT)
    (yard.place / "bin" / "timeout").chmod(0o755)
    minute = 0
    failures: list[BaseException] = []

    def pass_time(request: Request) -> Response:
        nonlocal minute
        for _ in range(int(request.args["seconds"]) // 60):
            clock.sleep(timedelta(minutes=1))
            minute += 1
            yard.alive(job)
            try:
                each_minute(minute)
            except BaseException as error:  # noqa: BLE001  (told where the test is)
                failures.append(error)
                return Response("0")
        return Response("124" if clock.now() < ends else "0")

    with LoopbackServer(pass_time, advance=lambda: None) as server:
        environment = {**yard.environment(job), "CLOCK": server.origin}
        program = yard.place / "agent-stack-aws"
        subprocess.run(["bash", program, "renew", "1"], env=environment, check=True, timeout=300)
    if failures:
        raise failures[0]


def test_credentials_never_end_under_a_job_of_three_hours(
    later: JobYard, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an SDK that renews by itself; STS is down for four minutes as it does, and Buildkite for half an hour."""
    job = later.job()
    done = later.hooked(job)
    for name, value in done.env.items():
        if name.startswith("AWS_") and "ENDPOINT" not in name:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", later.front.origin)
    once = Config(retries={"total_max_attempts": 1})
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sdk = boto3.Session(region_name=REGION)
    vars(sdk.get_credentials())["_time_fetcher"] = clock.now  # botocore's own way to another clock
    client = sdk.client("s3", config=once)
    key = f"{job.pipeline_id}/x"

    def work(minute: int) -> None:
        later.sts.down = 45 <= minute % 60 < 49
        if minute == 70:
            later.buildkite.faults.fail(Operation.JOB_OIDC_TOKEN, times=30, status=403)
        client.put_object(Bucket="artifacts", Key=key, Body=b"x")

    work(0)
    play(later, clock, job, hours=3, each_minute=work)
    said = (later.place / "run" / "aws" / "renewal").read_text()
    assert said.count("could not be renewed") == 30
    outcomes = [code for _, code in later.sts.exchanges]
    assert outcomes.count("OK") >= 4
    assert "ServiceUnavailable" in outcomes, "STS was never asked while it was down"
    assert later.claims()["exp"] > clock.now().timestamp()


def test_without_renewal_they_would_end(later: JobYard, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a token that nobody renews is over after an hour."""
    job = later.job()
    later.hooked(job)
    clock.sleep(timedelta(seconds=3_601))
    with pytest.raises(later.client("sts", None).exceptions.ExpiredTokenException):
        later.session(later.token_file.read_text())


def test_a_renewal_keeps_the_file_that_a_container_has_mounted(later: JobYard, clock: VirtualClock) -> None:
    job = later.job()
    later.hooked(job)
    before, inode = later.token_file.read_text(), later.token_file.stat().st_ino
    with later.token_file.open() as mounted:
        play(later, clock, job, hours=0.4, each_minute=lambda _: None)
        assert later.token_file.stat().st_ino == inode
        assert mounted.read() == later.token_file.read_text() != before
        assert later.token_file.read_text().count(".") == 2


def test_a_token_that_came_late_is_there_for_the_rest_of_the_job(later: JobYard, clock: VirtualClock) -> None:
    job = later.job()
    later.buildkite.faults.fail(Operation.JOB_OIDC_TOKEN, times=2, status=403)
    assert "no AWS access" in later.hooked(job).said
    play(later, clock, job, hours=0.1, each_minute=lambda _: None)
    assert later.session(later.token_file.read_text()).tags["pipeline_id"] == job.pipeline_id


def renewing(yard: JobYard) -> list[psutil.Process]:
    program = str(yard.place)
    found = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    return [process for process in found if any(program in part for part in _words(process))]


def _words(process: psutil.Process) -> list[str]:
    try:
        words = process.cmdline()
    except psutil.Error:
        return []
    return words if "renew" in words else []


def test_the_renewal_ends_with_its_job(yard: JobYard) -> None:
    job = yard.job()
    started = subprocess.Popen(
        ["bash", "-c", 'bash -c "$0"; read -r', 'source "$BUILDKITE_HOOKS_PATH/environment"'],
        env=yard.environment(job),
        stdin=subprocess.PIPE,
    )
    wait_for(lambda: len(renewing(yard)) == 1)
    assert started.stdin is not None
    started.stdin.close()
    started.wait()
    wait_for(lambda: renewing(yard) == [])


def test_a_system_whose_tail_does_not_wait_renews_all_the_same(yard: JobYard) -> None:
    """Also where somebody ended it: a renewal that stops without a word leaves the job with a token that ends."""
    job = yard.job()
    lives = subprocess.Popen(["sleep", "60"])
    count = yard.place / "count"
    shims = {
        "timeout": '[[ $2 != tail ]] || exit 1\nexec /usr/bin/timeout "$@"',
        "sleep": f"echo x >>{count}\n(($(wc -l <{count}) < 3)) || {{ kill {lives.pid}; exec /bin/sleep 0.5; }}",
    }
    for name, text in shims.items():
        (yard.place / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (yard.place / "bin" / name).chmod(0o755)
    reaper = threading.Thread(target=lives.wait)
    reaper.start()
    program = yard.place / "agent-stack-aws"
    subprocess.run(["bash", program, "renew", str(lives.pid)], env=yard.environment(job), check=True, timeout=60)
    reaper.join()
    assert count.read_text().count("x") == 3
    assert yard.claims()["job_id"] == job.id


def test_what_could_not_be_renewed_stands_in_the_jobs_log(later: JobYard, clock: VirtualClock) -> None:
    job = later.job()
    later.hooked(job)
    later.buildkite.faults.fail(Operation.JOB_OIDC_TOKEN, times=1, status=403, message="OIDC is off")
    play(later, clock, job, hours=0.4, each_minute=lambda _: None)
    said = subprocess.run(
        ["bash", "-c", 'source "$BUILDKITE_HOOKS_PATH/pre-exit"'],
        env=later.environment(job),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "could not be renewed" in said
    assert "OIDC is off" in said
