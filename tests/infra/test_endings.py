"""How scripts that ask AWS end when AWS refuses: one line that no terminal obeys, and the command that helps."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from infra import drain, smoke

EVIL = "no \x1b[31m\x1b]0;title\x07 \u202eback\r\nnew"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets AWS refuse every request with that code."""
    for name, value in {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)

    def by(code: str) -> None:
        def refuse(_client: object, operation: str, _asked: object) -> Any:  # noqa: ANN401  (it never answers)
            raise ClientError({"Error": {"Code": code, "Message": EVIL}}, operation)

        monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    return by


@pytest.mark.parametrize(("script", "name"), [(drain, "scripts/drain"), (smoke, "scripts/smoke")])
@pytest.mark.parametrize(
    ("code", "then"),
    [
        ("Throttling", "doctor --stack ci --region eu-west-1"),
        ("AccessDenied", "prints"),
    ],
)
def test_what_aws_refuses_is_one_line_and_the_next_command_for_the_same_stack(
    *,
    script: ModuleType,
    name: str,
    code: str,
    then: str,
    refused: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(code)
    monkeypatch.setattr(sys, "argv", [name, "ci", "--region", "eu-west-1"])
    assert script.run() == 1
    said = capsys.readouterr().err
    assert not set(said) & {"\x1b", "\x07", "\r", "\u202e"}
    first, second = said.splitlines()
    assert first.startswith(f"{name}: DescribeStacks")
    assert second.startswith("Next: ")
    assert second.endswith(then)
