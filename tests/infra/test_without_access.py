"""scripts/smoke and scripts/drain without a region or without credentials: one line, and the next command."""

import sys

import pytest

from infra import drain, smoke

NOWHERE = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NAMES = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.mark.parametrize("script", [drain, smoke], ids=["drain", "smoke"])
@pytest.mark.parametrize(
    ("given", "problem", "next_line"),
    [
        ({}, "no AWS region is set", "Next: name it: --region"),
        ({"AWS_REGION": "eu-central-1"}, "AWS credentials are missing", "Next: aws sso login"),
        ({"AWS_PROFILE": "nosuch", "AWS_REGION": "eu-central-1"}, "nosuch", "Next: aws configure list-profiles"),
    ],
    ids=["no region", "no credentials", "no profile"],
)
def test_it_is_one_line_and_the_next_command(
    script: object,
    given: dict[str, str],
    problem: str,
    next_line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**NOWHERE, **given}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["script", "ci"])
    assert script.run() == 1  # type: ignore[attr-defined]  # of both modules
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert problem in first
    assert second.startswith(next_line)
    assert not said.out
