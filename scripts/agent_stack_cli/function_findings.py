"""What the dispatcher function sees when `doctor` lets it look with its own role and token."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent_stack.domain.findings import Finding
from agent_stack_cli.stacks import Stack

MOST_SKEW = timedelta(seconds=30)
_SETTING, _AT_LEAST = re.compile(r"([A-Z]\w+): "), re.compile(r"^Set it to at least ([0-9.]*[0-9])")
MEMBERS = ("check", "severity", "problem", "effect", "remedy")


def inspected(stack: Stack) -> Iterator[Finding]:
    """The findings of the dispatcher function, or why there are none."""
    answer = stack.session.functions.invoke(
        FunctionName=stack.outputs["DispatcherFunction"], Payload=json.dumps({"agent_stack_inspection": 1}).encode()
    )
    said = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        words = f"{said.get('errorType')}: {said.get('errorMessage')}" if isinstance(said, dict) else str(said)
        yield Finding(
            check="dispatcher",
            severity="error",
            problem=f"The function fails: {words}",
            effect="No job gets a VM.",
            remedy="Correct what the words name, and deploy: " + stack.deploy(),
        )
        return
    if not isinstance(said, dict) or not isinstance(said.get("findings"), list):
        yield Finding(
            check="dispatcher",
            severity="warning",
            problem="The deployed version does not know how to be inspected.",
            effect="Token, queues, classes and rights are not examined.",
            remedy=stack.deploy(),
        )
        return
    for finding in said["findings"]:  # of this version, of the one before or of the one after
        read = Finding(**{name: _placed(stack, str(finding.get(name, ""))) for name in MEMBERS})
        yield _with_command(stack, read)
    if said.get("now") is not None:
        skew = abs(stack.session.now() - datetime.fromtimestamp(said["now"], UTC))
        if skew > MOST_SKEW:
            yield Finding(
                check="clock",
                severity="warning",
                problem=f"This machine's clock differs from the function's by {skew.total_seconds():.0f} s",
                effect="Times that agent-stack shows are wrong by that much.",
                remedy="Set this machine's clock.",
            )


def _placed(stack: Stack, text: str) -> str:
    """A command that the function names, with the stack and the region of the operator."""
    bare = "agent-stack classes validate"
    return text.replace(bare, stack.agent_stack("classes", "validate")) if bare in text else text


def _with_command(stack: Stack, finding: Finding) -> Finding:
    """With the command that sets a parameter, where the function says which value it needs."""
    setting, value = _SETTING.match(finding.problem), _AT_LEAST.search(finding.remedy)
    if setting is None or value is None:
        return finding
    command = stack.deploy(f"{setting[1]}={value[1]}")
    return replace(finding, remedy=f"{finding.remedy} {command}")
