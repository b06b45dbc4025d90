"""Nothing that is deployed outgrows AWS's limits, and there is room left for the values of parameters."""

import pytest

from tests.infra.stacks import template
from tests.limits.measures import MAX_ENVIRONMENT_BYTES, MAX_PARAMETERS, Measure, measures, page

MEASURED = {one.what: one for one in measures()}
LEAST_LEFT = 1_200
"""Bytes of an environment, for names and tags that are longer than those of the tests."""


@pytest.mark.parametrize("what", MEASURED)
def test_it_fits(what: str) -> None:
    assert MEASURED[what].fits, f"{what}: {MEASURED[what].size} of {MEASURED[what].limit}"


def test_each_environment_has_room_for_longer_values() -> None:
    environments = [one for one in MEASURED.values() if one.limit == MAX_ENVIRONMENT_BYTES]
    assert len(environments) == 4
    assert min(one.limit - one.size for one in environments) >= LEAST_LEFT


def test_the_page_counts_what_the_template_has_and_shows_what_is_too_much() -> None:
    parameters = MEASURED["template.yaml: parameters"]
    assert (parameters.size, parameters.limit) == (len(template()["Parameters"]), MAX_PARAMETERS)
    assert page(MEASURED.values()).count("ok  ") == len(MEASURED)
    assert page([Measure(what="x", size=201, limit=MAX_PARAMETERS)]).startswith("NO  x")
