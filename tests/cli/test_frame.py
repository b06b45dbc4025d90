"""How every verb fails, helps and speaks to programs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from agent_stack.domain.errors import AgentStackError, UnknownOutcomeError, WaitError
from agent_stack_cli.app import app
from agent_stack_cli.errors import CliError, translated
from tests.cli.served import Served

pytestmark = pytest.mark.share(3)

DOCS = Path(__file__).parents[2] / "docs"
VERBS = {
    "status": (), "doctor": (), "pause": (), "resume": (), "drain": ("--minutes", "0"), "params": (), "cost": (),
    "job": ("x",), "logs": ("x",), "connect": ("x",), "policy": ("read",), "stacks": (),
    "classes": ("validate",), "images": (), "migrate": ("--from-stack", "elastic"), "oidc": (),
    "simulate": ("--load", "history"),
}  # fmt: skip
OF_NO_STACK = {"stacks", "migrate"}
"""Verbs that are about no stack of this project, or about all."""


def test_every_verb_is_tried_here() -> None:
    assert set(get_command(app).commands) == set(VERBS)  # type: ignore[attr-defined]  # a group of commands


def test_every_verb_takes_the_options_that_the_page_promises() -> None:
    def commands(group: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401  (the vendored group)
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, f"{name} ")
            else:
                yield path + name, {option for parameter in command.params for option in parameter.opts}

    of_all = {"--region", "--profile", "--json"}
    seen = dict(commands(get_command(app)))
    assert len(seen) > len(VERBS)
    for verb, options in seen.items():
        assert options >= (of_all if verb in OF_NO_STACK else of_all | {"--stack"}), verb
        assert ("--stack" in options) == (verb not in OF_NO_STACK), verb


def test_a_word_of_help_is_that_of_the_page(served: Served) -> None:
    page = " ".join((DOCS / "reference" / "agent-stack.md").read_text().split())
    assert "JOB is a job id, the URL of a job's page, or the URL of a build with one job." in page
    assert "A job id, the URL of a job's page, or the URL of a build with one job." in unwrapped(
        served.ok("job", "--help")
    )
    assert "waits until no VM is left, or with `--queue` none with a job of that queue" in page
    drain = unwrapped(served.ok("drain", "--help"))
    assert "wait until no VM is left; with --queue, until no VM has a job of that queue" in drain


def unwrapped(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("verb", VERBS)
def test_without_credentials_a_verb_says_so_in_one_line_with_what_to_run(served: Served, verb: str) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nowhere", "AWS_CONFIG_FILE": "/nowhere"}
    result = served.run(verb, *VERBS[verb], env=nothing)
    assert result.exit_code == 1
    assert result.stdout == ""
    first, second, *more = result.stderr.splitlines()
    assert first.startswith("agent-stack: AWS credentials are missing")
    assert second.startswith("Next: aws sso login")
    assert not more


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_region_a_verb_says_so(served: Served, verb: str) -> None:
    nowhere = {"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": "/nowhere"}
    result = served.run(verb, *VERBS[verb], env=nowhere)
    assert result.exit_code == 1
    assert "no AWS region is set" in result.stderr
    assert "Next: name it: --region" in result.stderr


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in OF_NO_STACK])
def test_a_stack_that_is_not_there_is_answered_with_one_that_is(served: Served, verb: str) -> None:
    result = served.run(verb, *VERBS[verb], "--stack", "nosuch")
    assert result.exit_code == 1
    assert "there is no stack nosuch in eu-central-1" in result.stderr
    assert "Next: name one that is there: --stack demo" in result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples(served: Served, verb: str) -> None:
    words = (verb, "validate", "--help") if verb == "classes" else (verb, "--help")
    said = served.ok(*words)
    assert "Examples:" in said
    assert f"agent-stack {verb}" in said


def test_a_stack_is_found_by_its_tag_and_listed(served: Served) -> None:
    assert served.ok("stacks").strip() == "demo"
    assert served.data("stacks") == ["demo"]


def test_nothing_is_coloured_when_piped(served: Served) -> None:
    for words in (("status",), ("params",), ("--help",)):
        assert "\x1b" not in served.ok(*words)


def test_json_is_json_whatever_a_pipeline_wrote(served: Served) -> None:
    run = served.recorded(1, pipeline='a"b\x1b[2J\u202e')
    assert json.loads(served.ok("job", run.job_id, "--json"))["runs"][0]["pipeline"] == run.origin.pipeline_slug
    assert run.origin.pipeline_slug.startswith('a"b')


def test_wrong_usage_names_the_help(served: Served) -> None:
    result = served.run("statsu")
    assert result.exit_code == 2
    assert "--help" in result.stderr


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (WaitError("DescribeInstanceTypes: UnauthorizedOperation: no"), "attach the policy"),
        (UnknownOutcomeError("DescribeInstanceTypes: no answer from AWS"), "agent-stack doctor --stack ci"),
    ],
)
def test_what_the_functions_adapters_raise_is_one_line_too(error: AgentStackError, then: str) -> None:
    with pytest.raises(CliError) as raised, translated("--stack", "ci"):
        raise error
    assert raised.value.message == str(error)
    assert raised.value.next.startswith(then)
