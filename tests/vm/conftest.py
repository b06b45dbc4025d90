"""What the tests of the boot program stand on."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulator.buildkite import Buildkite, BuildkiteServer
from tests.simulator.vm import FakeImds, leftover_processes
from tests.simulator.vm.process import default_world
from tests.vm.yard import Aws, Yard


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    made = Aws()
    yield made
    made.close()


@pytest.fixture
def yard(aws: Aws, tmp_path: Path) -> Iterator[Yard]:
    buildkite = Buildkite(now=lambda: datetime.now(UTC))
    expire_at = datetime.now(UTC) + timedelta(hours=6)
    with FakeImds(credentials_expire_at=expire_at) as imds, BuildkiteServer(buildkite) as server:
        made = Yard(aws=aws, directory=tmp_path, imds=imds, server=server, buildkite=buildkite)
        try:
            yield made
        finally:
            made.close()
    assert leftover_processes(default_world()) == []
