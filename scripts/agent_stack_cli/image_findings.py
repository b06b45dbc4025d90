"""Images of the deployed classes, as EC2 and Image Builder show them: what will not last, and what bakes lack."""

from collections import defaultdict
from collections.abc import Iterator

from agent_stack.domain.findings import Finding
from agent_stack_cli import images as baked_images
from agent_stack_cli.bakes import FAILED, by_setting, correction, log_of
from agent_stack_cli.class_checks import MAY_GO, of_account
from agent_stack_cli.classes import book_of, deployed
from agent_stack_cli.errors import CliError
from agent_stack_cli.parameter_rules import repositories_of_another_system
from agent_stack_cli.stacks import Stack


def images(stack: Stack) -> Iterator[Finding]:
    """Images that are deprecated, gone or not kept, and types that EC2 does not know or that do not run the image."""
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
            remedy=f"{_remedy(problem)}: {stack.agent_stack('classes', 'push', 'FILE')}",
        )


def _remedy(problem: str) -> str:
    newer = "a newer image, or resolve:ssm:PARAMETER with one that is kept up to date"
    if problem.startswith(MAY_GO):
        return f"Run that command, or name {newer}"
    return f"Name {newer}" if problem.startswith("image:") else "Correct the class, in a file with all classes"


def baked(stack: Stack) -> Iterator[Finding]:
    """Bakes that failed after the newest image, and values of BakeImage parameters that an image in use lacks.

    Raises:
        CliError: Image Builder or a log may not be read.
    """
    found = baked_images.with_records(stack, baked_images.read(stack))
    if not found.parameter:
        return
    again = baked_images.start(stack, found.parameter)
    for problem in repositories_of_another_system(stack.parameters):
        yield Finding(
            check="BakeImageRepositories",
            severity="warning",
            problem=problem,
            effect="Each bake leaves it out, and packages of it are not in the image.",
            remedy="Correct it: " + stack.deploy("BakeImageRepositories=LIST"),
        )
    for failed in (one for one in found.bakes if one.status == FAILED):
        newest = found.images[0].image if found.images else ""
        yield Finding(
            check=f"bake {failed.version}",
            severity="warning",
            problem=f"It failed on {failed.made[:16]}: {failed.reason or 'Image Builder gives no reason'}",
            effect=f"The newest image is {newest}." if newest else f"{found.parameter} is not there.",
            remedy=f"See its log: {log_of(stack, failed)}; when its cause is gone: {again}",
        )
    for image in found.images:
        if image.added is None or not (image.in_use or image.classes):
            continue
        for setting, lacks in by_setting(image.added.lacks).items():
            said = "; ".join(f"{lack.value} ({lack.why})" for lack in lacks)
            yield Finding(
                check=f"image {image.image}",
                severity="warning",
                problem=f"It lacks of {setting}: {said}",
                effect="Jobs that need it fail on VMs of that image, or install it themselves.",
                remedy=correction(stack, setting, lacks, again),
            )
    if found.unreadable:
        raise CliError("; ".join(found.unreadable), next=stack.agent_stack("policy", "read"))
