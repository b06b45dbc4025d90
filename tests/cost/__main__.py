"""What a deployment costs, by template.yaml's settings, counted calls and dated list prices. See docs/cost.md."""

import argparse
import sys

from infra.user_data import ROOT
from tests.cost.page import missed, page

PAGE = ROOT / "docs" / "cost.md"


def main() -> int:
    """Compute and print; the exit status, which is 1 with --check or --strict when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="scripts/cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/cost.md")
    parser.add_argument("--check", action="store_true", help="fail when docs/cost.md says something else")
    parser.add_argument("--strict", action="store_true", help="fail when an idle month exceeds its limit")
    arguments = parser.parse_args()
    text = page()
    if arguments.check and (not PAGE.exists() or PAGE.read_text() != text):
        sys.stderr.write("docs/cost.md is not what scripts/cost computes; run scripts/cost --write\n")
        return 1
    if arguments.write:
        PAGE.write_text(text)
    if not (arguments.check or arguments.write):
        sys.stdout.write(text)
    for limit in missed():
        sys.stderr.write(f"MISSED  {limit}\n")
    return 1 if arguments.strict and missed() else 0


if __name__ == "__main__":
    sys.exit(main())
