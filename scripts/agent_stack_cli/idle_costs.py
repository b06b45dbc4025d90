"""What a stack costs in a month without a job: scripts/cost computes it from counted calls, and keeps it here."""

import json
from pathlib import Path
from typing import Any

from agent_stack_cli.errors import CliError
from agent_stack_cli.output import Output
from agent_stack_cli.stacks import Stack

COMPUTED = Path(__file__).with_name("idle.json")


def show(stack: Stack, output: Output) -> None:
    """USD by what it is for, at the template's defaults.

    Raises:
        CliError: nothing was computed for this region.
    """
    computed: dict[str, Any] = json.loads(COMPUTED.read_text())
    mode = "push" if stack.settings.woken_by_jobs else "polling"
    bill = computed["usd_a_month"][mode].get(stack.session.region)
    if bill is None:
        regions = ", ".join(computed["usd_a_month"][mode])
        raise CliError(
            f"no prices of {stack.session.region} are known; they are of {regions}",
            next="compare with the nearest: docs/reference/cost.md",
        )
    total = sum(bill.values())
    if output.as_json:
        output.json({"stack": stack.name, "mode": mode, "prices_of": computed["prices_of"], "usd_a_month": bill})
        return
    output.line(f"A month of {stack.name} without a job ({mode}), in USD", "head")
    rows = [(name.replace("_", " "), f"{usd:.2f}") for name, usd in sorted(bill.items(), key=lambda item: -item[1])]
    output.table(("for", "USD"), [*rows, ("all", f"{total:.2f}")])
    output.line(
        f"List prices of {computed['prices_of']}, the template's defaults; see docs/reference/cost.md.", "quiet"
    )
