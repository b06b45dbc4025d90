"""The runtime that the artefact is tried in: alone on its path, measured, and held to the function's memory."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artefact.runtime import lay_out
from tests.artefact.shares import GROUPS, OTHERS, attributed
from tests.simulator.lambda_host import LambdaHost

pytestmark = pytest.mark.e2e

HANDLER = """
def handle(event, context):
    if event.get("import"):
        __import__(event["import"])
    held = bytearray(event.get("mib", 0) * 2**20)
    return len(held)
"""


REPORT = """\
import time: self [us] | cumulative | imported package
import time:        10 |         10 |     json
import time:        20 |         30 |   botocore.session
import time:         5 |          5 |   socket
import time:         7 |         42 | agent_stack.wiring
import time:         3 |          3 | site
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LambdaHost]:
    code = tmp_path / "code"
    code.mkdir()
    (code / "small.py").write_text(HANDLER)
    made = LambdaHost(
        function="small",
        handler="small.handle",
        environment={},
        code_directory=code,
        timeout_seconds=30,
        memory_mib=128,
        runtime=lay_out(tmp_path / "runtime"),
    )
    yield made
    made.close()


def test_what_is_installed_beside_it_is_not_found(host: LambdaHost) -> None:
    assert host.invoke({}).error is None
    assert "No module named 'boto3'" in str(host.invoke({"import": "boto3"}).error)


def test_only_the_first_invocation_of_a_process_has_an_init(host: LambdaHost) -> None:
    first, second = host.invoke({}), host.invoke({})
    assert (first.init_seconds is not None, second.init_seconds) == (True, None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had in memory at most")
def test_a_function_that_outgrows_its_memory_fails_and_the_next_one_starts_anew(host: LambdaHost) -> None:
    small, large, after = host.invoke({}), host.invoke({"mib": 200}), host.invoke({})
    assert small.peak_mib is not None
    assert small.peak_mib < 128
    assert str(large.error).startswith("Runtime.OutOfMemory: 2")
    assert (after.error, after.init_seconds is not None) == (None, True)


def test_an_import_is_its_groups_or_that_of_the_nearest_importer_in_one() -> None:
    ours = next(group for group, packages in GROUPS.items() if "agent_stack" in packages)
    boto = next(group for group, packages in GROUPS.items() if "botocore" in packages)
    assert sorted(attributed(REPORT)) == sorted([(boto, 10), (boto, 20), (ours, 5), (ours, 7), (OTHERS, 3)])
