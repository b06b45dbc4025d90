"""docs/reference/stacks-api.md names the test of each sentence.

Each of them exists, and every endpoint and every status has one.
"""

import ast
import re
from functools import cache

import pytest

from agent_stack.adapters.stacks_api import limits
from infra.user_data import ROOT

PAGE = (ROOT / "docs/reference/stacks-api.md").read_text()
HEAD = "| What the specification says | Where | Test |\n|---|---|---|\n"
ENDPOINTS = {
    limits.REGISTER: "Register",
    limits.DEREGISTER: "De-register",
    limits.LIST: "List scheduled jobs",
    limits.JOB: "Get a job",
    limits.RESERVE: "Reserve",
    limits.STATES: "Job states",
    limits.FINISH: "Finish",
    limits.NOTIFY: "Notify",
    limits.NOTIFY_ONE: "Notify",
    limits.TOKENS: "Job acquisition tokens",
    limits.IDENTITY: "Token identity",
}


@cache
def existing() -> frozenset[str]:
    """The name of every test that exists."""
    return frozenset(
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    )


def sections() -> dict[str, list[list[str]]]:
    """What the specification says under each heading below *Requests*: the cells of each row."""
    parts = PAGE.split("\n## Requests\n")[1].split("\n## ")[0].split("\n### ")[1:]
    return {part.partition("\n")[0]: rows(part) for part in parts}


def rows(section: str) -> list[list[str]]:
    table = section.partition(HEAD)[2].partition("\n\n")[0]
    return [line.strip("|").split(" | ") for line in table.splitlines()]


def test_each_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    assert len(named) > 40
    assert named - existing() == set()


def test_each_sentence_names_a_test_and_a_place() -> None:
    sentences = [sentence for section in sections().values() for sentence in section]
    assert len(sentences) > 40
    for said, where, test in sentences:
        assert said.strip()
        assert where.strip()
        assert "`test_" in test, said


@pytest.mark.parametrize("operation", ENDPOINTS, ids=lambda operation: operation.name)
def test_every_endpoint_has_its_sentences(operation: limits.Operation) -> None:
    assert sections()[ENDPOINTS[operation]]


def test_no_endpoint_is_left_out() -> None:
    every = {value for value in vars(limits).values() if isinstance(value, limits.Operation)}
    assert set(ENDPOINTS) == every


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 503])
def test_every_status_of_an_error_has_its_sentence(status: int) -> None:
    assert any(str(status) in said for section in sections().values() for said, _, _ in section)
