"""What several suites run against."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.contract.tables import Tables


@pytest.fixture
def tables() -> Iterator[Tables]:
    """DynamoDB by moto, in process."""
    with mock_aws():
        yield Tables()
