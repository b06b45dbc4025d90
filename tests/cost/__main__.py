"""What a deployment costs, by template.yaml's settings, counted calls and dated prices (docs/reference/cost.md)."""

import argparse
import json
import sys

from agent_stack_cli.idle_costs import COMPUTED
from agent_stack_cli.prices import DATE, REGIONS
from infra.user_data import ROOT
from tests.cost import readme
from tests.cost.model import MODES, idle_month
from tests.cost.page import missed, page

PAGE = ROOT / "docs" / "reference" / "cost.md"


def idle_bills() -> str:
    """An idle month by mode and region, as `agent-stack cost --idle` prints it."""
    bills = {
        mode: {region: {name: round(usd, 4) for name, usd in idle_month(mode, region).items()} for region in REGIONS}
        for mode in MODES
    }
    return json.dumps({"prices_of": DATE, "usd_a_month": bills}, indent=1) + "\n"


def main() -> int:
    """Compute and print; the exit status, which is 1 with --check or --strict when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="scripts/cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/reference/cost.md and the README's table")
    parser.add_argument("--check", action="store_true", help="fail when one of them says something else")
    parser.add_argument("--strict", action="store_true", help="fail when an idle month exceeds its limit")
    arguments = parser.parse_args()
    text = page()
    wanted = {PAGE: text, COMPUTED: idle_bills(), readme.PAGE: readme.page()}
    stale = [path for path, computed in wanted.items() if not path.exists() or path.read_text() != computed]
    if arguments.check and stale:
        names = ", ".join(path.name for path in stale)
        sys.stderr.write(f"not what scripts/cost computes: {names}; run scripts/cost --write\n")
        return 1
    if arguments.write:
        for path in stale:
            path.write_text(wanted[path])
    if not (arguments.check or arguments.write):
        sys.stdout.write(text)
    for limit in missed():
        sys.stderr.write(f"MISSED  {limit}\n")
    return 1 if arguments.strict and missed() else 0


if __name__ == "__main__":
    sys.exit(main())
