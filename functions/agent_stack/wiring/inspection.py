"""Inspection: what `agent-stack doctor` asks of the dispatcher function. It only looks.

The function looks with its own role and its own token, which never leaves it: so the answer is about the function's
rights, not the operator's. It registers, launches and writes nothing; a launch is asked for as a dry run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from agent_stack.domain.errors import AgentStackError, ConfigurationError, NotFoundError, TransientError
from agent_stack.domain.findings import Finding
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.wiring.class_findings import class_findings
from agent_stack.wiring.deployment import VERSION, Deployment
from agent_stack.wiring.findings import looked, refusal

NO_JOB = JobId("00000000-0000-4000-8000-000000000000")
OTHER_TOKENS: Mapping[str, str] = {
    "bkua_": "a personal API access token",
    "bkjat_": "a job acquisition token",
}
"""What else people paste, by its first characters. Source: Buildkite's pages on tokens."""


def inspect(deployment: Deployment) -> dict[str, Any]:
    """Looks at everything that this deployment needs.

    Returns:
        `findings`, as dictionaries of `Finding`; `version` of the code; `now`, the function's clock (s since 1970).
    """
    findings = [finding for check, look in LOOKS.items() for finding in looked(check, partial(look, deployment))]
    return {
        "version": VERSION,
        "now": deployment.clock.now().timestamp(),
        "findings": [asdict(finding) for finding in findings],
    }


def answer_inspection(environment: Mapping[str, str], remaining: timedelta) -> dict[str, Any]:
    """One inspection, by adapters of its own: what the function's cycles remember would hide what is wrong by now."""
    try:
        deployment = Deployment(function="dispatcher", environment=environment, only_looks=True)
    except ConfigurationError as error:
        return wrong_setting(error)
    with deployment.invocation(remaining):
        return inspect(deployment)


def wrong_setting(error: ConfigurationError) -> dict[str, Any]:
    """The answer of a function that a wrong setting stops at its start."""
    finding = Finding(
        check="settings",
        severity="error",
        problem=f"{error.setting}: {error.problem}",
        effect="Neither function runs a cycle: no job gets a VM.",
        remedy=error.remedy,
    )
    return {"version": VERSION, "now": None, "findings": [asdict(finding)]}


def _token(deployment: Deployment) -> Iterator[Finding]:
    """An agent token that cannot be read, that Buildkite does not take, or that is good for one queue only."""
    effect = "No queue is listed: no job gets a VM."
    try:
        identity = deployment.stacks.token_identity()
    except TransientError:
        raise  # it says nothing of the token
    except AgentStackError as error:
        kind = _wrong_kind(deployment)
        yield Finding(
            check="token",
            severity="error",
            problem=f"{error}. The parameter holds {kind}, and no agent token." if kind else str(error),
            effect=effect,
            remedy="Put an agent token of the cluster into the SSM parameter that AgentTokenParameter names.",
        )
        return
    only = None if identity is None else identity.queue
    others = [queue.key for queue in deployment.settings.queues if only not in {None, queue.key}]
    if others:
        yield Finding(
            check="token",
            severity="error",
            problem=f"The agent token is good for queue {only} only.",
            effect=f"Jobs of {', '.join(others)} get no VM.",
            remedy="Use an agent token of the whole cluster, or take the other queues out of Queues.",
        )


def _wrong_kind(deployment: Deployment) -> str:
    """What kind of credential the parameter holds, by its first characters; empty for an agent token or any other."""
    try:
        token = deployment.secrets.agent_token()
    except AgentStackError:
        return ""
    return next((kind for prefix, kind in OTHER_TOKENS.items() if token.startswith(prefix)), "")


def _job_tokens(deployment: Deployment, queue: QueueKey) -> Iterator[Finding]:
    """Asks for a token of a job that does not exist: none is issued, and an organisation without them is refused."""
    for error in deployment.stacks.issue_tokens(queue, [NO_JOB], timedelta(seconds=10)).errors[:1]:
        if isinstance(error, TransientError):
            raise error  # it says nothing of the organisation
        yield Finding(
            check="job acquisition tokens",
            severity="error",
            problem=f"Buildkite issues no job acquisition tokens: {error}",
            effect="VMs wait for a token, get none, and power themselves off: no job runs.",
            remedy="Ask Buildkite to enable job acquisition tokens for the organisation, or deploy with "
            "AgentCredential=agent-token, which puts the agent token on the VMs.",
        )


def _queues(deployment: Deployment) -> Iterator[Finding]:
    """Queues that Buildkite does not list or has paused, and job acquisition tokens that it does not issue."""
    for queue in deployment.settings.queues:
        yield from looked(f"queue {queue.key}", partial(_queue, deployment, queue.key))


def _queue(deployment: Deployment, queue: QueueKey) -> Iterator[Finding]:
    effect = f"No job of queue {queue} gets a VM."
    try:
        page = deployment.stacks.list_scheduled(queue)
    except TransientError:
        raise  # it says nothing of the queue
    except AgentStackError as error:
        unknown = isinstance(error, NotFoundError) or (
            isinstance(error, ConfigurationError) and error.setting.startswith("Queues")
        )
        problem = f"Buildkite does not know this queue, or its stack key: {error}" if unknown else str(error)
        remedy = (
            "See stack_not_registered in the dispatcher's log: the key in Queues is misspelt, or another stack has "
            "this StackKey."
            if unknown
            else "Compare Queues with the cluster's queues at Buildkite, and see whether Buildkite has an incident."
        )
        yield Finding(check=f"queue {queue}", severity="error", problem=problem, effect=effect, remedy=remedy)
    else:
        if page.paused:
            yield Finding(
                check=f"queue {queue}",
                severity="warning",
                problem="The queue is paused at Buildkite.",
                effect="Its jobs wait until an operator resumes it.",
                remedy="Resume the queue on its page at Buildkite.",
            )
        if queue == deployment.settings.queues[0].key and deployment.settings.uses_job_tokens:
            yield from looked("job acquisition tokens", partial(_job_tokens, deployment, queue))


def _subnets(deployment: Deployment) -> Iterator[Finding]:
    """Subnets that are not there, and fewer free addresses in them than MaxInstances."""
    wanted, shown = deployment.settings.subnet_ids, list[Any]()

    def look() -> None:
        by_id = [{"Name": "subnet-id", "Values": list(wanted)}]
        shown.extend(deployment.ec2_client().describe_subnets(Filters=by_id)["Subnets"])  # type: ignore[arg-type]  # the stub's own dictionary

    refused = refusal(look)
    found = {subnet["SubnetId"]: subnet.get("AvailableIpAddressCount") for subnet in shown}
    missing = [subnet for subnet in wanted if subnet not in found]
    if refused or missing:
        yield Finding(
            check="subnets",
            severity="error",
            problem=refused or f"Subnets are not there: {', '.join(missing)}",
            effect="Nothing is launched in their zones; without any subnet nothing at all.",
            remedy="Correct Subnets and deploy.",
        )
    free = sum(count for count in found.values() if count is not None)
    if found and None not in found.values() and free < deployment.settings.max_instances:
        yield Finding(
            check="subnets",
            severity="warning",
            problem=f"The subnets have {free} free addresses, and MaxInstances is {deployment.settings.max_instances}.",
            effect="The last VMs of a large burst are refused.",
            remedy="Add subnets, or lower MaxInstances.",
        )


LOOKS: Mapping[str, Callable[[Deployment], Iterable[Finding]]] = {
    "token": _token,
    "queues": _queues,
    "classes": class_findings,
    "subnets": _subnets,
}
"""Everything that the function looks at. docs/reference/agent-stack.md shows the first sentence of each."""
