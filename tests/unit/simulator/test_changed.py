"""A change runs the contract suites that it concerns, and no others."""

import pytest

from tests.contract.changed import ROOT, concerned

SUITES = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "contract").glob("test_*.py")}


def test_a_suite_that_changed_is_run() -> None:
    assert all(concerned([suite]) == [suite] for suite in SUITES)


@pytest.mark.parametrize(
    ("file", "runs", "does_not"),
    [
        ("functions/agent_stack/adapters/dynamodb/table.py", "test_ledger", "test_fleet"),
        ("functions/agent_stack/adapters/ec2/__init__.py", "test_fleet", "test_ledger"),
        ("functions/agent_stack/adapters/stacks_api/client.py", "test_stacks_api_faults", "test_lease"),
        ("tests/simulator/memory/store.py", "test_mailbox", "test_fleet"),
        ("tests/simulator/buildkite/stacks.py", "test_stacks_api", "test_mailbox"),
        ("tests/contract/tables.py", "test_lease", "test_stacks_api"),
    ],
)
def test_what_changed_runs_the_suites_that_are_made_of_it(file: str, runs: str, does_not: str) -> None:
    found = concerned([file])
    assert f"tests/contract/{runs}.py" in found
    assert f"tests/contract/{does_not}.py" not in found


@pytest.mark.parametrize(
    "file", ["README.md", "functions/agent_stack/domain/runs.py", "tests/unit/removal/test_terminate_all.py"]
)
def test_what_no_suite_is_made_of_runs_none(file: str) -> None:
    assert concerned([file]) == []
