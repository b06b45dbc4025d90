"""Images and types of the deployed classes, as EC2 shows them: what starts today and will not do for long."""

from collections import defaultdict
from collections.abc import Iterator

from agent_stack.domain.findings import Finding
from agent_stack_cli.class_checks import of_account
from agent_stack_cli.classes import book_of, deployed
from agent_stack_cli.stacks import Stack


def images(stack: Stack) -> Iterator[Finding]:
    """Images that are deprecated or gone, and types that EC2 does not know or that do not run the image."""
    concerned: dict[tuple[str, str], list[str]] = defaultdict(list)
    for vm_class in book_of(stack, deployed(stack)).classes.values():
        for found in of_account(stack, vm_class):
            concerned[found].append(vm_class.name)
    for (severity, problem), names in concerned.items():
        several = "classes" if len(names) > 1 else "class"
        error = severity == "error"
        yield Finding(
            check=f"image of {several} {', '.join(names)}",
            severity=severity,
            problem=problem,
            effect=f"No VM of {several} {', '.join(names)} starts."
            if error
            else "VMs start with it until its owner removes it; then no job of these classes gets one.",
            remedy="Name a newer image, or resolve:ssm:PARAMETER with one that is kept up to date: "
            + stack.agent_stack("classes", "push", "FILE"),
        )
