"""Names that this release changed: CHANGELOG has the table for users, so the code has each new name and no old one."""

import re
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from agent_stack.domain.measures import Metric
from infra.user_data import ROOT
from tests.infra.test_observability import alarms, logged
from tests.simulator.watching.template import Rendered

ROW = re.compile(r"^\| (log message|metric|alarm|saved query) \| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
TEXTS = ("*.py", "*.yaml", "*.sh", "*.md", "scripts")
MAY_NAME_OLD_ONES = ("CHANGELOG.md", "docs/adr/")


def renamed() -> Sequence[tuple[str, str, str]]:
    """Kind, old name and new name."""
    return [(row[1], row[2], row[3]) for row in ROW.finditer((ROOT / "CHANGELOG.md").read_text())]


def files() -> Iterator[tuple[str, str]]:
    """The repository's files of text that must not have an old name."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *TEXTS]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if not name.startswith(MAY_NAME_OLD_ONES) and (ROOT / name).is_file():
            yield name, (ROOT / name).read_text()


def test_each_new_name_exists() -> None:
    there = {
        "log message": {message for message, _ in logged()},
        "metric": {metric.value for metric in Metric},
        "alarm": {alarm["AlarmName"].removeprefix("stack-") for alarm in alarms().values()},
        "saved query": {
            query["Name"].removeprefix("stack/") for query in Rendered().of_type("Logs::QueryDefinition").values()
        },
    }
    assert {kind for kind, _, _ in renamed()} == set(there)
    assert [new for kind, _, new in renamed() if new not in there[kind]] == []


def test_no_old_name_is_left() -> None:
    old = [name for _, name, _ in renamed()]
    pattern = re.compile(rf"""(?<=[`"'/*\s-])(?:{"|".join(map(re.escape, old))})(?=[`"'/*\s.,;:])""")
    left = {f"{name}: {found}" for name, text in files() for found in pattern.findall(text)}
    assert left == set()


@pytest.mark.parametrize("place", [1, 2])
def test_no_name_is_in_the_table_twice(place: int) -> None:
    names = [row[place] for row in renamed()]
    assert len(names) == len(set(names))
