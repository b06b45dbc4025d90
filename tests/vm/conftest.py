"""What the tests of the boot program stand on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import Buildkite, BuildkiteServer
from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.process import default_world, leftover_processes
from tests.vm.harness import Aws, VmHarness
from tests.vm.job_yard import JobYard


@pytest.fixture(scope="session")
def deployed_once() -> Iterator[list[Aws]]:
    """The account of the file before: deploying one takes longer than many a test."""
    made: list[Aws] = []
    yield made
    for account in made:
        account.close()


@pytest.fixture(scope="module")
def aws(deployed_once: list[Aws]) -> Aws:
    if deployed_once and not deployed_once[0].is_deployed():
        deployed_once.pop().close()  # another test's account has taken its place: moto has one at a time
    if deployed_once:
        deployed_once[0].forget()
    else:
        deployed_once.append(Aws())
    return deployed_once[0]


@pytest.fixture
def harness(aws: Aws, tmp_path: Path) -> Iterator[VmHarness]:
    buildkite = Buildkite(now=lambda: datetime.now(UTC))
    expire_at = datetime.now(UTC) + timedelta(hours=6)
    with FakeImds(credentials_expire_at=expire_at) as imds, BuildkiteServer(buildkite) as server:
        made = VmHarness(aws=aws, directory=tmp_path, imds=imds, server=server, buildkite=buildkite)
        try:
            yield made
        finally:
            made.close()
    assert leftover_processes(default_world()) == []


@pytest.fixture(scope="module")
def account() -> Iterator[AwsServer]:
    made = AwsServer()
    yield made
    made.close()


@pytest.fixture
def yard(account: AwsServer, tmp_path: Path) -> Iterator[JobYard]:
    made = JobYard(account, tmp_path)
    yield made
    made.close()
