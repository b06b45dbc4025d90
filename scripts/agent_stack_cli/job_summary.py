"""What to say first of a job, and what to run next."""

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome, RunState
from agent_stack_cli.lines import Line
from agent_stack_cli.stacks import Stack


def summary(  # noqa: C901, PLR0911  (one text for each state)
    stack: Stack, job_id: JobId, runs: list[Run], waits: str, decisions: tuple[Line, ...]
) -> tuple[str, str]:
    """What to say first, and what to do next."""
    logs = stack.agent_stack("logs", job_id)
    if not runs:
        if waits:
            return f"{waits}", ""
        if ignored := next((line for line in reversed(decisions) if line.message == "job_ignored"), None):
            return (
                f"No class fits this job: {ignored.facts.get('reason', '')}",
                stack.agent_stack("classes", "explain", "KEY=VALUE") + " with the job's agents in place of KEY=VALUE",
            )
        return (
            f"{stack.name} has no record of this job. It is not scheduled in {', '.join(stack.queues)}, or too short.",
            stack.agent_stack("doctor"),
        )
    run = runs[-1]
    if run.state is RunState.RESERVED:
        return (waits or "It is reserved and waits for a VM.", stack.agent_stack("status"))
    vm = run.binding.instance_id if run.binding else "none"
    if run.state is RunState.BOOTING:
        return f"Its VM {vm} boots (attempt {run.attempt}).", logs
    if run.state is RunState.RUNNING:
        return f"An agent on {vm} runs it.", _connect(stack, job_id, logs)
    match run.outcome:
        case Outcome.FAILED:
            return f"The stack finished it with a reason: {run.failure_reason}", logs if run.attempt else ""
        case Outcome.LOST:
            return f"Its VM {vm} ended while the agent ran the job; Buildkite noticed the lost agent.", logs
        case Outcome.CANCELLED:
            return "It was cancelled before an agent had it.", ""
        case Outcome.RELEASED:
            return "The stack let it go: another stack has it, or its reservation ended.", ""
        case _:
            return f"An agent on {vm} ran it to its end. The job's own log is on the build page.", ""


def _connect(stack: Stack, job_id: JobId, logs: str) -> str:
    """How to look into a VM that runs: its shell where the VMs have one, else its logs."""
    return stack.agent_stack("connect", job_id) if stack.parameters.get("SessionManager") == "true" else logs
