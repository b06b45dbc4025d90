"""What to say first of a job, and what to run next."""

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome, RunState
from agent_stack_cli.errors import command
from agent_stack_cli.lines import Line
from agent_stack_cli.stacks import Stack


def summary(  # noqa: C901, PLR0911  (one text for each state)
    stack: Stack, job_id: JobId, runs: list[Run], waits: str, decisions: tuple[Line, ...]
) -> tuple[str, str]:
    """What to say first, and what to do next."""
    logs = command("agent-stack", "logs", job_id, "--stack", stack.name)
    if not runs:
        if waits:
            return f"{waits}", ""
        if ignored := next((line for line in reversed(decisions) if line.message == "job_ignored"), None):
            return (
                f"No class fits this job: {ignored.facts.get('reason', '')}",
                command("agent-stack", "classes", "explain", "--stack", stack.name),
            )
        return (
            f"{stack.name} has no record of this job. It is not scheduled in {', '.join(stack.queues)}, or too short.",
            command("agent-stack", "doctor", "--stack", stack.name),
        )
    run = runs[-1]
    if run.state is RunState.RESERVED:
        return (waits or "It is reserved and waits for a VM.", command("agent-stack", "status", "--stack", stack.name))
    vm = run.binding.instance_id if run.binding else "none"
    if run.state is RunState.BOOTING:
        return f"Its VM {vm} boots (attempt {run.attempt}).", logs
    if run.state is RunState.RUNNING:
        return f"An agent on {vm} runs it.", command("agent-stack", "connect", job_id, "--stack", stack.name)
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
