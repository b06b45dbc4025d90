"""Inspection: what `agent-stack doctor` asks of the dispatcher function. It only looks.

The function looks with its own role and its own token, which never leaves it: so the answer is about the function's
rights, not the operator's. It registers, launches and writes nothing; a launch is asked for as a dry run.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, ConfigurationError, StackNotFoundError
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.timeout_check import validate_timeouts
from agent_stack.wiring.deployment import VERSION, Deployment

DRY_RUN_PASSED = "DryRunOperation"
INTENT = IntentId("as-inspection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: which look found it, such as `token` or `class large`.
        severity: `error` when jobs do not run because of it, else `warning`.
        problem: what is wrong, in the words of the service that said so.
        effect: what happens because of it.
        remedy: what to do.
    """

    check: str
    severity: str
    problem: str
    effect: str
    remedy: str


def inspect(deployment: Deployment) -> dict[str, Any]:
    """Looks at everything that this deployment needs.

    Returns:
        `findings`, as dictionaries of `Finding`; `version` of the code; `now`, the function's clock (s since 1970).
    """
    findings = [
        *_token(deployment),
        *(finding for queue in deployment.settings.queues for finding in _queue(deployment, queue.key)),
        *_classes(deployment),
        *_subnets(deployment),
    ]
    return {
        "version": VERSION,
        "now": deployment.clock.now().timestamp(),
        "findings": [asdict(finding) for finding in findings],
    }


def answer_inspection(environment: Mapping[str, str], remaining: timedelta) -> dict[str, Any]:
    """One inspection, by adapters of its own: what the function's cycles remember would hide what is wrong by now."""
    try:
        deployment = Deployment(function="dispatcher", environment=environment)
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
    effect = "No queue is listed: no job gets a VM."
    try:
        identity = deployment.stacks.token_identity()
    except AgentStackError as error:
        yield Finding(
            check="token",
            severity="error",
            problem=str(error),
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


def _queue(deployment: Deployment, queue: QueueKey) -> Iterator[Finding]:
    effect = f"No job of queue {queue} gets a VM."
    try:
        page = deployment.stacks.list_scheduled(queue)
    except StackNotFoundError as error:
        yield Finding(
            check=f"queue {queue}",
            severity="error",
            problem=f"Buildkite does not know the stack key of this queue: {error}",
            effect=effect,
            remedy="See stack_not_registered in the dispatcher's log: the key in Queues is misspelt, or another stack "
            "has this StackKey.",
        )
    except AgentStackError as error:
        yield Finding(
            check=f"queue {queue}",
            severity="error",
            problem=str(error),
            effect=effect,
            remedy="Compare Queues with the cluster's queues at Buildkite, and see whether Buildkite has an incident.",
        )
    else:
        if page.paused:
            yield Finding(
                check=f"queue {queue}",
                severity="warning",
                problem="The queue is paused at Buildkite.",
                effect="Its jobs wait until somebody resumes it.",
                remedy="Resume the queue on its page at Buildkite.",
            )


def _classes(deployment: Deployment) -> Iterator[Finding]:
    try:
        book = deployment.ports.classes.book()
    except AgentStackError as error:
        yield Finding(
            check="classes",
            severity="error",
            problem=str(error),
            effect="No job gets a VM.",
            remedy="Correct the class document: agent-stack classes validate FILE.",
        )
        return
    for misfit in validate_timeouts(deployment.settings.policy, book):
        yield Finding(
            check="timeouts",
            severity="error",
            problem=f"{misfit.setting}: {misfit.problem}",
            effect="Jobs of slow boots return to the queue before their agent has them.",
            remedy=misfit.remedy,
        )
    for name, broken in book.broken.items():
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=str(broken),
            effect=f"No job of class {name} gets a VM.",
            remedy="Correct that class of the document: agent-stack classes validate FILE.",
        )
    for name in book.classes:
        yield from _class(deployment, book, name)


def _class(deployment: Deployment, book: ClassBook, name: ClassName) -> Iterator[Finding]:
    vm_class = book.classes[name]
    effect = f"Jobs of class {name} get no VM, and are finished with the reason."
    try:
        deployment.instance_catalog.root_device(vm_class.image)
        pools = tuple(deployment.ports.fleet.pools(vm_class, vm_class.capacity_type))
        order = LaunchOrder(
            intent_id=INTENT, vm_class=vm_class, count=1, capacity_type=vm_class.capacity_type, pools=pools
        )
        request = json.loads(deployment.ports.fleet.render(order))
    except AgentStackError as error:
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=str(error),
            effect=effect,
            remedy="Name an image that is there and shared with this account: agent-stack classes validate.",
        )
        return
    refused = _refusal(lambda: deployment.ec2_client().create_fleet(**request, DryRun=True))
    if refused:
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=f"A dry run of its launch is refused: {refused}",
            effect=effect,
            remedy="Give the dispatcher's role what the words name. A permissions boundary or an organisation's policy "
            "may deny it; deploying again restores the template's own role.",
        )


def _subnets(deployment: Deployment) -> Iterator[Finding]:
    wanted, shown = deployment.settings.subnet_ids, list[Any]()

    def look() -> None:
        by_id = [{"Name": "subnet-id", "Values": list(wanted)}]
        shown.extend(deployment.ec2_client().describe_subnets(Filters=by_id)["Subnets"])  # type: ignore[arg-type]  # the stub's own dictionary

    refused = _refusal(look)
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


def _refusal(ask: Callable[[], object]) -> str:
    """What AWS says against it; empty when it would do it."""
    try:
        ask()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "" if code == DRY_RUN_PASSED else f"{code}: {error.response['Error'].get('Message', '')}"
    except BotoCoreError as error:
        return str(error)
    return ""
