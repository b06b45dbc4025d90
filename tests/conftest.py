"""What several suites run against."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from moto import mock_aws

from tests.aws_models import read_once
from tests.contract.tables import AnyTables, MemoryTables, Tables
from tests.turns import Turn, is_left_out, mark_for_the_night

read_once()

settings.register_profile("fast", max_examples=10)  # of scripts/fast
settings.register_profile("nightly", max_examples=2_500)


TURN = Turn.of_the_commit()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return is_left_out(collection_path, config.option.markexpr, TURN) or None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_for_the_night(items, TURN)


@pytest.fixture
def dynamo() -> Iterator[Tables]:
    """DynamoDB by moto, in process."""
    with mock_aws():
        yield Tables()


@pytest.fixture(params=["dynamodb", "memory"])
def tables(request: pytest.FixtureRequest) -> AnyTables:
    """Every store of records there is."""
    if request.param == "memory":
        return MemoryTables()
    made: Tables = request.getfixturevalue("dynamo")
    return made
