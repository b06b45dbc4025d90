"""What an inspection finds in the class document, its images and a dry run of each class's launch."""

import json
from collections.abc import Iterator
from functools import partial

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, TransientError
from agent_stack.domain.findings import Finding, not_examined
from agent_stack.domain.identifiers import ClassName, IntentId
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.timeout_check import validate_standby, validate_timeouts
from agent_stack.wiring.deployment import Deployment
from agent_stack.wiring.findings import LATER, looked, refusal

INTENT = IntentId("as-inspection")


def class_findings(deployment: Deployment) -> Iterator[Finding]:
    """Classes, images and a class document that are wrong, and launches that EC2 refuses as a dry run."""
    try:
        book = deployment.ports.classes.book()
    except TransientError:
        raise  # it says nothing of the document
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
    for misfit in validate_standby(book):
        yield Finding(
            check="standby VMs",
            severity="warning",
            problem=f"{misfit.setting}: {misfit.problem}",
            effect="Each job of the class waits for a boot.",
            remedy=misfit.remedy,
        )
    for name, broken in book.broken.items():
        if isinstance(broken, TransientError):
            yield not_examined(f"class {name}", str(broken), LATER)
            continue
        if name in book.faults:
            yield _of_document(book, name, str(broken))
            continue
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=str(broken),
            effect=f"No job of class {name} gets a VM.",
            remedy="Correct that class of the document: agent-stack classes validate FILE.",
        )
    for name in book.classes:
        yield from looked(f"class {name}", partial(_class, deployment, book, name))


def _of_document(book: ClassBook, name: ClassName, problem: str) -> Finding:
    """A fault of the document around its classes."""
    default = name == book.default
    return Finding(
        check="class document",
        severity="error" if default else "warning",
        problem=problem,
        effect="Jobs that name no class get no VM." if default else "The field is ignored; classes are not affected.",
        remedy="Correct the class document: agent-stack classes validate FILE.",
    )


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
    except TransientError:
        raise  # it says nothing of the class
    except AgentStackError as error:
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=str(error),
            effect=effect,
            remedy="Name an image that is there and shared with this account: agent-stack classes validate.",
        )
        return
    refused = refusal(lambda: deployment.ec2_client().create_fleet(**request, DryRun=True))
    if refused:
        yield Finding(
            check=f"class {name}",
            severity="error",
            problem=f"A dry run of its launch is refused: {refused}",
            effect=effect,
            remedy="Give the dispatcher's role what the words name. A permissions boundary or an organisation's policy "
            "may deny it; deploying again restores the template's own role.",
        )
