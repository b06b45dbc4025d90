"""Verbs on a machine that knows nothing of AWS."""

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from agent_stack_cli.app import app

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "elastic-ci-stack" / "parameters.json"
"""A realistic parameter file: 25 values that are not that stack's defaults."""

TOKEN = "bkct_0123456789abcdefghijABCDEFGHIJ"
NOTHING = {
    "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
    "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "HOME": "/nowhere",
}  # fmt: skip
"""A machine that knows nothing of AWS."""


def run_verb(verb: str, *words: str, text: str | bytes | None = None) -> Result:
    """A verb that needs no AWS."""
    return CliRunner().invoke(app, [verb, *words], env=NOTHING, input=text, prog_name="agent-stack")  # type: ignore[return-value]  # typer's own kind of result


def run(*words: str, text: str | bytes | None = None) -> Result:
    """`migrate`."""
    return run_verb("migrate", *words, text=text)
