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
ENDPOINTS = {
    limits.REGISTER: "Register",
    limits.DEREGISTER: "De-register",
    limits.LIST: "List",
    limits.JOB: "Get a job",
    limits.RESERVE: "Reserve",
    limits.STATES: "States",
    limits.FINISH: "Finish",
    limits.NOTIFY: "Notify",
    limits.NOTIFY_ONE: "Notify",
    limits.TOKENS: "Tokens",
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


def rows(table: str) -> list[list[str]]:
    """The cells of each row of the first table under that heading."""
    lines = PAGE.split(f"## {table}\n")[1].split("\n## ")[0].splitlines()
    return [line.strip("|").split(" | ") for line in lines if line.startswith("| ") and "---" not in line][1:]


def test_each_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    assert len(named) > 40
    assert named - existing() == set()


def test_each_sentence_names_a_test_and_a_place() -> None:
    for said, where, test in rows("Every sentence of the specification"):
        assert said.strip()
        assert where.strip()
        assert "`test_" in test, said


@pytest.mark.parametrize("operation", ENDPOINTS, ids=lambda operation: operation.name)
def test_every_endpoint_has_its_sentences(operation: limits.Operation) -> None:
    assert any(ENDPOINTS[operation] in said for said, _, _ in rows("Every sentence of the specification"))


def test_no_endpoint_is_left_out() -> None:
    every = {value for value in vars(limits).values() if isinstance(value, limits.Operation)}
    assert set(ENDPOINTS) == every


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 503])
def test_every_status_of_an_error_has_its_sentence(status: int) -> None:
    assert any(str(status) in said for said, _, _ in rows("Every sentence of the specification"))
