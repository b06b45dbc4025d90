"""What a deployment costs, by template.yaml's settings, counted calls and dated list prices. See docs/cost.md."""

import argparse
import json
import sys
from dataclasses import asdict

from infra.user_data import ROOT
from tests.cost.model import JOB_MINUTES, Costs, bars, modes
from tests.cost.page import page
from tests.cost.prices import REGIONS, prices_of

PAGE = ROOT / "docs" / "cost.md"


def main() -> int:
    """Compute and print; the exit status, which is 1 with --check or --strict when something is not as it should be."""
    parser = argparse.ArgumentParser(prog="scripts/cost", description=__doc__)
    parser.add_argument("--region", choices=REGIONS, default=REGIONS[0], help="of --json and of the bars")
    parser.add_argument("--json", action="store_true", help="every figure, for programs")
    parser.add_argument("--write", action="store_true", help="write docs/cost.md")
    parser.add_argument("--check", action="store_true", help="fail when docs/cost.md says something else")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    arguments = parser.parse_args()
    costs = Costs(prices_of(arguments.region))
    if arguments.json:
        sys.stdout.write(json.dumps(_document(costs), indent=2) + "\n")
    else:
        text = page()
        if arguments.check and (not PAGE.exists() or PAGE.read_text() != text):
            sys.stderr.write("docs/cost.md is not what scripts/cost computes; run scripts/cost --write\n")
            return 1
        if arguments.write:
            PAGE.write_text(text)
        if not (arguments.check or arguments.write):
            sys.stdout.write(text)
        for bar in bars(costs):
            kept = "kept  " if bar.kept else "MISSED"
            sys.stdout.write(f"{kept}  {bar.name}: functions and tables {bar.usd:.2f} USD, at most {bar.at_most:.2f}\n")
    return 1 if arguments.strict and not all(bar.kept for bar in bars(costs)) else 0


def _document(costs: Costs) -> dict[str, object]:
    return {
        "region": costs.prices.region,
        "prices_of": costs.prices.date,
        "unconfirmed_prices": list(costs.prices.unconfirmed),
        "assumed": dict(costs.prices.assumed),
        "idle_month": {mode.name: asdict(costs.idle_month(mode)) for mode in modes()},
        "thousand_jobs": {mode.name: asdict(costs.thousand_jobs(mode)) for mode in modes()},
        "thousand_vms_by_job_minutes": {minutes: dict(costs.thousand_vms(minutes)) for minutes in JOB_MINUTES},
        "forgotten": dict(costs.forgotten()),
        "elastic_ci_stack": {"idle_month": dict(costs.elastic_month()), "idle_tail": costs.elastic_tail()},
        "idle_usage": {name: asdict(usage) for name, usage in costs.idle_usage.items()},
        "bars": [{**asdict(bar), "kept": bar.kept} for bar in bars(costs)],
    }


if __name__ == "__main__":
    sys.exit(main())
