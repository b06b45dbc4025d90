"""No number and no time of the product changes unless somebody decides it: each stands in tests/constants, too.

Most tests compute with the product's own constants, so that a law holds whatever they are. Then a constant that is
doubled by mistake, or has another unit, fails none of them.
"""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.constants.templates import of_templates
from tests.constants.written import ROOT, of_python, of_shell

WRITTEN = {
    "functions": lambda: of_python("functions/agent_stack", "functions/handlers"),
    # The page of `simulate` plays with guesses; they start no VM.
    "command": lambda: of_python("scripts/agent_stack_cli", without="simulation"),
    "vm": lambda: of_shell("infra/vm"),
    "templates": of_templates,
}


def decided(what: str) -> Iterable[str]:
    lines = (ROOT / f"tests/constants/{what}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("what", WRITTEN)
def test_each_number_and_each_time_is_the_one_that_was_decided(what: str) -> None:
    now, before = Counter(WRITTEN[what]()), Counter(decided(what))
    assert len(now) > 20
    assert now - before == before - now == Counter(), f"a decision: correct tests/constants/{what}.txt with its reason"
