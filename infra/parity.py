"""docs/reference/elastic-ci-stack.md: each parameter of the Elastic CI Stack, and how to get the same here.

Its source is what `migrate` knows.
"""

from collections import Counter
from pathlib import Path

from agent_stack_cli.migration.rows import Parity
from agent_stack_cli.migration.table import GROUPS, ROWS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "elastic-ci-stack.md"
MEANING = {
    Parity.COVERED: "by a parameter, a class field or by design",
    Parity.RECIPE: "with more than one parameter, a script or a step of your own",
    Parity.NOT: "not here; the row says why, and what else helps",
    Parity.NEEDLESS: "without a purpose here, because each job has a VM of its own or something else does it",
}
HEAD = """# Beside the Elastic CI Stack

Written by scripts/generate from scripts/agent_stack_cli/migration.

The {count} parameters of the [Elastic CI Stack for AWS](https://github.com/buildkite/elastic-ci-stack-for-aws)
(`templates/aws-stack.yml` of August 2026, commit b4948d8) and what does the same here. `agent-stack migrate` carries
your values over: [migrate](../tasks/migrate-from-elastic-ci-stack.md). Nothing on this page was tried on AWS.
"""


def page() -> str:
    """The page's text."""
    counted = Counter(row.parity for row in ROWS.values())
    lines = [HEAD.format(count=len(ROWS)), "| | Parameters | Meaning |", "|---|---:|---|"]
    lines += [f"| {parity} | {counted[parity]} | {MEANING[parity]} |" for parity in Parity]
    for group, rows in GROUPS.items():
        lines += ["", f"## {group}", "", "| Elastic CI Stack | | Here |", "|---|---|---|"]
        lines += [f"| `{row.name}` | {row.parity} | {_sentence(row.here)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
