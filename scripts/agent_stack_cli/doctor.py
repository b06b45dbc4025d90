"""`agent-stack doctor`: what is wrong with a deployment, what happens because of it, and what to do.

The dispatcher function looks with its own role and its own token. The operator's own rights are used for the rest:
the ledger, the logs, alarms, quotas, routes, the stack. One look that fails is a finding, and the others go on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from agent_stack.domain.findings import Finding
from agent_stack_cli.account_findings import alarms, routes
from agent_stack_cli.findings import looked
from agent_stack_cli.function_findings import inspected
from agent_stack_cli.image_findings import baked, images
from agent_stack_cli.log_findings import logged, unlogged
from agent_stack_cli.output import Output
from agent_stack_cli.quota_findings import quotas
from agent_stack_cli.stack_findings import deployment, learnt, liveness, paused
from agent_stack_cli.stacks import Stack

LOOKS: Mapping[str, Callable[[Stack], Iterable[Finding]]] = {
    "stack": deployment,
    "pauses": paused,
    "dispatcher": inspected,
    "liveness": liveness,
    "what EC2 refused": learnt,
    "logs": logged,
    "log groups": unlogged,
    "alarms": alarms,
    "quotas": quotas,
    "routes": routes,
    "images": images,
    "bakes": baked,
}
"""Everything that is looked at, by the name that a look which fails is shown under. docs/reference/agent-stack.md shows
the first sentence of each."""


def examine(stack: Stack) -> list[Finding]:
    """Everything that is wrong with a deployed stack, the worst first."""
    again = stack.agent_stack("doctor")
    found = [finding for check, look in LOOKS.items() for finding in looked(check, partial(look, stack), again)]
    unique = {(finding.check, finding.problem): finding for finding in found}
    return sorted(unique.values(), key=lambda finding: (finding.severity != "error", finding.check))


def show(findings: Sequence[Finding], output: Output, *, of: str) -> None:
    """The findings for people."""
    if output.as_json:
        output.json(findings)
        return
    for finding in findings:
        output.line(f"{finding.severity.upper()}  {finding.check}: {finding.problem}", finding.severity)
        output.line(f"  Because of it: {finding.effect}")
        output.line(f"  Do: {finding.remedy}")
    errors = sum(finding.severity == "error" for finding in findings)
    if findings:
        output.line()
        output.line(f"{errors} errors, {len(findings) - errors} warnings in {of}.")
    else:
        output.line(f"PASS  {of}: nothing is wrong.", "ok")
