"""The benchmark of clones measures what it says: a small repository over a real git server."""

from pathlib import Path

import pytest

from tests.bench.clone import MOST_OF_THE_SERVER, measure, total

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]


def test_a_seed_saves_the_git_server_most_of_the_bytes(tmp_path: Path) -> None:
    parts = measure(tmp_path, megabytes=6, git_rate=100, bucket_rate=100)
    cold, warm = total(parts, "cold"), total(parts, "seed")
    assert cold.bucket_bytes == 0
    assert cold.server_bytes > 6_000_000
    assert warm.bucket_bytes > 5_000_000
    assert warm.server_bytes < MOST_OF_THE_SERVER * cold.server_bytes


def test_the_bandwidth_of_the_server_is_kept(tmp_path: Path) -> None:
    parts = measure(tmp_path, megabytes=2, git_rate=2, bucket_rate=100)
    cold = total(parts, "cold")
    assert cold.seconds >= cold.server_bytes / 2_000_000 * 0.9
