"""What scripts/package would run, and the command that it names next."""

import os
import subprocess

from infra.user_data import ROOT


def test_the_next_command_deploys_where_the_bucket_is() -> None:
    """The aws command's own region may be another one."""
    done = subprocess.run(
        [ROOT / "scripts/package", "bucket", "--region", "eu-west-1", "--dry-run"],
        env={**os.environ, "AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("Next: ")]
    assert "--template-url https://bucket.s3.eu-west-1.amazonaws.com/agent-stack/template.yaml" in said
    assert "--region eu-west-1" in said
