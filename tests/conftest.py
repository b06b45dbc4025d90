"""What several suites run against."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from moto import mock_aws

from tests.aws_models import read_once
from tests.contract.tables import AnyTables, MemoryTables, Tables
from tests.turns import mark_for_the_night

read_once()

settings.register_profile("fast", max_examples=10)  # of scripts/fast
settings.register_profile("nightly", max_examples=2_500)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_for_the_night(items)


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
